"""May we? And: forget them. Consent ledger, requests of data subjects, erasure with proof."""

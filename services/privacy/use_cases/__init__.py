"""One module for each thing privacy does: consents, the erasure saga, access, the rotation of certificates."""

"""What can go wrong with keys, told apart because each wants another answer: skip, wait, or stop."""

from __future__ import annotations

from shared.storage import TransientError


class SealBroken(Exception):
    """The sealed bytes were not made with this key and these associated data, or were changed since. Never retried."""


class KeyMissing(Exception):
    """A key that should exist has no row, or its row cannot be opened any more. A destroyed key is no error; this one stops the work loudly."""


class KeyStoreUnavailable(TransientError):
    """The key store, or the newest slot table of the key provider, cannot be reached now: wait and try again."""


class KeyringMismatch(Exception):
    """The keyring was written under another key provider than the one at hand: nothing may be created or opened with it."""


class KeyFileRefused(Exception):
    """The key file or its folder is unsafe, damaged or incomplete. The message names what is wrong and how to put it right."""

"""Write keys of channels: 256 random bits, shown once, stored as a hash, which is enough at that entropy."""

from __future__ import annotations

import hashlib
import secrets

PREFIX = "kehu_wk_"
_KEY_CHARACTERS = len(PREFIX) + 43


def new_write_key() -> tuple[str, bytes]:
    """The key to show once, and the hash to store."""
    shown = PREFIX + secrets.token_urlsafe(32)
    return shown, hash_write_key(shown)


def hash_write_key(shown: str) -> bytes:
    """The 32 bytes a key is stored and looked up by."""
    return hashlib.sha256(shown.encode("utf-8", "surrogatepass")).digest()


def is_write_key(credential: str) -> bool:
    """Whether this has the form of a write key; says nothing about its being valid."""
    return len(credential) == _KEY_CHARACTERS and credential.startswith(PREFIX)

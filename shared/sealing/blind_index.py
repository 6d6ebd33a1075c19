"""Keyed hashes: the blind index that makes sealed values findable, and submission ids that reveal nothing."""

from __future__ import annotations

import hmac
import os
from uuid import UUID

from shared.sealing.provider import KeyProvider, PepperName

TOKEN_BYTES = 16
BUCKET_BYTES = 2
_VERSION_BITS = ((1 << 128) - 1) ^ (0xF << 76) ^ (0x3 << 62)
_VERSION_8 = (0x8 << 76) | (0x2 << 62)


class BlindIndex:
    """Tokens that are equal when the values are. Who holds the pepper can guess values, so tokens are personal data: never in keys, logs or metrics.

    Args:
        provider: holds the pepper.
        pepper: `index` for look-up, `suppression` for the suppression list, so that the two cannot be joined.
    """

    def __init__(self, provider: KeyProvider, pepper: PepperName = "index") -> None:
        self._pepper = provider.pepper(pepper)

    def token(self, type: str, value: str, namespace: str = "") -> bytes:  # noqa: A002 - the glossary's word
        """16 bytes for this identifier; `value` in canonical form, since only equal texts give equal tokens."""
        return hmac.digest(self._pepper, _message(type, namespace, value), "sha256")[:TOKEN_BYTES]

    def bucket(self, value: str) -> bytes:
        """2 bytes that spread values over partitions and are too coarse to name anybody."""
        return hmac.digest(self._pepper, _message("bucket", "", value), "sha256")[:BUCKET_BYTES]


def submission_id(provider: KeyProvider, channel_id: str, message_id: str) -> UUID:
    """The id of what `channel_id` calls `message_id`: a keyed hash as UUIDv8, the same for every repeat; random if the sender gives no message id."""
    if not message_id:
        return _uuid8(os.urandom(16))
    return _uuid8(hmac.digest(provider.pepper("id"), _message("submission", channel_id, message_id), "sha256")[:16])


def _message(first: str, second: str, last: str) -> bytes:
    """The three texts with the lengths of the first two in front, so that no other three give the same bytes."""
    return f"{len(first)}:{len(second)}:{first}{second}{last}".encode("utf-8", "surrogatepass")


def _uuid8(random: bytes) -> UUID:
    # Version and variant stand in bits 48-51 and 64-65; the slot, the first 12 bits, stays as random as the hash.
    return UUID(int=int.from_bytes(random, "big") & _VERSION_BITS | _VERSION_8)

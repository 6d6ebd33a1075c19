"""A data key and what is sealed with it: AES-256-GCM, a random 96-bit nonce in front, associated data that binds the bytes to their place."""

from __future__ import annotations

import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.sealing.errors import SealBroken

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
OVERHEAD_BYTES = NONCE_BYTES + TAG_BYTES
"""How much longer the sealed bytes are than the plain ones."""


class DataKey:
    """The key of one submission or of one customer's membership epoch. Shows its bytes to nobody."""

    __slots__ = ("_cipher",)

    def __init__(self, raw: bytes) -> None:
        # Setting the cipher up costs as much as using it, so it is kept for as long as the key.
        self._cipher = AESGCM(raw)

    def seal(self, plain: bytes, aad: bytes) -> bytes:
        """Nonce, ciphertext and tag: `OVERHEAD_BYTES` longer than `plain`. Two calls never give the same bytes.

        Args:
            plain: at most 2 GiB.
            aad: associated data, needed again to unseal; see `body_aad`.
        """
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, aad)

    def unseal(self, sealed: bytes, aad: bytes) -> bytes:
        """The plain bytes.

        Raises:
            SealBroken: other key, other associated data, or changed bytes.
        """
        if len(sealed) < OVERHEAD_BYTES:
            raise SealBroken
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], aad)
        except InvalidTag:
            raise SealBroken from None


def body_aad(key_id: UUID, version: int) -> bytes:
    """Associated data of a submission's or an entity's body: its key id and schema version, so that it cannot be passed off as another's."""
    return key_id.bytes + version.to_bytes(2, "big")

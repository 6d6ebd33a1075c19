"""What every key provider answers once it has read its keys, wherever they lie."""

from __future__ import annotations

from uuid import UUID

from shared.sealing.installation import InstallationSecrets
from shared.sealing.provider import PepperName
from shared.sealing.slots import SlotTable


class HeldKeys:
    """The part of `KeyProvider` that needs no store: the installation's secrets and the slot keys as last read."""

    _secrets: InstallationSecrets
    _table: SlotTable

    @property
    def installation(self) -> UUID:
        """Identity of this set of keys."""
        return self._secrets.installation

    @property
    def table(self) -> SlotTable:
        """The slot keys as last read."""
        return self._table

    def pepper(self, name: PepperName) -> bytes:
        """32 secret bytes that never change."""
        return self._secrets.peppers[name]

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature by the certificate key."""
        return self._secrets.certificate_key.sign(message)

    @property
    def public_key(self) -> bytes:
        """The 32 raw bytes that verify what `sign` signed."""
        return self._secrets.certificate_key.public_key().public_bytes_raw()

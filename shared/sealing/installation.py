"""The secrets of an installation that never rotate: its peppers and the key that signs certificates."""

from __future__ import annotations

import os
from dataclasses import dataclass
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.sealing.provider import PepperName

_SECRET_BYTES = 32
_PEPPERS: tuple[PepperName, ...] = ("id", "index", "suppression")
ENCODED_BYTES = 16 + _SECRET_BYTES * (len(_PEPPERS) + 1)


@dataclass(frozen=True, slots=True, repr=False)
class InstallationSecrets:
    """Peppers by name and the certificate key, under the installation's identity."""

    installation: UUID
    peppers: dict[PepperName, bytes]
    certificate_key: Ed25519PrivateKey

    @classmethod
    def generate(cls) -> InstallationSecrets:
        """Fresh random secrets."""
        return cls.decode(uuid4().bytes + os.urandom(ENCODED_BYTES - 16))

    @classmethod
    def decode(cls, encoded: bytes) -> InstallationSecrets:
        """From the `ENCODED_BYTES` that `encode` gave."""
        parts = [encoded[start : start + _SECRET_BYTES] for start in range(16, ENCODED_BYTES, _SECRET_BYTES)]
        return cls(
            installation=UUID(bytes=encoded[:16]),
            peppers=dict(zip(_PEPPERS, parts, strict=False)),
            certificate_key=Ed25519PrivateKey.from_private_bytes(parts[-1]),
        )

    def encode(self) -> bytes:
        """All secrets in a fixed order."""
        peppers = b"".join(self.peppers[name] for name in _PEPPERS)
        return self.installation.bytes + peppers + self.certificate_key.private_bytes_raw()

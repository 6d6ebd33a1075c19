"""The port to whoever keeps the keys that must lie outside the database: a local key file, Vault or a cloud KMS."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, Protocol
from uuid import UUID

from shared.sealing.slots import SlotTable

PepperName = Literal["id", "index", "suppression"]


class KeyProvider(Protocol):
    """Keeps the slot keys, the peppers and the certificate key of one installation.

    To add a provider, keep these promises (`tests/contract/test_sealing_key_provider.py` checks them):

    - `table` is held in this process's memory, since every submission needs it. A KMS whose keys cannot leave it stores each slot key as a
      blob sealed by a root key of its own, opens the blobs on `refresh`, and destroys a blob to destroy a slot key.
    - What `begin_rotation` made is durable and visible to every other process's `refresh` before it returns.
    - What `end_rotation` destroyed comes back by no means of the provider, backups of its own included: the end of their period is what makes
      an erasure final, so state it.
    - Both are idempotent: a rotation that was killed repeats its open step.
    """

    @property
    def installation(self) -> UUID:
        """Identity of this set of keys; the keyring refuses another's."""
        ...

    @property
    def table(self) -> SlotTable:
        """The slot keys as last read. Never blocks."""
        ...

    def pepper(self, name: PepperName) -> bytes:
        """32 secret bytes that never change: for submission ids, the blind index, the suppression list. Never blocks."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature by the certificate key, 64 bytes. Never blocks."""
        ...

    @property
    def public_key(self) -> bytes:
        """The 32 raw bytes that verify what `sign` signed."""
        ...

    async def refresh(self) -> None:
        """Reads the slot table again if it may have changed.

        Raises:
            KeyStoreUnavailable: the provider cannot be reached.
        """
        ...

    async def begin_rotation(self, number: int, slots: Collection[int]) -> None:
        """Adds a new current key of epoch `number` to each of these slots; the former ones still open. Nothing happens if `number` is known."""
        ...

    async def end_rotation(self, number: int, slots: Collection[int]) -> None:
        """Destroys every key of these slots that is older than rotation `number`."""
        ...

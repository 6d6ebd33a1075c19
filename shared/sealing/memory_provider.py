"""A key provider that forgets everything with its process: for tests and trials."""

from __future__ import annotations

from collections.abc import Collection

from shared.sealing.held_keys import HeldKeys
from shared.sealing.installation import InstallationSecrets
from shared.sealing.slots import SlotTable


class MemoryKeyProvider(HeldKeys):
    """`KeyProvider` in memory; passes the same contract suite as the key file. `reader()` plays another process of the installation."""

    def __init__(self) -> None:
        self._secrets = InstallationSecrets.generate()
        self._shared = [SlotTable.generate()]
        self._table = self._shared[0]

    def reader(self) -> MemoryKeyProvider:
        """The same keys as another process sees them: up to date only after its `refresh`."""
        other = MemoryKeyProvider.__new__(MemoryKeyProvider)
        other._secrets, other._shared, other._table = self._secrets, self._shared, self._shared[0]
        return other

    async def refresh(self) -> None:
        """Takes over what another reader changed."""
        self._table = self._shared[0]

    async def begin_rotation(self, number: int, slots: Collection[int]) -> None:
        """Adds a new current key to each of these slots."""
        self._table = self._shared[0] = self._shared[0].with_new_epoch(number, slots)

    async def end_rotation(self, number: int, slots: Collection[int]) -> None:
        """Destroys the older keys of these slots."""
        self._table = self._shared[0] = self._shared[0].without_older(number, slots)

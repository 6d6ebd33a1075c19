"""Key slots: 4,096 key-encryption keys, each with an epoch, so that a few can be replaced and destroyed without touching the rest."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

SLOTS = 4_096
SLOT_KEY_BYTES = 32
BUNDLE_SLOTS = 64
"""Slots that a rotation reads, and a backup file holds, together."""
_SLOT_SHIFT = 128 - 12


class SlotKey(NamedTuple):
    """One key-encryption key. Its epoch is the number of the rotation that made it."""

    slot: int
    epoch: int
    key: bytes


def slot_of(key_id: UUID) -> int:
    """The slot that wraps this key: the first 12 bits of its id, which no UUID version touches, so a slot is a range of ids."""
    return key_id.int >> _SLOT_SHIFT


def slot_range(first: int, last: int) -> tuple[bytes, bytes]:
    """The lowest and the highest key id of the slots `first` to `last`, both included."""
    return (first << _SLOT_SHIFT).to_bytes(16, "big"), (((last + 1) << _SLOT_SHIFT) - 1).to_bytes(16, "big")


def bundle_of(slot: int) -> int:
    """The bundle of neighbouring slots that this one belongs to."""
    return slot // BUNDLE_SLOTS


def bundles_of(slots: Iterable[int]) -> list[int]:
    """The bundles that hold these slots, ascending."""
    return sorted({bundle_of(slot) for slot in slots})


def contiguous(slots: Iterable[int]) -> list[tuple[int, int]]:
    """The fewest ranges (first, last) that cover exactly these slots, ascending."""
    ranges: list[tuple[int, int]] = []
    for slot in sorted(set(slots)):
        if ranges and ranges[-1][1] == slot - 1:
            ranges[-1] = (ranges[-1][0], slot)
        else:
            ranges.append((slot, slot))
    return ranges


@dataclass(frozen=True, slots=True, repr=False)
class SlotTable:
    """All slot keys as they stood after rotation `number` began.

    Attributes:
        number: the newest rotation this table knows of; 0 before the first.
        current: by slot, the key that wraps new data keys.
        older: by (slot, epoch), keys that are still needed to open until their rotation ends.
    """

    number: int
    current: tuple[SlotKey, ...]
    older: Mapping[tuple[int, int], bytes]

    @classmethod
    def generate(cls) -> SlotTable:
        """A first table with fresh random keys, all of epoch 0. Random, not derived: what is derived cannot be destroyed alone."""
        return cls(0, tuple(SlotKey(slot, 0, os.urandom(SLOT_KEY_BYTES)) for slot in range(SLOTS)), {})

    def find(self, slot: int, epoch: int) -> bytes | None:
        """The key of this slot and epoch; None if it is destroyed or not known here yet."""
        current = self.current[slot]
        return current.key if current.epoch == epoch else self.older.get((slot, epoch))

    def with_new_epoch(self, number: int, slots: Collection[int]) -> SlotTable:
        """The table after rotation `number` began: fresh keys for `slots`, the former ones still open. Unchanged if it began before."""
        if number <= self.number:
            return self
        current, older = list(self.current), dict(self.older)
        for slot in set(slots):
            former = current[slot]
            older[slot, former.epoch] = former.key
            current[slot] = SlotKey(slot, number, os.urandom(SLOT_KEY_BYTES))
        return SlotTable(number, tuple(current), older)

    def without_older(self, number: int, slots: Collection[int]) -> SlotTable:
        """The table after rotation `number` ended: of `slots`, no key from before it is left."""
        gone = set(slots)
        older = {(slot, epoch): key for (slot, epoch), key in self.older.items() if slot not in gone or epoch >= number}
        return SlotTable(self.number, self.current, older)

"""New data keys before they are stored: made and wrapped once, however often the transaction that stores them has to run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from shared.sealing.data_key import KEY_BYTES, DataKey
from shared.sealing.slots import SlotTable, slot_of


class KeyDraft:
    """A new data key, ready to seal with, and its row for the keyring."""

    __slots__ = ("_epoch", "_raw", "_wrapped", "id")

    def __init__(self, key_id: UUID, raw: bytes, table: SlotTable) -> None:
        self.id = key_id
        self._raw = raw
        self._wrap(table)

    @property
    def key(self) -> DataKey:
        """The key to seal with, made anew at each call: a batch of thousands need not hold as many ciphers of 2.3 KB."""
        return DataKey(self._raw)

    def row(self, table: SlotTable) -> dict[str, Any]:
        """The row to insert, wrapped by a current slot key of `table`; wrapped again if it was made under an older one."""
        if self._epoch != table.current[slot_of(self.id)].epoch:
            self._wrap(table)
        return {"_id": self.id.bytes, "wrapped": self._wrapped, "epoch": self._epoch}

    def _wrap(self, table: SlotTable) -> None:
        slot_key = table.current[slot_of(self.id)]
        self._epoch = slot_key.epoch
        self._wrapped = aes_key_wrap(slot_key.key, self._raw)


def draft_keys(key_ids: Iterable[UUID], table: SlotTable) -> dict[UUID, KeyDraft]:
    """A fresh random key for each id; an id given twice gets one key."""
    wanted = list(dict.fromkeys(key_ids))
    random = os.urandom(KEY_BYTES * len(wanted))
    return {key_id: KeyDraft(key_id, random[at : at + KEY_BYTES], table) for key_id, at in zip(wanted, range(0, len(random), KEY_BYTES), strict=True)}


def unwrap(row: dict[str, Any], table: SlotTable) -> bytes | None:
    """The raw data key of a living row; None if `table` has no slot key of that epoch or the wrapping does not fit it."""
    slot_key = table.find(slot_of(UUID(bytes=row["_id"])), row["epoch"])
    if slot_key is None:
        return None
    try:
        return aes_key_unwrap(slot_key, row["wrapped"])
    except InvalidUnwrap:
        return None


def rewrap(row: dict[str, Any], table: SlotTable) -> tuple[bytes, int] | None:
    """The same data key wrapped by the current slot key, and its epoch; None where `unwrap` gives None."""
    raw = unwrap(row, table)
    if raw is None:
        return None
    slot_key = table.current[slot_of(UUID(bytes=row["_id"]))]
    return aes_key_wrap(slot_key.key, raw), slot_key.epoch

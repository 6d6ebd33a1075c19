"""Mostly bad input usually means bad code: then the consumer stops instead of draining its topic into the dead letters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

RECORDS_MIN = 1_000
SHARE_MAX = 0.5
_WINDOW_RECORDS = 2_000


class TooManyDeadLetters(RuntimeError):
    """More than half of at least 1,000 records were bad, and so were those of the last batch. Nothing of that was committed."""


class Share(NamedTuple):
    """Good and bad records of one partition, recent ones more. Parked records count as neither. Stored with the partition's position."""

    records: int = 0
    bad: int = 0

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Share:
        """As the partition's row has it."""
        return cls(*row.get("share", ()))

    def after(self, records: int, bad: int) -> Share:
        """With a batch more; older ones lose weight."""
        added = Share(self.records + records, self.bad + bad)
        return Share(added.records // 2, added.bad // 2) if added.records > _WINDOW_RECORDS else added

    def forgiving(self, dead_letters: int) -> Share:
        """What somebody redrove or discarded since is held against nobody: only dead letters that still stand count."""
        return Share(self.records, min(self.bad, dead_letters))


class ShareLimit:
    """Adds up the partitions of one worker. A restart forgets nothing, or each would set hundreds more aside."""

    def __init__(self) -> None:
        self._shares: dict[int, Share] = {}

    def of(self, partition: int) -> Share:
        """What is committed of this partition."""
        return self._shares.get(partition, Share())

    def put(self, partition: int, share: Share) -> None:
        """Takes what was stored or committed."""
        self._shares[partition] = share

    def forget(self, partition: int) -> None:
        """The partition is somebody else's."""
        self._shares.pop(partition, None)

    def check(self, records: int, bad: int) -> None:
        """Raises TooManyDeadLetters if a batch of so many would cross the limit. One that is mostly good always may: the code was mended."""
        total = records + sum(each.records for each in self._shares.values())
        bad_total = bad + sum(each.bad for each in self._shares.values())
        if total >= RECORDS_MIN and bad_total > SHARE_MAX * total and bad > SHARE_MAX * records:
            raise TooManyDeadLetters(f"{bad_total} of {total} records are bad")

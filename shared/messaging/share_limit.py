"""Mostly bad input usually means bad code: then the consumer stops instead of draining its topic into the dead letters."""

from __future__ import annotations

RECORDS_MIN = 1_000
SHARE_MAX = 0.5
_WINDOW_RECORDS = 10_000


class TooManyDeadLetters(RuntimeError):
    """More than half of at least 1,000 records were bad. Nothing of the last batch was committed."""


class ShareLimit:
    """Counts good and bad records of one worker since it started, recent ones more. Parked records count as neither."""

    def __init__(self) -> None:
        self._records = self._bad = 0

    def check(self, records: int, bad: int) -> None:
        """Raises TooManyDeadLetters if a batch of so many would cross the limit. Changes nothing."""
        total, bad_total = self._records + records, self._bad + bad
        if total >= RECORDS_MIN and bad_total > SHARE_MAX * total:
            raise TooManyDeadLetters(f"{bad_total} of {total} records are bad")

    def count(self, records: int, bad: int) -> None:
        """Adds a committed batch; older ones lose weight."""
        self._records, self._bad = self._records + records, self._bad + bad
        if self._records > _WINDOW_RECORDS:
            self._records, self._bad = self._records // 2, self._bad // 2

"""Opened data keys, kept for a short, bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

Opened = dict[bytes, bytes | None]
"""Unwrapped keys by raw id; None says that the key is destroyed. Bytes, since a cipher ready for use takes 2.3 KB and 1 us to make."""


class KeyCache:
    """At most `keys_max` keys, each for at most `seconds`: two generations, the older of which is dropped whole, so no key needs a clock of its own.

    Attributes:
        evictions: how often something was evicted; read it before you read the rows that you want to `put`.
    """

    def __init__(self, seconds: float, keys_max: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.half_seconds = seconds / 2
        self._half_keys = max(1, keys_max // 2)
        self._clock = clock
        self._young: Opened = {}
        self._old: Opened = {}
        self._turn_at = 0.0
        self.evictions = 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def split(self, raw_ids: Iterable[bytes]) -> tuple[Opened, list[bytes]]:
        """What is known of these ids, and the ids that are not. A hit does not lengthen a key's stay."""
        known: Opened = {}
        unknown: list[bytes] = []
        for raw_id in raw_ids:
            if raw_id in self._young:
                known[raw_id] = self._young[raw_id]
            elif raw_id in self._old:
                known[raw_id] = self._old[raw_id]
            else:
                unknown.append(raw_id)
        return known, unknown

    def put(self, keys: Mapping[bytes, bytes | None], evictions: int) -> None:
        """Keeps these keys, unless something was evicted since `evictions` was read: they may have been read before they were destroyed."""
        if evictions != self.evictions:
            return
        for raw_id, key in keys.items():
            if len(self._young) >= self._half_keys:
                self._turn(self._clock())
            self._young[raw_id] = key

    def evict(self, raw_ids: Iterable[bytes]) -> None:
        """Forgets these keys at once."""
        self.evictions += 1
        for raw_id in raw_ids:
            self._young.pop(raw_id, None)
            self._old.pop(raw_id, None)

    def expire(self) -> bool:
        """Drops what is too old; call it before every use. True at most once in half the cache's time."""
        now = self._clock()
        if now < self._turn_at:
            return False
        if now >= self._turn_at + self.half_seconds:
            self._young = {}  # Nobody came by for a whole generation, so the young ones are too old as well.
        self._turn(now)
        return True

    def _turn(self, now: float) -> None:
        self._old, self._young = self._young, {}
        self._turn_at = now + self.half_seconds

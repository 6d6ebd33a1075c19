"""How long a consumer lets the broker hold an empty fetch: short while records come, long when nothing does."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition

from shared.messaging import fetching
from shared.messaging.fetching import BUSY_WAIT_MS, IDLE_WAIT_MS, QUIET_SECONDS, QUIET_WAIT_MS, Fetching

PLACE = TopicPartition("topic", 0)


class Consumer:
    """Gives what the test says, and keeps what it was told."""

    def __init__(self) -> None:
        self.next: list[object] = []
        self._fetcher = SimpleNamespace(_fetch_min_bytes=1, _fetch_max_wait_ms=IDLE_WAIT_MS, _fetcher_timeout=0.2)

    async def getmany(self, *_: object, **__: object) -> dict[TopicPartition, list[object]]:
        found, self.next = self.next, []
        return {PLACE: found} if found else {}

    @property
    def wait_ms(self) -> int:
        return int(self._fetcher._fetch_max_wait_ms)


class Rig:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(fetching.time, "monotonic", lambda: self.now)
        self.consumer = Consumer()
        self.fetching = Fetching(self.consumer, lambda _: 0, lambda *_: None)

    async def poll(self, records: int = 0, after: float = 1.0) -> int:
        """One poll that returns `after` seconds later; gives the wait of the next."""
        self.now += after
        self.consumer.next = [object()] * records
        await self.fetching.getmany()
        return self.consumer.wait_ms


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


async def test_a_consumer_without_records_for_a_while_asks_seldom(rig: Rig) -> None:
    assert await rig.poll() == IDLE_WAIT_MS
    assert await rig.poll(after=QUIET_SECONDS) == QUIET_WAIT_MS
    assert rig.consumer._fetcher._fetcher_timeout == QUIET_WAIT_MS / 1000


async def test_the_first_record_ends_the_quiet(rig: Rig) -> None:
    await rig.poll(after=QUIET_SECONDS)
    assert await rig.poll(records=1) == IDLE_WAIT_MS


async def test_many_records_let_the_broker_gather(rig: Rig) -> None:
    assert await rig.poll(records=1_000) == BUSY_WAIT_MS
    assert rig.consumer._fetcher._fetch_min_bytes > 1
    assert await rig.poll() == IDLE_WAIT_MS
    assert rig.consumer._fetcher._fetch_min_bytes == 1

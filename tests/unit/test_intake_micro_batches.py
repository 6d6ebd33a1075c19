"""The one writer: what waits is written together, bounded, and one request's trouble is not another's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest

from services.intake.micro_batches import WAITING_ENTRIES_MAX, MicroBatches, Overloaded
from services.intake.ports import Entry, Verdict
from shared.storage import TransientStorageError
from tests.contract.test_intake_ledger import entry
from tests.intake_memory import MemoryLedger


class HeldLedger(MemoryLedger):
    """Writes only when it may, and never what is locked."""

    def __init__(self) -> None:
        super().__init__()
        self.may_write = asyncio.Event()
        self.writes: list[int] = []
        self.locked: set[UUID] = set()

    async def write(self, entries: Sequence[Entry]) -> list[Verdict]:
        await self.may_write.wait()
        if self.locked & {each.submission_id for each in entries}:
            raise TransientStorageError
        self.writes.append(len(entries))
        return await super().write(entries)


@asynccontextmanager
async def running(writer: MicroBatches) -> AsyncIterator[None]:
    task = asyncio.create_task(writer.run())
    await asyncio.sleep(0)
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_waits_is_written_in_one_transaction() -> None:
    ledger = HeldLedger()
    writer = MicroBatches(ledger)
    async with running(writer):
        waiting = [asyncio.create_task(writer.write([entry(), entry()])) for _ in range(10)]
        await asyncio.sleep(0)
        ledger.may_write.set()
        verdicts = await asyncio.gather(*waiting)

    assert verdicts == [["accepted", "accepted"]] * 10
    assert sum(ledger.writes) == 20
    assert len(ledger.writes) <= 2


async def test_a_locked_id_fails_its_own_request_only() -> None:
    ledger, locked = HeldLedger(), entry()
    ledger.locked.add(locked.submission_id)
    writer = MicroBatches(ledger)
    async with running(writer):
        waiting = [asyncio.create_task(writer.write([each])) for each in (entry(), locked, entry())]
        await asyncio.sleep(0)
        ledger.may_write.set()
        first, second, third = await asyncio.gather(*waiting, return_exceptions=True)

    assert (first, third) == (["accepted"], ["accepted"])
    assert isinstance(second, TransientStorageError)


async def test_beyond_its_bounds_it_takes_nothing_on() -> None:
    ledger = HeldLedger()
    writer = MicroBatches(ledger)
    async with running(writer):
        held = asyncio.create_task(writer.write([entry()] * WAITING_ENTRIES_MAX))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await writer.write([entry()])
        ledger.may_write.set()
        await held
        assert await writer.write([entry()]) == ["accepted"]


async def test_before_it_runs_and_after_it_ends_it_takes_nothing_on() -> None:
    writer = MicroBatches(MemoryLedger())
    with pytest.raises(Overloaded):
        await writer.write([entry()])
    async with running(writer):
        assert await writer.write([entry(uuid4())]) == ["accepted"]
    with pytest.raises(Overloaded):
        await writer.write([entry()])


async def test_settled_waits_for_what_is_in_flight() -> None:
    ledger = HeldLedger()
    writer = MicroBatches(ledger)
    async with running(writer):
        held = asyncio.create_task(writer.write([entry()]))
        await asyncio.sleep(0)
        settled = asyncio.create_task(writer.settled())
        await asyncio.sleep(0)
        assert not settled.done()
        ledger.may_write.set()
        await settled
        assert held.done()
        await held

"""Decisions that meet, and crashes between the chunks of large moves and erasures, on real MongoDB."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from services.dedup.domain.model import Signature
from services.dedup.migrations import MIGRATIONS
from services.dedup.mongo import MongoErasures, MongoIdentities, MongoMoveLogs, current_customers
from services.dedup.mongo.erasures import erasure_noted
from services.dedup.use_cases import erase_customer, finish_moves, moves, resolve_identities
from services.dedup.use_cases.erase_customer import EraseCustomer
from services.dedup.use_cases.find_set_aside import FindSetAside, Found
from services.dedup.use_cases.finish_moves import FinishMoves
from services.dedup.use_cases.read_signatures import Opened, ReadSignatures
from services.dedup.use_cases.resolve_identities import ResolveIdentities
from shared.contracts.dedup import SubmissionsErased, SubmissionsMoved
from shared.contracts.event import Event, Outgoing
from shared.contracts.privacy import ErasureReceipt
from shared.messaging import OutboxRelay, Record
from shared.storage import DuplicateKey, Store, Transaction, migrate
from tests.dedup_world import NOON, RULES, KnownSignatures, batch_of, envelope, grouped, oracle, signature, submission_id

pytestmark = pytest.mark.servers


class Crash(Exception):
    """The process ends here."""


class Meeting(KnownSignatures):
    """Holds two decisions at their start, each with its snapshot taken, until both are there; later runs pass."""

    def __init__(self) -> None:
        super().__init__()
        self.barrier: asyncio.Barrier | None = None

    async def __call__(self, records: Sequence[Record]) -> Opened:
        barrier, self.waits = self.barrier, getattr(self, "waits", 0) + 1
        if barrier is not None and self.waits <= barrier.parties:
            await barrier.wait()
        return await super().__call__(records)


async def nothing_set_aside(holder: UUID, transaction: Transaction) -> Found:
    return Found()


class Desk:
    """Dedup's use cases on one database, without Kafka: what would be published is kept."""

    def __init__(self, store: Store) -> None:
        self.store, self.known, self.events = store, Meeting(), list[Event]()
        self.identities, self.logs, self.erasures = MongoIdentities(store), MongoMoveLogs(store), MongoErasures(store)
        self.resolve = ResolveIdentities(self.identities, cast(ReadSignatures, self.known), RULES, lambda: NOON)
        relay = cast(OutboxRelay, self)
        self.finish = FinishMoves(store, self.identities, self.logs, relay)
        self.erase = EraseCustomer(store, self.erasures, self.logs, self.finish, cast(FindSetAside, nothing_set_aside), relay, lambda: NOON)

    def wake(self) -> None:
        """Stands for the relay's."""

    async def take(self, *records: tuple[int, Signature]) -> None:
        self.known.by_submission |= {submission_id(number): each for number, each in records}

        async def once(transaction: Transaction) -> list[Event]:
            effects = await self.resolve(batch_of([envelope(number) for number, _ in records]), transaction)
            for (_, collection), operations in effects.writes.items():
                await self.store.collection(collection).bulk(operations, transaction=transaction)
            return [each.event for each in effects.outgoing if each.event]

        while True:
            try:
                self.events += await self.store.transaction(once)
            except DuplicateKey:  # as the worker does: the other was faster, read again
                continue
            return

    async def take_at_once(self, first: Sequence[tuple[int, Signature]], second: Sequence[tuple[int, Signature]]) -> None:
        self.known.waits, self.known.barrier = 0, asyncio.Barrier(2)
        await asyncio.gather(self.take(*first), self.take(*second))
        self.known.barrier = None

    async def partition(self) -> set[frozenset[UUID]]:
        held = await current_customers(self.store)
        return grouped(held, held.__getitem__)


@pytest.fixture
async def desk(mongodb_uri: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    store = await Store.connect(mongodb_uri, database="dedup", namespace=namespace)
    await migrate(store, MIGRATIONS)
    made = Desk(store)

    async def keep(transaction: Transaction, store: Store, outgoing: Sequence[Outgoing]) -> None:
        """An outbox that can be read: committed or aborted with the transaction."""
        rows = [{"_id": each.event_id.bytes, "number": number} for number, each in enumerate(outgoing)]
        await store.collection("outbox").insert_many(rows, transaction=transaction)
        made.events += [each.event for each in outgoing if each.event]

    for module in (finish_moves, erase_customer):
        monkeypatch.setattr(module, "enqueue", keep)
    yield made
    store.close()


A, B = ("phone:a", "phone:b")


@pytest.mark.parametrize(
    ("before", "first", "second"),
    [
        pytest.param([], [(1, signature(A))], [(2, signature(A))], id="the same new signature"),
        pytest.param([], [(1, signature(A, name="anna"))], [(2, signature(A, "email:a"))], id="two new records that share a value"),
        pytest.param(
            [(1, signature(A)), (2, signature(B)), (3, signature("email:a"))],
            [(4, signature(A, B))],
            [(5, signature(B, "email:a"))],
            id="two merges that share a customer",
        ),
        pytest.param(
            [(1, signature(A)), (2, signature(B))], [(3, signature(A, B))], [(4, signature(B))], id="a merge and a known record of the absorbed"
        ),
        pytest.param(
            [(1, signature(A, name="anna")), (2, signature(A, name="ben"))],
            [(3, signature(A, name="carl"))],
            [(4, signature(A, "email:a", name="anna"))],
            id="a value that turns generic",
        ),
    ],
)
async def test_decisions_that_meet_end_as_if_one_came_after_the_other(desk: Desk, before: Any, first: Any, second: Any) -> None:
    if before:
        await desk.take(*before)

    await desk.take_at_once(first, second)

    assert await desk.partition() == oracle([*before, *first, *second])
    held = Counter((await current_customers(desk.store)).values())
    entities = await desk.store.collection("entities").find({"state": "active"})
    assert {UUID(bytes=each["_id"]): each["submissions"] for each in entities} == dict(held)


async def large_merge(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (moves, resolve_identities, erase_customer):
        monkeypatch.setattr(module, "CHUNK_SUBMISSIONS_MAX", 3)
    await desk.take(*((number, signature(A)) for number in range(10)))
    await desk.take(*((number, signature(B)) for number in range(20, 31)))
    await desk.take((40, signature(A, B)))


async def test_a_large_merge_is_told_in_parts_and_a_crash_between_them_loses_and_doubles_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await large_merge(desk, monkeypatch)
    readers_are_right_at_once = len(set((await current_customers(desk.store)).values())) == 1

    for place in ("dedup.before_move_part", "dedup.after_move_part", "dedup.before_move_part"):
        kept = list(desk.events)

        def crash(name: str, place: str = place) -> None:
            if name == place:
                raise Crash

        monkeypatch.setattr(finish_moves, "failpoint", crash)
        with pytest.raises(Crash):
            await desk.finish.finish()
        if place == "dedup.before_move_part":
            desk.events = kept
    monkeypatch.setattr(finish_moves, "failpoint", lambda name: None)
    await desk.finish.finish()

    lost = [each for each in desk.events if isinstance(each, SubmissionsMoved) and each.direction == "lost"]
    told = [each for part in lost for each in part.submission_ids]
    assert readers_are_right_at_once
    assert sorted(part.part for part in lost) == [1, 2, 3, 4]
    assert Counter(told) == Counter(submission_id(number) for number in range(10))
    assert await desk.store.collection("merge_log").count({"open": True}) == 0
    assert await desk.finish.finish() == 0


async def note(desk: Desk, customer: UUID, offset: int = 0) -> UUID:
    request = uuid4()
    await desk.store.collection("erasures").bulk([erasure_noted(request, customer, {"0": offset})])
    return request


@pytest.mark.parametrize("place", ["dedup.before_erasure_begun", "dedup.erasure_begun", "dedup.before_erasure_part", "dedup.after_erasure_part"])
async def test_an_erasure_finishes_open_moves_first_and_a_crash_anywhere_is_made_good(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    await large_merge(desk, monkeypatch)
    holder = (await current_customers(desk.store))[submission_id(1)]
    await note(desk, holder)

    def crash(name: str) -> None:
        if name == place:
            raise Crash

    monkeypatch.setattr(erase_customer, "failpoint", crash)
    with pytest.raises(Crash):
        await desk.erase.carry_out()
    committed = {each["_id"] for each in await desk.store.collection("outbox").find({})}
    await desk.take((50, signature(A)))  # somebody new with the same phone, in the middle
    monkeypatch.setattr(erase_customer, "failpoint", lambda name: None)
    await desk.erase.carry_out()
    assert committed <= {each["_id"] for each in await desk.store.collection("outbox").find({})}

    everybody = {submission_id(number) for number in (*range(10), *range(20, 31), 40)}
    receipts = {each.part: each for each in desk.events if isinstance(each, ErasureReceipt)}
    erased = {each.part: each for each in desk.events if isinstance(each, SubmissionsErased)}
    if place == "dedup.before_erasure_begun":
        everybody.add(submission_id(50))  # it came before the customer was marked erased, so it was this customer's
    if place != "dedup.before_erasure_begun":
        assert set(await current_customers(desk.store)) == {submission_id(50)}
    assert [each for part in erased.values() for each in part.submission_ids] == [each for part in receipts.values() for each in part.key_ids]
    assert {each for part in receipts.values() for each in part.key_ids} == everybody
    assert set(receipts) == set(range(1, receipts[1].parts + 1))
    moved = {each for event in desk.events if isinstance(event, SubmissionsMoved) and event.direction == "lost" for each in event.submission_ids}
    assert moved == {submission_id(number) for number in range(10)}


async def test_an_erasure_waits_for_its_barrier(desk: Desk) -> None:
    await desk.take((1, signature(A)))
    await note(desk, (await current_customers(desk.store))[submission_id(1)], offset=1)

    assert await desk.erase.carry_out() == 0
    assert len(await current_customers(desk.store)) == 1


async def test_a_merge_and_an_erasure_that_meet_leave_nothing_of_the_erased(desk: Desk) -> None:
    await desk.take((1, signature(A)), (2, signature(B)))
    await note(desk, (await current_customers(desk.store))[submission_id(1)])

    await asyncio.gather(desk.take((3, signature(A, B))), desk.erase.carry_out())
    await desk.erase.carry_out()

    held = await current_customers(desk.store)
    assert submission_id(1) not in held
    assert await desk.store.collection("source_records").count({"state": "resolved"}) == len(held)


async def test_an_erasure_of_an_unknown_customer_is_answered_with_nothing(desk: Desk) -> None:
    request = await note(desk, uuid4())

    assert await desk.erase.carry_out() == 1
    [receipt] = [each for each in desk.events if isinstance(each, ErasureReceipt)]
    assert (receipt.request_id, receipt.parts, receipt.key_ids) == (request, 1, ())

"""One suite for privacy's ports, on the in-memory fakes and on real MongoDB."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast
from uuid import UUID, uuid4

import pytest

from services.privacy.domain.audit import GENESIS, Entry
from services.privacy.domain.consents import Choice, LedgerRow
from services.privacy.domain.erasure import Stage
from services.privacy.domain.requests import COLLECTING, READY, Kind, Receipt, Request
from services.privacy.migrations import MIGRATIONS
from services.privacy.mongo import MongoLedger, MongoRequestBook
from services.privacy.ports import CustomerConsents, DirtyMark, Ledger, RequestBook
from shared.storage import Store, Transaction, TransientStorageError, migrate
from tests.privacy_memory import MemoryConsentLedger, MemoryRequestBook

pytestmark = pytest.mark.servers
NOW = datetime(2026, 1, 1, tzinfo=UTC)
T = TypeVar("T")


@dataclass
class Desk:
    """The ports under test, and how to run in one transaction."""

    ledger: Ledger
    book: RequestBook
    store: Store | None

    async def within(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        return await (self.store.transaction(work, retry_seconds=0) if self.store else work(cast(Transaction, None)))


@pytest.fixture(params=["memory", "mongodb"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    if request.param == "memory":
        yield Desk(MemoryConsentLedger(), MemoryRequestBook(), None)
        return
    store = await Store.connect(request.getfixturevalue("mongodb_uri"), database="privacy", namespace=request.getfixturevalue("namespace"))
    await migrate(store, MIGRATIONS)
    yield Desk(MongoLedger(store), MongoRequestBook(store), store)
    store.close()


def row(customer: UUID, **changes: Any) -> LedgerRow:
    first = LedgerRow(uuid4(), customer, 1, NOW, NOW, "web", (Choice("marketing", "granted", "2026-01"),))
    return replace(first, **changes)


def request(kind: Kind = "erasure", stage: str = Stage.DRAINING, at: datetime = NOW, customer: UUID | None = None) -> Request:
    return Request(uuid4(), kind, customer or uuid4(), at, "officer", stage, at, steps=(("opened", at),))


async def test_a_row_reads_back_as_it_was_saved_and_an_unknown_one_is_fresh(desk: Desk) -> None:
    customer = uuid4()
    filled, stub, gone = row(customer), LedgerRow(uuid4(), uuid4(), 7), LedgerRow(uuid4(), erased=True)

    await desk.within(lambda transaction: desk.ledger.save_rows([filled, stub, gone], transaction))

    unknown = uuid4()
    held = await desk.ledger.rows([filled.submission_id, stub.submission_id, gone.submission_id, unknown])
    assert held == {filled.submission_id: filled, stub.submission_id: stub, gone.submission_id: gone, unknown: LedgerRow(unknown)}
    assert await desk.ledger.rows_of([customer]) == [filled]
    assert await desk.ledger.rows_of([]) == []


async def test_the_published_state_of_a_customer_and_who_erased_it(desk: Desk) -> None:
    cause, living, absorbed = uuid4(), uuid4(), uuid4()
    states = [
        CustomerConsents(living, 3, {"marketing": {"state": "granted", "notice_version": "2026-01", "since": "2026-01-01"}}),
        CustomerConsents(absorbed, 1, {}, alias_of=living),
        CustomerConsents(uuid4(), 2, erased_by=cause),
    ]

    await desk.within(lambda transaction: desk.ledger.save_customers(states, transaction))

    held = await desk.ledger.customers([each.customer_id for each in states])
    assert list(held.values()) == states
    assert await desk.ledger.erased_by(cause) == [states[2].customer_id]
    unknown = uuid4()
    assert await desk.ledger.customers([unknown]) == {unknown: CustomerConsents(unknown)}


async def test_a_mark_is_one_per_customer_and_cause_and_goes_only_when_it_was_seen(desk: Desk) -> None:
    mark, later = DirtyMark(uuid4(), uuid4(), 3), DirtyMark(uuid4(), uuid4(), 3, uuid4(), 2, 5)

    await desk.within(lambda transaction: desk.ledger.add_marks([mark, mark], transaction))
    await desk.within(lambda transaction: desk.ledger.add_marks([later], transaction))
    seen = await desk.within(lambda transaction: desk.ledger.marks(3, 10, transaction))
    assert sorted(seen, key=str) == sorted([mark, later], key=str)
    assert await desk.ledger.partitions_due(NOW) == [3]
    await desk.within(lambda transaction: desk.ledger.delete_marks([mark], transaction))

    assert await desk.within(lambda transaction: desk.ledger.marks(3, 10, transaction)) == [later]
    assert await desk.within(lambda transaction: desk.ledger.marks(4, 10, transaction)) == []


async def test_a_filler_is_taken_once_when_it_is_due(desk: Desk) -> None:
    customer, due_at = uuid4(), NOW + timedelta(hours=1)
    await desk.within(lambda transaction: desk.ledger.add_fillers({customer: 2}, due_at, transaction))

    early = await desk.within(lambda transaction: desk.ledger.take_fillers(2, NOW, transaction))
    due = await desk.ledger.partitions_due(due_at)
    taken = [await desk.within(lambda transaction: desk.ledger.take_fillers(2, due_at, transaction)) for _ in range(2)]

    assert (early, due, taken) == ([], [2], [[customer], []])


async def test_requests_are_found_by_what_is_asked_newest_first(desk: Desk) -> None:
    old, new = request(at=NOW), request(at=NOW + timedelta(days=1))
    export = request("access", COLLECTING, customer=old.customer_id)

    async def save(transaction: Transaction) -> None:
        for each in (old, new, export):
            await desk.book.save_request(each, transaction)

    await desk.within(save)

    assert await desk.book.request(old.request_id) == old
    assert await desk.book.request(uuid4()) is None
    assert await desk.book.requests(kind="erasure") == [new, old]
    assert await desk.book.requests(limit=1) == [new]
    assert await desk.book.requests(stages=[COLLECTING, READY]) == [export]
    assert {each.request_id for each in await desk.book.requests(customers=[old.customer_id])} == {old.request_id, export.request_id}


@pytest.mark.parametrize(
    ("held", "due"),
    [
        (request(stage=Stage.DRAINING), True),
        (request(stage=Stage.ERASING), False),
        (request(stage=Stage.CLOSED), False),
        (request("access", READY, NOW - timedelta(days=8)), True),
        (request("access", READY, NOW), False),
    ],
)
async def test_time_alone_moves_only_what_waits_for_it(desk: Desk, held: Request, due: bool) -> None:
    await desk.within(lambda transaction: desk.book.save_request(held, transaction))

    assert await desk.book.anything_due(NOW - timedelta(days=7), NOW) is due


async def test_of_repeated_receipts_the_first_erased_and_the_last_drained_count(desk: Desk) -> None:
    asked, keys = uuid4(), (uuid4(), uuid4())
    erased = Receipt(asked, "dedup", "erased", "0001", counts={"source_records": 2}, key_ids=keys)
    drained = Receipt(asked, "intake", "drained", "p1", live=("p1",), offsets={"0": 5})
    again = replace(drained, attempt=2, offsets={"0": 7})

    await desk.within(lambda transaction: desk.book.add_receipts([erased, drained], transaction))
    await desk.within(lambda transaction: desk.book.add_receipts([replace(erased, counts={}, key_ids=()), again], transaction))

    assert await desk.book.receipts(asked, with_keys=True) == [again, erased]
    assert [len(each.key_ids) for each in await desk.book.receipts(asked)] == [0, 1]
    await desk.within(lambda transaction: desk.book.spend(erased, transaction))
    assert [each.spent for each in await desk.book.receipts(asked)] == [False, True]
    assert await desk.book.receipts(uuid4()) == []


async def test_parts_of_a_copy_are_kept_once_read_one_by_one_and_deleted_together(desk: Desk) -> None:
    asked = uuid4()

    async def add(transaction: Transaction) -> None:
        for holder, part, content in [("profile", 2, b"two"), ("profile", 1, b"one"), ("dedup", 1, b"d"), ("profile", 1, b"repeat")]:
            await desk.book.add_access_part(asked, holder, part, 2, content, transaction)

    await desk.within(add)

    assert await desk.book.access_parts(asked) == [("dedup", 1, 2), ("profile", 1, 2), ("profile", 2, 2)]
    assert await desk.book.access_content(asked, "profile", 1) == b"one"
    assert await desk.book.access_content(asked, "profile", 3) is None
    await desk.within(lambda transaction: desk.book.delete_access_parts(asked, transaction))
    assert await desk.book.access_parts(asked) == []
    assert await desk.book.access_content(asked, "profile", 1) is None


async def test_closed_keys_fall_due_once_and_are_remembered(desk: Desk) -> None:
    customer, key_id, due_at = uuid4(), uuid4(), NOW + timedelta(minutes=1)
    await desk.within(lambda transaction: desk.book.add_closed_keys(customer, [key_id], due_at, transaction))
    await desk.within(lambda transaction: desk.book.add_closed_keys(customer, [key_id], NOW, transaction))  # a repeat

    early = await desk.within(lambda transaction: desk.book.closed_keys(transaction, due_by=NOW))
    due = await desk.within(lambda transaction: desk.book.closed_keys(transaction, due_by=due_at))
    assert await desk.book.anything_due(NOW, due_at)
    await desk.within(lambda transaction: desk.book.note_closed_destroyed([key_id], due_at, transaction))

    assert (early, due) == ([], [(key_id, customer, None)])
    assert await desk.within(lambda transaction: desk.book.closed_keys(transaction, due_by=due_at)) == []
    assert await desk.within(lambda transaction: desk.book.closed_keys(transaction, customers=[customer])) == [(key_id, customer, due_at)]


async def test_the_audit_chain_grows_by_one_behind_its_head(desk: Desk) -> None:
    assert await desk.within(desk.book.audit_head) == (0, GENESIS)
    entry = Entry(1, GENESIS, "erasure-closed", "r", "digest", NOW.isoformat())

    await desk.within(lambda transaction: desk.book.append_audit(entry, transaction))

    assert await desk.within(desk.book.audit_head) == (1, entry.hash)
    with pytest.raises(TransientStorageError):
        await desk.within(lambda transaction: desk.book.append_audit(replace(entry, position=3), transaction))


async def test_a_certificate_keeps_every_revision(desk: Desk) -> None:
    asked = uuid4()
    assert await desk.book.certificate(asked) is None
    for revision in (1, 2):
        signed = {"certificate": {"revision": revision}}
        await desk.within(lambda transaction, signed=signed: desk.book.save_certificate(asked, signed, [7], NOW, transaction))  # type: ignore[misc]

    held = await desk.book.certificate(asked)

    assert held is not None
    assert [each["certificate"]["revision"] for each in held["revisions"]] == [1, 2]
    assert (held["slots_waiting"], held["closed_at"]) == ([7], NOW)

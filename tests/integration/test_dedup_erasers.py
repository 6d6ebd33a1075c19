"""Several who carry out one erasure: two processes at once, or one that asks again since an answer was lost. Each key is named exactly once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import cast
from uuid import UUID, uuid4

import msgspec
import pytest

from services.dedup.migrations import MIGRATIONS
from services.dedup.mongo import MongoErasures, MongoIdentities, MongoMoveLogs
from services.dedup.mongo.erasures import erasure_noted
from services.dedup.use_cases import erase_customer
from services.dedup.use_cases.erase_customer import EraseCustomer
from services.dedup.use_cases.find_set_aside import FindSetAside, Found
from services.dedup.use_cases.finish_moves import FinishMoves
from shared.contracts.dedup import SubmissionsErased
from shared.contracts.privacy import ErasureReceipt
from shared.messaging import OutboxRelay
from shared.messaging.outbox import messages_of
from shared.storage import Store, Transaction, TransientStorageError, migrate
from shared.storage.session import Session
from tests.dedup_world import NOON, submission_id

pytestmark = pytest.mark.servers
SUBMISSIONS = 10
CHUNK = 4
CUSTOMER, FOUNDER = uuid4(), submission_id(0)


class SleepingRelay:
    """Publishes nothing, so that the outbox can be read."""

    def wake(self) -> None:
        """Stands for the relay's."""


async def nothing_set_aside(holder: UUID, transaction: Transaction) -> Found:
    return Found()


def eraser(store: Store, writer: str) -> EraseCustomer:
    """One dedup process."""
    store.writer = writer
    logs, relay = MongoMoveLogs(store), cast(OutboxRelay, SleepingRelay())
    finish_moves = FinishMoves(store, MongoIdentities(store), logs, relay)
    return EraseCustomer(store, MongoErasures(store), logs, finish_moves, cast(FindSetAside, nothing_set_aside), relay, lambda: NOON)


@pytest.fixture
async def store(mongodb_uri: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """One customer of several parts, whose erasure is due."""
    made = await Store.connect(mongodb_uri, database="dedup", namespace=namespace)
    await migrate(made, MIGRATIONS)
    await found(made)
    monkeypatch.setattr(erase_customer, "CHUNK_SUBMISSIONS_MAX", CHUNK)
    yield made
    made.close()


async def found(store: Store) -> None:
    customer, token = CUSTOMER.bytes, b"t" * 16
    entity = {"version": 1, "submissions": SUBMISSIONS, "state": "active", "merged_into": None, "founded_by": FOUNDER.bytes, "decisions": 1}
    await store.collection("entities").insert_one({"_id": customer, **entity})
    placed = {"customer": customer, "founder": FOUNDER.bytes, "assignment": 1}
    await store.collection("signatures").insert_one({"_id": b"s" * 16, "tokens": [token], "kinds": ["phone"], "name": None, "birth": None, **placed})
    await store.collection("identifiers").insert_one({"_id": token, "kind": "phone", "generic": False, "contested": False, "decisions": 1})
    row = {"state": "resolved", "customer": customer, "assignment": 1, "signature": FOUNDER.bytes, "matched": [], "at": NOON}
    await store.collection("source_records").insert_many(
        [{"_id": submission_id(each).bytes, "envelope": {}, "sealed": b"x", **row} for each in range(SUBMISSIONS)]
    )
    await store.collection("erasures").bulk([erasure_noted(uuid4(), CUSTOMER, {})])


async def assert_every_key_is_named_once(store: Store) -> None:
    """As privacy hears it, which keeps the first answer of each part."""
    sent = [message for row in await store.collection("outbox").find({}, sort=[("_id", 1)]) for message in messages_of(row)]
    receipts = [msgspec.json.decode(each.value or b"", type=ErasureReceipt) for each in sent if each.topic == ErasureReceipt.topic]
    told = [msgspec.json.decode(each.value or b"", type=SubmissionsErased) for each in sent if each.topic == SubmissionsErased.topic]
    everything = Counter(submission_id(each) for each in range(SUBMISSIONS))
    assert Counter(each.part for each in receipts) == Counter({1: 1, 2: 1, 3: 1})
    assert Counter(each.part for each in told) == Counter({1: 1, 2: 1, 3: 1})
    assert {each.parts for each in receipts} | {each.parts for each in told} == {3}
    assert Counter(key for each in receipts for key in each.key_ids) == everything
    assert Counter(submission for each in told for submission in each.submission_ids) == everything
    assert {each.key_ids_in_all for each in receipts} == {SUBMISSIONS}
    assert sum(each.counts["source_records"] for each in receipts) == SUBMISSIONS
    assert await store.collection("source_records").count({"state": "erased"}) == SUBMISSIONS


@pytest.mark.parametrize("attempt", range(5))
async def test_two_processes_that_erase_one_customer_at_once_name_every_key_once(store: Store, mongodb_uri: str, attempt: int) -> None:
    other = await Store.connect(mongodb_uri, database="dedup", namespace=store.namespace)

    await asyncio.gather(eraser(store, "first").carry_out(), eraser(other, "second").carry_out())

    await assert_every_key_is_named_once(store)
    other.close()


@pytest.mark.parametrize("lost", [1, 2, 3, 4])
async def test_a_step_whose_commit_was_done_but_never_answered_is_not_done_again(store: Store, monkeypatch: pytest.MonkeyPatch, lost: int) -> None:
    """The answer to the beginning, or to a part, is lost: the transaction runs again and finds its own work."""
    commit, answers = Session._commit, Counter[str]()

    async def commit_and_lose(session: Session) -> None:
        await commit(session)
        answers["commits"] += 1
        if answers["commits"] == lost + 1:  # the first transaction looks for open moves
            answers["lost"] += 1
            raise TransientStorageError("the answer was lost after the commit")

    monkeypatch.setattr(Session, "_commit", commit_and_lose)

    await eraser(store, "first").carry_out()

    assert answers["lost"] == 1
    await assert_every_key_is_named_once(store)

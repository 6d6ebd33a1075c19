"""What every `Ledger` promises, on the one in memory and on MongoDB."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from services.intake.domain.channels import Channel
from services.intake.domain.findings import finding
from services.intake.domain.validation import Checked
from services.intake.migrations import MIGRATIONS, OUTBOX
from services.intake.mongo import MongoLedger
from services.intake.ports import Entry, Ledger
from shared.contracts.submission import SubmissionBody
from shared.sealing import KeyRing, MemoryKeyProvider
from shared.storage import Store, migrate
from tests.intake_memory import MemoryLedger

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SHOP = Channel("shop", "Shop", "store", 80, "2026-01", NOW)


def entry(submission_id: UUID | None = None, content: str = "a", *, valid: bool = True, at: datetime = NOW) -> Entry:
    checked = Checked("profile", SubmissionBody(occurred_at=at, fields={"name": content}), (), dated_by_sender=True)
    findings = () if valid else (finding("wrong_type", "fields.name"),)
    return Entry(
        submission_id or uuid4(), content.encode().ljust(16), SHOP, at, content.encode(), checked=checked if valid else None, findings=findings
    )


@pytest.fixture(params=["memory", pytest.param("mongodb", marks=pytest.mark.servers)])
async def ledger(request: pytest.FixtureRequest) -> AsyncIterator[Ledger]:
    if request.param == "memory":
        yield MemoryLedger()
        return
    store = await Store.connect(request.getfixturevalue("mongodb_uri"), database="intake", namespace=request.getfixturevalue("namespace"))
    await migrate(store, MIGRATIONS)
    keys = KeyRing(store.other("keyring"), MemoryKeyProvider())
    await keys.start()
    store.writer = "test"
    yield MongoLedger(store, keys)
    await store.drop()
    await store.other("keyring").drop()
    store.close()


async def test_a_new_submission_is_accepted_and_found(ledger: Ledger) -> None:
    new = entry()

    assert await ledger.write([new]) == ["accepted"]

    row = await ledger.find(new.submission_id)
    assert row is not None
    assert (row.state, row.channel_id, row.received_at, row.published) == ("accepted", "shop", NOW, False)
    assert await ledger.find(uuid4()) is None


async def test_a_repeat_is_a_duplicate_and_another_content_a_conflict(ledger: Ledger) -> None:
    first = entry()
    await ledger.write([first])

    assert await ledger.write([first, entry(first.submission_id, "b"), entry()]) == ["duplicate", "conflict", "accepted"]


async def test_within_one_write_the_first_of_equal_ids_wins(ledger: Ledger) -> None:
    same = uuid4()

    assert await ledger.write([entry(same), entry(same), entry(same, "b")]) == ["accepted", "duplicate", "conflict"]


async def test_a_quarantined_submission_is_listed_newest_first_until_it_is_corrected(ledger: Ledger) -> None:
    older, newer = entry(valid=False), entry(valid=False, at=NOW + timedelta(seconds=1))

    assert await ledger.write([older, newer]) == ["quarantined", "quarantined"]
    listed = await ledger.quarantined(None, 10)
    assert [(row.submission_id, row.reasons, row.fields) for row in listed] == [
        (newer.submission_id, ("wrong_type",), ("fields.name",)),
        (older.submission_id, ("wrong_type",), ("fields.name",)),
    ]
    assert await ledger.quarantined("elsewhere", 10) == []

    assert await ledger.write([entry(older.submission_id, "corrected")]) == ["accepted"]
    assert [row.submission_id for row in await ledger.quarantined("shop", 10)] == [newer.submission_id]
    assert await ledger.write([entry(older.submission_id, "corrected"), entry(older.submission_id, valid=False)]) == ["duplicate", "conflict"]


@pytest.mark.servers
async def test_a_write_that_changes_nothing_publishes_nothing(mongodb_uri: str, namespace: str) -> None:
    store = await Store.connect(mongodb_uri, database="intake", namespace=namespace)
    await migrate(store, MIGRATIONS)
    keys = KeyRing(store.other("keyring"), MemoryKeyProvider())
    await keys.start()
    store.writer = "test"
    ledger, new = MongoLedger(store, keys), entry()

    await ledger.write([new])
    await ledger.write([new, new])

    assert await store.collection(OUTBOX).count({}) == 1
    await store.drop()
    await store.other("keyring").drop()
    store.close()

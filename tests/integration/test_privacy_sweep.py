"""The sweep finds what is there, says how, and can no longer find what only a destroyed key opens."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest

from deploy.local.sweep import Places, sweep
from deploy.local.sweep.canaries import Canaries
from shared.contracts.event import Outgoing
from shared.contracts.intake import SubmissionAccepted
from shared.contracts.submission import Submission, SubmissionBody
from shared.contracts.topics import SUBMISSIONS
from shared.hosting import Settings
from shared.messaging import MESSAGING_MIGRATIONS, Broker, OutboxRelay, enqueue
from shared.messaging.topic_admin import apply_topics
from shared.sealing import KeyRing, LocalKeyFile, body_aad
from shared.storage import Store, migrate

pytestmark = pytest.mark.servers


@dataclass
class Person:
    """One person's canary in a document, in an outbox document and in a record, sealed by one key."""

    canary: str
    key_id: UUID


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    opened = await Store.connect(settings.mongodb_uri, database="intake", namespace=settings.namespace)
    await migrate(opened, MESSAGING_MIGRATIONS)
    yield opened
    opened.close()


@pytest.fixture
async def ring(store: Store, settings: Settings) -> KeyRing:
    opened = KeyRing(store.other("keyring"), LocalKeyFile.open(settings.keys))
    await opened.start()
    return opened


async def plant(store: Store, ring: KeyRing, settings: Settings) -> Person:
    canary, key_id = f"canary-{secrets.token_hex(8)}", uuid4()
    broker = Broker(settings)
    OutboxRelay(store, broker, "sweep")

    async def store_all(transaction: object) -> Submission:
        key = (await ring.create([key_id], transaction))[key_id]  # type: ignore[arg-type]
        body = SubmissionBody(occurred_at=datetime.now(UTC), fields={"name": canary})
        sealed = key.seal(msgspec.json.encode(body), body_aad(key_id, 1))
        submission = Submission(
            submission_id=key_id, kind="profile", channel_id="web", channel_kind="form", channel_trust=50,
            received_on=date(2026, 1, 1), occurred_on=date(2026, 1, 1), sealed=sealed,
        )  # fmt: skip
        await store.collection("submissions").insert_one({"_id": key_id.bytes, "sealed": sealed}, transaction=transaction)  # type: ignore[arg-type]
        await enqueue(transaction, store, [_accepted(submission)])  # type: ignore[arg-type]
        return submission

    await store.create_collection("submissions")
    submission = await store.transaction(store_all)
    await broker.start()
    await broker.publish([_accepted(submission)])
    await broker.stop()
    return Person(canary, key_id)


def _accepted(submission: Submission) -> Outgoing:
    return Outgoing(
        topic=SUBMISSIONS.name, key=b"ab", event_id=uuid4(), event=SubmissionAccepted(submission=submission), occurred_at=datetime.now(UTC)
    )


async def test_keys_that_are_left_open_the_canary_in_each_store_and_a_destroyed_key_opens_none(
    store: Store, ring: KeyRing, settings: Settings
) -> None:
    # given
    await apply_topics(settings.kafka_bootstrap_servers, settings.namespace)
    erased, control = await plant(store, ring, settings), await plant(store, ring, settings)
    # when
    before = await sweep([erased.canary], settings, Places())
    await ring.destroy([erased.key_id])
    after = await sweep([erased.canary], settings, Places())
    living = await sweep([control.canary], settings, Places())
    # then
    assert {hit.store for hit in before.hits} == {"mongodb", "kafka"}
    assert {hit.how for hit in before.hits} == {"unsealed"}
    assert any("outbox" in hit.place for hit in before.hits)
    assert after.clean
    assert {hit.store for hit in living.found("unsealed")} == {"mongodb", "kafka"}
    assert not living.found("clear")
    assert not living.found("raw")
    assert after.visited["kafka"]["read"] >= 2


async def test_a_value_in_clear_is_found_in_a_document_a_record_and_a_log(store: Store, ring: KeyRing, settings: Settings, tmp_path: Path) -> None:
    # given
    await apply_topics(settings.kafka_bootstrap_servers, settings.namespace)
    await store.create_collection("submissions")
    await store.collection("submissions").insert_one({"_id": 1, "nested": [{"note": "王canary小明"}]})
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "intake.log").write_text(json.dumps({"event": "王canary小明"}) + "\n")
    # when
    report = await sweep(["王canary小明"], settings, Places({"logs": logs}))
    # then
    assert {hit.store for hit in report.found("clear")} == {"mongodb"}
    assert {hit.place for hit in report.found("raw")} == {"intake.log"}


def test_canaries_are_found_in_any_case_across_chunks_and_in_other_encodings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.local.sweep.canaries.CHUNK_BYTES", 7)
    canaries = Canaries(["Zhang@Example.com", "小明小明"])
    for content in (b"....ZHANG@example.COM", "Zhang@Example.com".encode("utf-16-le"), b"x" * 5 + b"zhang@example.com"):
        (tmp_path / "file").write_bytes(content)
        assert canaries.in_file(tmp_path / "file") == ({0}, len(content))
    assert canaries.in_bytes(json.dumps("小明小明").encode()) == {1}
    with pytest.raises(ValueError, match="characters"):
        Canaries(["ab"])

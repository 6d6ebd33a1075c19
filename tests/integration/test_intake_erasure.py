"""Intake's part in an erasure, and its failpoints, on real servers."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from services.intake.migrations import BODIES, LEDGER
from shared.contracts.event import Event, Outgoing
from shared.contracts.privacy import ErasureReceipt, ErasureRequested, KeysDestroyed
from shared.contracts.topics import RECEIPTS, REQUESTS, SUBMISSIONS
from shared.hosting import Settings
from shared.sealing import body_aad
from shared.storage import TransientError
from tests.intake_service import DEADLINE_SECONDS, QUIET, RunningIntake, eventually, running_intake

pytestmark = [pytest.mark.servers, QUIET]


@pytest.fixture
async def intake(settings: Settings) -> AsyncIterator[RunningIntake]:
    async with running_intake(settings) as running:
        yield running


def person(number: int) -> dict[str, Any]:
    return {"kind": "profile", "message_id": f"m-{number}", "fields": {"name": f"Person {number}"}}


async def test_for_an_erasure_it_drains_and_reports_the_end_of_the_topic(intake: RunningIntake) -> None:
    await intake.submit_batch([person(number) for number in range(30)])
    request = ErasureRequested(request_id=uuid4(), customer_id=uuid4())

    await _ask_until_answered(intake, request)

    receipt = (await intake.records(RECEIPTS, 1))[0][1]
    assert isinstance(receipt, ErasureReceipt)
    assert (receipt.request_id, receipt.holder, receipt.stage) == (request.request_id, "intake", "drained")
    assert receipt.instance in receipt.live_instances
    assert sum(receipt.offsets.values()) == 30


async def test_when_keys_are_destroyed_the_sealed_bodies_go_and_the_ids_stay_taken(intake: RunningIntake) -> None:
    told = (await intake.submit_batch([person(1), person(2)])).json()["items"]
    gone, kept = (UUID(each["submission_id"]) for each in told)
    bodies_of = intake.service.context.store.collection(BODIES).count
    await eventually(lambda: bodies_of({}))

    await _publish(intake, KeysDestroyed(request_id=uuid4(), key_ids=(gone, uuid4()), part=1, parts=1), gone.bytes)

    store = intake.service.context.store

    async def forgotten() -> bool:
        return (await store.collection(LEDGER).find_one({"_id": gone.bytes}) or {}).get("state") == "erased"

    await eventually(forgotten)
    [bodies] = await store.collection(BODIES).find({})
    assert list(bodies["sealed"]) == [kept.hex]
    assert (await intake.submit(person(1))).json()["status"] == "duplicate"
    steps = (await intake.get(f"/v1/trace/{gone}")).json()["steps"]
    assert steps[-1]["step"] == "erased"


async def test_an_erased_id_whose_row_is_lost_is_a_duplicate_and_the_others_of_its_batch_go_on(intake: RunningIntake) -> None:
    gone, restored = (UUID(each["submission_id"]) for each in (await intake.submit_batch([person(1), person(2)])).json()["items"])
    keyring, ledger = intake.service.context.keyring, intake.service.context.store.collection(LEDGER)
    await keyring.destroy([gone])
    # as after a restore of the ledger from a copy older than the key ring's
    await ledger.delete_many({"_id": {"$in": [gone.bytes, restored.bytes]}})

    alone = await intake.submit(person(1))
    told = (await intake.submit_batch([person(1), person(2), person(3)])).json()["items"]

    assert (alone.status_code, alone.json()) == (202, {"status": "duplicate", "submission_id": str(gone)})
    assert [each["status"] for each in told] == ["duplicate", "accepted", "accepted"]
    assert UUID(told[1]["submission_id"]) == restored
    events = {event.submission.submission_id: event.submission for _, event in await intake.records(SUBMISSIONS, 4)}  # type: ignore[attr-defined]
    assert len(events) == 3
    key = (await keyring.open([restored]))[restored]
    assert key is not None
    assert key.unseal(events[restored].sealed, body_aad(restored, 1))
    assert (await keyring.open([gone]))[gone] is None


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("intake.before_write", marks=pytest.mark.long),
        pytest.param("intake.after_keys_before_ledger", marks=pytest.mark.long),
        "intake.before_commit",
        "intake.after_commit_before_answer",
    ],
)
async def test_killed_anywhere_around_the_write_a_retry_has_exactly_one_effect(settings: Settings, point: str) -> None:
    async with running_intake(settings) as intake:
        key = intake.write_key
    port = await _free_port()
    dying = await _process(settings, port, KEHU_FAILPOINT=point)
    batch = {"submissions": [person(number) for number in range(20)]}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
        await _send_until_dead(client, batch)
        assert await asyncio.wait_for(dying.wait(), DEADLINE_SECONDS) == 137

    async with running_intake(settings, topics=False) as again:
        again.write_key = key
        # The dead process's open transaction keeps the ids locked until the server ends it; until then the door says "come again".
        told = await _retried(again, batch)
        assert {each["status"] for each in told} <= {"accepted", "duplicate"}
        ids = {UUID(each["submission_id"]) for each in told}
        records = await again.records(SUBMISSIONS, 20)
        assert {event.submission.submission_id for _, event in records} == ids  # type: ignore[attr-defined]
        opened = await again.service.context.keyring.open(ids)
        assert all(opened.values())


async def _publish(intake: RunningIntake, event: Event, key: bytes) -> None:
    """As privacy does."""

    async def ready() -> bool:
        return all(worker.ready() for worker in intake.service.workers)

    await eventually(ready)
    await intake.service.context.broker.publish([Outgoing(REQUESTS.name, key, uuid4(), event, datetime.now(UTC))])


async def _ask_until_answered(intake: RunningIntake, request: ErasureRequested) -> None:
    """Privacy asks again until somebody answers: a process hears only what is published while it lives."""
    broker = intake.service.context.broker
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not sum((await broker.end_offsets(RECEIPTS)).values()):
            with suppress(TransientError):
                await _publish(intake, request, request.request_id.bytes)
            await asyncio.sleep(0.5)


async def _retried(intake: RunningIntake, batch: dict[str, Any]) -> list[dict[str, Any]]:
    async with asyncio.timeout(2 * DEADLINE_SECONDS):
        while (answer := await intake.client.post("/v1/submissions:batch", json=batch, headers=intake.auth)).status_code == 503:  # noqa: ASYNC110
            await asyncio.sleep(float(answer.headers["Retry-After"]))
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def _free_port() -> int:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


async def _process(settings: Settings, port: int, **environment: str) -> asyncio.subprocess.Process:
    given = {
        "KEHU_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "KEHU_MONGODB_URI": settings.mongodb_uri,
        "KEHU_NAMESPACE": settings.namespace,
        "KEHU_KEY_FOLDER": str(settings.keys),
        "KEHU_DATA_FOLDER": str(settings.data_folder),
        "KEHU_PORT": str(port),
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.intake", env=os.environ | given | environment, stdout=asyncio.subprocess.DEVNULL
    )


async def _send_until_dead(client: httpx.AsyncClient, batch: dict[str, Any]) -> None:
    """Until the process has died of its first write; before it is up, and until it takes submissions on, it is asked again."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                answer = await client.post("/v1/submissions:batch", json=batch)
            except httpx.ConnectError:
                await asyncio.sleep(0.1)
            except httpx.HTTPError:
                return
            else:
                assert answer.status_code == 503, answer.text
                await asyncio.sleep(0.05)

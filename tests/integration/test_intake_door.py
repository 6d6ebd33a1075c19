"""The door on real MongoDB and Kafka: what is accepted is durable, sealed, published once, and a repeat changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import msgspec
import pytest

from shared.contracts.intake import SubmissionAccepted
from shared.contracts.submission import SubmissionBody
from shared.contracts.topics import QUARANTINE, SUBMISSIONS
from shared.hosting import Settings
from shared.sealing import body_aad
from tests.intake_service import DEADLINE_SECONDS, QUIET, RunningIntake, eventually, running_intake

pytestmark = [pytest.mark.servers, QUIET]


def person(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "profile",
        "message_id": f"m-{number}",
        "identifiers": [{"type": "external_id", "namespace": "shop", "value": f"C{number}"}],
        "fields": {"name": "王芳", "phone": "１３８ ００１３ ８０００", "email": "Wang.Fang@Example.cn"},
        "consents": [{"purpose": "marketing", "state": "granted"}],
    } | changes


@pytest.fixture
async def intake(settings: Settings) -> AsyncIterator[RunningIntake]:
    async with running_intake(settings) as running:
        yield running


async def test_an_accepted_submission_is_published_sealed_and_can_be_opened_by_its_key_only(intake: RunningIntake) -> None:
    answer = await intake.submit(person())

    assert answer.status_code == 202, answer.text
    submission_id = UUID(answer.json()["submission_id"])
    assert submission_id.version == 8
    [(headers, event)] = await intake.records(SUBMISSIONS, 1)
    assert isinstance(event, SubmissionAccepted)
    assert headers["keyid"].decode() == str(submission_id)
    assert event.submission.has_consent
    assert event.submission.has_fields
    key = (await intake.service.context.keyring.open([submission_id]))[submission_id]
    assert key is not None
    body = msgspec.json.decode(key.unseal(event.submission.sealed, body_aad(submission_id, 1)), type=SubmissionBody)
    assert body.fields == {"name": "王芳", "phone": "+8613800138000", "email": "Wang.Fang@example.cn"}
    assert body.raw_fields["phone"] == "１３８ ００１３ ８０００"
    assert {(each.type, each.value) for each in body.identifiers} == {
        ("external_id", "C1"),
        ("phone", "+8613800138000"),
        ("email", "wang.fang@example.cn"),
    }


async def test_its_life_can_be_followed_without_anything_personal(intake: RunningIntake) -> None:
    submission_id = (await intake.submit(person())).json()["submission_id"]

    async def published() -> bool:
        return (await intake.get(f"/v1/submissions/{submission_id}")).json()["published_at"] is not None

    await eventually(published)
    life = (await intake.get(f"/v1/submissions/{submission_id}")).json()

    assert life["state"] == "accepted"
    assert life["channel_id"] == "shop"
    trace = (await intake.get(f"/v1/trace/{submission_id}")).json()
    assert [step["step"] for step in trace["steps"]] == ["accepted", "published"]


async def test_a_repeat_is_a_duplicate_and_another_content_under_the_same_id_a_conflict(intake: RunningIntake) -> None:
    first = await intake.submit(person())

    again = await intake.submit(person())
    other = await intake.submit(person(fields={"name": "李娜"}))

    assert again.json() == {"status": "duplicate", "submission_id": first.json()["submission_id"]}
    assert other.status_code == 409
    assert other.json()["code"] == "payload_differs"
    assert len(await _settled(intake)) == 1


async def test_an_idempotency_key_stands_for_a_message_id(intake: RunningIntake) -> None:
    body = person()
    del body["message_id"]

    answers = [(await intake.submit(body, **{"Idempotency-Key": "k1"})).json() for _ in range(2)]

    assert [each["status"] for each in answers] == ["accepted", "duplicate"]
    assert answers[0]["submission_id"] == answers[1]["submission_id"]


async def test_many_at_once_with_one_id_have_one_effect(intake: RunningIntake) -> None:
    answers = await asyncio.gather(*(intake.submit(person()) for _ in range(20)))

    statuses = [answer.json()["status"] for answer in answers]
    assert sorted(statuses) == ["accepted"] + ["duplicate"] * 19
    assert len(await _settled(intake)) == 1


async def test_two_processes_racing_for_one_id_have_one_effect(intake: RunningIntake, settings: Settings) -> None:
    async with running_intake(settings.model_copy(update={"instance": "second"}), topics=False) as second:
        second.write_key = intake.write_key
        answers = await asyncio.gather(*(each.submit(person(number)) for number in range(10) for each in (intake, second)))

    statuses = [answer.json()["status"] for answer in answers]
    assert (statuses.count("accepted"), statuses.count("duplicate")) == (10, 10)
    assert len(await _settled(intake)) == 10


async def test_a_batch_tells_what_became_of_each(intake: RunningIntake) -> None:
    items = [person(1), person(1), person(2, fields={"phone": "12345"}), person(3, fields={"hobbies": "canary-chess"}), {"kind": "party"}, person(4)]

    answer = await intake.submit_batch(items)

    assert answer.status_code == 202
    told = answer.json()["items"]
    assert [each["status"] for each in told] == ["accepted", "duplicate", "refused", "refused", "refused", "accepted"]
    assert told[2]["code"] == "phone_invalid"
    assert told[2]["field"] == "fields.phone"
    assert set(told[2]["message"]) == {"en", "zh"}
    assert told[3]["code"] == "forbidden_field"
    assert "canary-chess" not in answer.text
    assert len(await _settled(intake)) == 2


@pytest.mark.parametrize(
    "header", [{}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Bearer kehu_wk_" + "a" * 43}, {"Authorization": "Basic x"}]
)
async def test_without_a_living_key_nobody_comes_in(intake: RunningIntake, header: dict[str, str]) -> None:
    answer = await intake.client.post("/v1/submissions", json=person(), headers=header)

    assert answer.status_code == 401


async def test_a_revoked_key_is_refused_at_once(intake: RunningIntake) -> None:
    assert (await intake.submit(person())).status_code == 202

    gone = await intake.client.delete(f"/v1/channels/shop/keys/{intake.key_id}", headers=intake.admin)

    assert gone.status_code == 204
    assert (await intake.submit(person(2))).status_code == 401


async def test_a_quarantined_submission_shows_reasons_only_and_keeps_its_id_when_it_is_corrected(intake: RunningIntake) -> None:
    bad = person(7, fields={"phone": "12345", "hobbies": "canary-chess", "shoe_size": 44})
    told = (await intake.submit_batch([bad, person(8)], "?on_error=quarantine")).json()["items"]
    assert [each["status"] for each in told] == ["quarantined", "accepted"]

    listed = (await intake.get("/v1/quarantine")).json()
    assert [(each["submission_id"], each["reasons"], each["fields"]) for each in listed] == [
        (told[0]["submission_id"], ["phone_invalid"], ["fields.phone"])
    ]
    corrected = await intake.client.put(f"/v1/quarantine/{told[0]['submission_id']}", json=person(7), headers=intake.admin)

    assert corrected.json() == {"status": "accepted", "submission_id": told[0]["submission_id"]}
    assert (await intake.get("/v1/quarantine")).json() == []
    assert len(await intake.records(QUARANTINE, 1)) == 1
    accepted = {str(event.submission.submission_id) for _, event in await intake.records(SUBMISSIONS, 2) if isinstance(event, SubmissionAccepted)}
    assert accepted == {each["submission_id"] for each in told}
    key_id = UUID(told[0]["submission_id"])
    assert (await intake.service.context.keyring.open([key_id]))[key_id] is not None


async def test_it_accepts_while_kafka_is_away_and_publishes_nothing_twice_later(settings: Settings) -> None:
    deaf = settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"})
    async with running_intake(deaf, topics=False) as intake:
        assert (await intake.get("/readyz")).json() == {"status": "ready", "reasons": []}
        answer = await intake.submit_batch([person(number) for number in range(50)])
        assert {each["status"] for each in answer.json()["items"]} == {"accepted"}
        life = (await intake.get(f"/v1/submissions/{answer.json()['items'][0]['submission_id']}")).json()
        assert (life["published"], life["published_at"]) == (False, None)
        key = intake.write_key

    async with running_intake(settings, topics=True) as again:
        again.write_key = key
        records = await again.records(SUBMISSIONS, 50)

    assert len({event.submission.submission_id for _, event in records if isinstance(event, SubmissionAccepted)}) == 50


async def _settled(intake: RunningIntake) -> list[Any]:
    """All published submissions once nothing is left to publish."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        await intake.service.context.relay.drain()
    ends = await intake.service.context.broker.end_offsets(SUBMISSIONS)
    return await intake.records(SUBMISSIONS, sum(ends.values()))

"""Dedup on real Kafka and MongoDB: workers at once, repeats, merges of merges, erasure, copies."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec
import pytest

from services.dedup.use_cases.read_signatures import ReadSignatures, rules_of
from shared.contracts.dedup import CustomersMerged, SubmissionResolved, SubmissionsErased, SubmissionsMoved
from shared.contracts.event import Outgoing
from shared.contracts.intake import SubmissionAccepted
from shared.contracts.privacy import REQUESTS_TOPIC, AccessPart, AccessRequested, ErasureBarrierSet, ErasureReceipt
from shared.contracts.submission import Contact
from shared.contracts.topics import IDENTITIES, RECEIPTS, SUBMISSIONS
from shared.hosting import Settings
from shared.messaging import DeadLetters
from shared.policy import load_catalogue
from shared.sealing import BlindIndex, body_aad
from tests.dedup_world import envelope, grouped, oracle, submission_id
from tests.integration.dedup_rig import Identity, Rig, body_of, rig, until

pytestmark = pytest.mark.servers


@pytest.fixture
async def one(settings: Settings) -> AsyncIterator[Rig]:
    async with rig(settings) as made:
        yield made


def households(count: int) -> dict[int, Identity]:
    """Records of a third as many people, in households that share a phone; several keys join what came apart."""
    identities: dict[int, Identity] = {}
    for number in range(count):
        person = number * 7 % (count // 3)
        identities[number] = {
            0: {"phone": f"+86138001{person // 2:05d}", "name": f"person {person}"},
            1: {"email": f"person{person}@shop.example", "external_id/shop": f"id{person}"},
            2: {"external_id/shop": f"id{person}", "phone": f"+86138001{person // 2:05d}", "name": f"person {person}"},
            3: {"email": f"person{person}@shop.example", "member_number": f"M{person // 2}" if person % 2 else f"N{person}"},
        }[number % 4]
    return identities


def expected(one: Rig, identities: dict[int, Identity]) -> set[frozenset[UUID]]:
    catalogue = load_catalogue()
    reader = ReadSignatures(one.keyring, BlindIndex(one.keyring.provider), catalogue)
    records = [(number, reader.signature(_bare(number), body_of(identity))) for number, identity in identities.items()]
    return oracle(records, rules_of(catalogue))


def _bare(number: int):  # type: ignore[no-untyped-def]
    return envelope(number)


async def test_two_workers_at_once_end_in_the_partition_of_the_oracle_and_tell_consumers_the_same(one: Rig) -> None:
    identities = households(240)
    async with one.service(), one.service():
        outgoing = await one.send(identities)
        await one.publish(outgoing[::3])  # repeats at new offsets
        await until(one.settled)
    customers = await one.customers()
    assert grouped(customers, customers.__getitem__) == expected(one, identities)
    belief: dict[UUID, tuple[int, UUID]] = {}
    for event in await one.events(IDENTITIES):
        if isinstance(event, SubmissionResolved):
            claims = [(event.submission.submission_id, event.assignment, event.customer_id)]
        elif isinstance(event, SubmissionsMoved):
            owner = event.customer_id if event.direction == "gained" else event.counterpart_id
            claims = [(each, event.assignment, owner) for each in event.submission_ids]
        else:
            claims = []
        for submission, assignment, customer in claims:
            belief[submission] = max(belief.get(submission, (-1, customer)), (assignment, customer))
    assert {each: customer for each, (_, customer) in belief.items()} == customers


async def test_a_merge_of_merged_customers_resolves_every_old_id_to_the_last_survivor(one: Rig) -> None:
    async with one.service():
        for number, identity in enumerate(
            [{"phone": "+8613800000001"}, {"email": "a@shop.example"}, {"member_number": "1"}, {"external_id/shop": "1"}]
        ):
            await one.send({number: identity})
        await until(one.settled)
        await one.send({4: {"phone": "+8613800000001", "email": "a@shop.example"}, 5: {"member_number": "1", "external_id/shop": "1"}})
        await until(one.settled)
        await one.send({6: {"email": "a@shop.example", "external_id/shop": "1"}})
        await until(one.settled)
    assert len(set((await one.customers()).values())) == 1
    entities = await one.store.collection("entities").find({})
    assert sorted(each["state"] for each in entities) == ["active", "alias", "alias", "alias"]
    assert sum(each["submissions"] for each in entities) == 7
    merged = [each for each in await one.events(IDENTITIES) if isinstance(each, CustomersMerged)]
    assert len(merged) == 3


async def set_barrier(one: Rig, customer: UUID) -> UUID:
    request = uuid4()
    ends = await one.broker.end_offsets(SUBMISSIONS)
    event = ErasureBarrierSet(request_id=request, customer_id=customer, offsets={str(each): end for each, end in ends.items()})
    await one.publish([Outgoing(REQUESTS_TOPIC, request.bytes, uuid4(), event, datetime.now(UTC))])
    return request


async def test_an_erased_customer_is_gone_with_its_aliases_and_comes_back_as_somebody_else(one: Rig) -> None:
    async with one.service():
        await one.send({0: {"phone": "+8613800000001"}})
        await one.send({1: {"email": "a@shop.example"}, 2: {"phone": "+8613800000009"}})
        await until(one.settled)
        alias = {each.bytes for each in (await one.customers()).values()}
        sent = await one.send({3: {"phone": "+8613800000001", "email": "a@shop.example"}})
        await until(one.settled)
        holder = (await one.customers())[submission_id(3)]
        [absorbed] = [each for each in alias if await _state(one, each) == "alias"]

        request = await set_barrier(one, UUID(bytes=absorbed))
        await until(lambda: _done(one, request))
        await one.publish(sent)  # a repeat of what is erased
        await one.send({4: {"phone": "+8613800000001"}})
        await until(one.settled)

    customers = await one.customers()
    assert set(customers) == {submission_id(2), submission_id(4)}
    assert customers[submission_id(4)] not in {holder, UUID(bytes=absorbed)}
    gone = await one.store.collection("source_records").find({"state": "erased"})
    assert [set(each) for each in gone] == [{"_id", "state", "erased"}] * 3
    [erased] = [each for each in await one.events(IDENTITIES) if isinstance(each, SubmissionsErased)]
    [receipt] = [each for each in await one.events(RECEIPTS) if isinstance(each, ErasureReceipt)]
    assert erased.customer_id == holder
    assert erased.alias_ids == (UUID(bytes=absorbed),)
    assert set(erased.submission_ids) == set(receipt.key_ids) == {submission_id(0), submission_id(1), submission_id(3)}
    assert (receipt.holder, receipt.stage, receipt.part, receipt.parts) == ("dedup", "erased", 1, 1)


async def test_a_dead_letter_of_an_erased_person_goes_with_its_key_and_one_of_somebody_else_stays(one: Rig) -> None:
    """Four records nobody could resolve: two of the person, one of a stranger, and one that no key opens."""
    async with one.service():
        await one.send({0: {"phone": "+8613800000001", "name": "Anna"}, 1: {"phone": "+8613800000009", "name": "Berta"}})
        bad = [
            await sealed_badly(one, 2, {"identifiers": [{"type": "phone", "value": "+8613800000001"}], "fields": {"name": "Anna"}}),
            await sealed_badly(one, 3, {"identifiers": [{"type": "phone", "value": "+8613800000001"}]}),
            await sealed_badly(one, 4, {"identifiers": [{"type": "phone", "value": "+8613800000009"}], "fields": {"name": "Berta"}}),
            await sealed_badly(one, 5, {}, aad=b"of another"),
        ]
        await one.publish(bad)
        await until(one.settled)
        letters = DeadLetters(one.store)
        assert await letters.count() == {"dead": 4}

        request = await set_barrier(one, (await one.customers())[submission_id(0)])
        await until(lambda: _done(one, request))
        await one.publish(bad[:2])  # repeats of what is erased
        await until(one.settled)

        left = [dict(each.headers)["keyid"].decode() for each in await letters.list()]
        assert sorted(left) == sorted(str(submission_id(each)) for each in (4, 5))
    [receipt] = [each for each in await one.events(RECEIPTS) if isinstance(each, ErasureReceipt)]
    assert receipt.counts == {"source_records": 3, "identifiers": 1, "entities": 1, "dead_letters": 2, "dead_letters_unreadable": 1}
    assert set(receipt.key_ids) == {submission_id(0), submission_id(2), submission_id(3)}
    [erased] = [each for each in await one.events(IDENTITIES) if isinstance(each, SubmissionsErased)]
    assert set(erased.submission_ids) == set(receipt.key_ids)
    assert set(await one.customers()) == {submission_id(1)}


async def sealed_badly(one: Rig, number: int, body: dict[str, object], aad: bytes = b"") -> Outgoing:
    """An accepted submission whose body lacks what its schema wants, or is sealed for another place."""
    each = submission_id(number)
    key = (await one.keyring.store.transaction(lambda transaction: one.keyring.create([each], transaction)))[each]
    event = SubmissionAccepted(submission=envelope(number, key.seal(json.dumps(body).encode(), aad or body_aad(each, 1))))
    return Outgoing(SUBMISSIONS.name, each.bytes[:2], each, event, datetime.now(UTC), key_id=each)


async def test_an_access_request_is_answered_with_the_opened_source_records(one: Rig) -> None:
    async with one.service():
        await one.send({0: {"phone": "+8613800000001", "name": "Anna"}, 1: {"phone": "+8613800000001"}, 2: {"phone": "+8613800000009"}})
        await until(one.settled)
        request, customer = uuid4(), (await one.customers())[submission_id(0)]
        await one.keyring.store.transaction(lambda transaction: one.keyring.create([request], transaction))
        event = AccessRequested(request_id=request, customer_id=customer)
        await one.publish([Outgoing(REQUESTS_TOPIC, request.bytes, uuid4(), event, datetime.now(UTC))])
        await until(lambda: _answered(one))
    [part] = [each for each in await one.events(RECEIPTS) if isinstance(each, AccessPart)]
    key = (await one.keyring.open([request]))[request]
    assert key is not None
    records = json.loads(key.unseal(part.sealed, body_aad(request, 1)))["source_records"]
    assert {each["submission_id"] for each in records} == {str(submission_id(0)), str(submission_id(1))}
    assert {each["body"].get("fields", {}).get("name") for each in records} == {"Anna", None}


async def test_a_copy_of_somebody_with_long_conversations_comes_in_parts_that_a_broker_takes(one: Rig) -> None:
    """Sixty of the longest texts that the door lets in: 3.6 MB, where a part holds half a megabyte."""
    identity: Identity = {"phone": "+8613800000001"}
    async with one.service():
        await one.publish([await sealed_long(one, number, identity) for number in range(60)])
        await until(one.settled)
        request, customer = uuid4(), (await one.customers())[submission_id(0)]
        await one.keyring.store.transaction(lambda transaction: one.keyring.create([request], transaction))
        event = AccessRequested(request_id=request, customer_id=customer)
        await one.publish([Outgoing(REQUESTS_TOPIC, request.bytes, uuid4(), event, datetime.now(UTC))])
        await until(lambda: _answered(one))
    parts = sorted((each for each in await one.events(RECEIPTS) if isinstance(each, AccessPart)), key=lambda each: each.part)
    key = (await one.keyring.open([request]))[request]
    assert key is not None
    opened = [json.loads(key.unseal(each.sealed, body_aad(request, 1)))["source_records"] for each in parts]
    assert [each.part for each in parts] == list(range(1, parts[0].parts + 1))
    assert max(len(each.sealed) for each in parts) < 1024 * 1024
    assert {each["submission_id"] for part in opened for each in part} == {str(submission_id(number)) for number in range(60)}


async def sealed_long(one: Rig, number: int, identity: Identity) -> Outgoing:
    """An accepted contact with a text of 20,000 Chinese characters."""
    each = submission_id(number)
    key = (await one.keyring.store.transaction(lambda transaction: one.keyring.create([each], transaction)))[each]
    body = msgspec.structs.replace(body_of(identity), contact=Contact(medium="call", text="茶" * 20_000))
    event = SubmissionAccepted(submission=envelope(number, key.seal(msgspec.json.encode(body), body_aad(each, 1))))
    return Outgoing(SUBMISSIONS.name, each.bytes[:2], each, event, datetime.now(UTC), key_id=each)


async def _state(one: Rig, customer: bytes) -> str:
    row = await one.store.collection("entities").find_one({"_id": customer})
    return str(row and row["state"])


async def _done(one: Rig, request: UUID) -> bool:
    return await one.store.collection("erasures").count({"_id": request.bytes, "state": "done"}) == 1


async def _answered(one: Rig) -> bool:
    return any(isinstance(each, AccessPart) for each in await one.events(RECEIPTS))

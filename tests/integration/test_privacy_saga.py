"""The saga, the ledger and the certificates on real MongoDB, with the holders' answers played by the test."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any, get_args
from uuid import UUID, uuid4

import msgspec
import pytest

from services.privacy import proof, rotation
from services.privacy.domain.erasure import CACHES_EMPTY_AFTER
from services.privacy.migrations import MIGRATIONS
from services.privacy.mongo import MongoLedger, MongoRequestBook
from services.privacy.use_cases import consents, saga
from services.privacy.use_cases.consents import RecordConsents
from services.privacy.use_cases.requests import AnswerAccess, ConflictingRequest, ExportCutOff, OpenRequest, ReadConsents, ReadExport
from services.privacy.use_cases.saga import Saga
from shared.contracts import ids
from shared.contracts.dedup import SubmissionResolved, SubmissionsErased, SubmissionsMoved
from shared.contracts.event import Event, Outgoing
from shared.contracts.privacy import (
    AccessPart,
    AccessRequested,
    ConsentsChanged,
    EntityKeysClosed,
    ErasureBarrierSet,
    ErasureReceipt,
    ErasureRequested,
    Holder,
    KeysDestroyed,
    KeysEvicted,
)
from shared.contracts.submission import Consent, Submission, SubmissionBody
from shared.contracts.topics import CONSENTS, IDENTITIES, RECEIPTS, REQUESTS
from shared.messaging import Batch, DeadLetters, Effects, Record, partition_of
from shared.sealing import KeyRing, MemoryKeyProvider, body_aad
from shared.storage import Store, migrate

pytestmark = pytest.mark.servers
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Installation:
    """Privacy without Kafka: batches in, published events out, a clock that the test moves."""

    store: Store
    keys: KeyRing
    provider: MemoryKeyProvider
    now: datetime = START
    published: list[Outgoing] = field(default_factory=list)
    offsets: Any = field(default_factory=count)

    def __post_init__(self) -> None:
        self.ledger, self.book = MongoLedger(self.store), MongoRequestBook(self.store)
        self.record_consents = RecordConsents(self.ledger, DeadLetters(self.store), self.keys, self.clock)
        self.saga = Saga(self.book, self.ledger, self.keys, self.provider, self.clock)
        self.read_consents = ReadConsents(self.ledger, {"marketing": "2"})
        self.open_request = OpenRequest(self.book, self.keys, self.enqueue, self.store.transaction, self.clock)

    def clock(self) -> datetime:
        return self.now

    async def enqueue(self, _transaction: Any, outgoing: Any) -> None:
        self.published.extend(outgoing)

    async def run(self, handler: Any, topic: str, *events: tuple[bytes, Event], partition: int = 0) -> Effects:
        records = [Record(event, key, next(self.offsets), uuid4(), None, None, 0) for key, event in events]

        async def work(transaction: Any) -> Effects:
            effects: Effects = await handler(Batch(topic, frozenset({partition}), records), transaction)
            return effects

        effects = await self.store.transaction(work)
        self.published.extend(effects.outgoing)
        return effects

    async def identities(self, *events: tuple[UUID, Event]) -> None:
        """One batch per event, each by the owner of its partition; then every owner's pass over its marks."""
        for customer, event in events:
            await self.run(
                self.record_consents, IDENTITIES.name, (customer.bytes, event), partition=partition_of(customer.bytes, IDENTITIES.partitions)
            )
        for partition in range(IDENTITIES.partitions):
            await self.tick(self.record_consents.fold_marked, partition)

    async def receipts(self, *events: Event) -> None:
        await self.run(self.saga, RECEIPTS.name, *((b"", event) for event in events))

    async def tick(self, idle: Any, partition: int = 0) -> bool:
        async def work(transaction: Any) -> Effects | None:
            effects: Effects | None = await idle(partition, transaction)
            return effects

        effects = await self.store.transaction(work)
        self.published.extend(effects.outgoing if effects else ())
        return effects is not None

    async def submission(self, customer: UUID, *choices: Consent, day: int = 1, assignment: int = 1) -> tuple[UUID, SubmissionResolved]:
        submission_id = uuid4()

        async def create(transaction: Any) -> Any:
            return await self.keys.create([submission_id], transaction)

        key = (await self.store.transaction(create))[submission_id]
        body = SubmissionBody(occurred_at=datetime(2026, 1, day, tzinfo=UTC), consents=choices)
        sealed = key.seal(msgspec.json.encode(body), body_aad(submission_id, 1))
        submission = Submission(
            submission_id=submission_id, kind="profile", channel_id="web", channel_kind="form", channel_trust=50,
            received_on=date(2026, 1, day), occurred_on=date(2026, 1, day), has_consent=bool(choices), sealed=sealed,
        )  # fmt: skip
        return submission_id, SubmissionResolved(customer_id=customer, assignment=assignment, submission=submission)

    def events(self, event_type: type[Event]) -> list[Any]:
        return [each.event for each in self.published if isinstance(each.event, event_type)]

    async def own_receipts(self) -> None:
        """Hands privacy's own receipts back to it, as Kafka would."""
        await self.receipts(*(each.event for each in self.published if each.topic == RECEIPTS.name and each.event is not None))


@pytest.fixture
async def installation(mongodb_uri: str, namespace: str) -> AsyncIterator[Installation]:
    store = await Store.connect(mongodb_uri, database="privacy", namespace=namespace)
    provider = MemoryKeyProvider()
    keys = KeyRing(store.other("keyring"), provider)
    await migrate(store, MIGRATIONS)
    await keys.start()
    yield Installation(store, keys, provider)
    store.close()


def granted(purpose: str = "marketing", notice: str = "2") -> Consent:
    return Consent(purpose=purpose, state="granted", notice_version=notice)


def withdrawn(purpose: str = "marketing", notice: str = "2") -> Consent:
    return Consent(purpose=purpose, state="withdrawn", notice_version=notice)


async def test_a_repeat_publishes_consents_once_and_a_withdrawal_again(installation: Installation) -> None:
    # given
    customer = uuid4()
    _, first = await installation.submission(customer, granted())
    _, second = await installation.submission(customer, withdrawn(), day=2)
    # when
    await installation.identities((customer, first), (customer, first), (customer, second), (customer, first))
    # then
    states = [event.purposes["marketing"].state for event in installation.events(ConsentsChanged)]
    assert states == ["granted", "withdrawn"]
    assert [event.version for event in installation.events(ConsentsChanged)] == [1, 2]
    shown = await installation.read_consents(customer)
    assert shown["purposes"]["marketing"]["state"] == "withdrawn"
    assert len(shown["history"]) == 2


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (2, 0, 1), (0, 2, 1), (1, 2, 0)])
async def test_consents_follow_a_merge_in_any_order_of_its_parts(installation: Installation, order: tuple[int, ...]) -> None:
    # given
    survivor, absorbed = uuid4(), uuid4()
    submission_id, resolved = await installation.submission(absorbed, granted())
    move = {"merge_id": uuid4(), "assignment": 5, "submission_ids": (submission_id,), "part": 1, "parts": 1}
    gained = SubmissionsMoved(customer_id=survivor, counterpart_id=absorbed, direction="gained", **move)
    lost = SubmissionsMoved(customer_id=absorbed, counterpart_id=survivor, direction="lost", absorbed=True, **move)
    arriving = [(absorbed, resolved), (survivor, gained), (absorbed, lost)]
    # when
    await installation.identities(*(arriving[place] for place in order))
    # then
    shown = await installation.read_consents(absorbed)
    assert shown["customer_id"] == str(survivor)
    assert shown["purposes"]["marketing"]["state"] == "granted"
    last = {event.customer_id: event.purposes for event in installation.events(ConsentsChanged)}
    assert set(last[survivor]) == {"marketing"}
    assert not last.get(absorbed)


def erased(request_id: UUID, holder: str, part: int = 1, parts: int = 1, keys: tuple[UUID, ...] = (), **counts: int) -> ErasureReceipt:
    return ErasureReceipt(request_id=request_id, holder=holder, stage="erased", part=part, parts=parts, key_ids=keys, counts=counts)  # type: ignore[arg-type]


def evicted(request_id: UUID) -> list[KeysEvicted]:
    return [KeysEvicted(request_id=request_id, holder=service, instance="1", live_instances=("1",)) for service in get_args(Holder)]


def drained(request_id: UUID, instance: str = "i1", live: tuple[str, ...] = ("i1",)) -> ErasureReceipt:
    return ErasureReceipt(request_id=request_id, holder="intake", stage="drained", instance=instance, live_instances=live, offsets={"0": 7})


async def erase(installation: Installation, *, crash_at: str | None = None, monkeypatch: pytest.MonkeyPatch | None = None) -> tuple[UUID, UUID, UUID]:
    """Erases a customer with one alias; with `crash_at`, the process dies there once and the delivery repeats."""
    customer, alias = uuid4(), uuid4()
    submission_id, resolved = await installation.submission(customer, granted())
    await installation.identities((customer, resolved))
    entity_key = uuid4()

    async def create(transaction: Any) -> Any:
        return await installation.keys.create([entity_key], transaction)

    await installation.store.transaction(create)
    armed = die_once(crash_at, monkeypatch) if crash_at is not None and monkeypatch is not None else []
    request = await again(lambda: installation.open_request("erasure", customer, "officer", "once"))
    gone = SubmissionsErased(
        request_id=request.request_id, customer_id=customer, alias_ids=(alias,), submission_ids=(submission_id,), part=1, parts=1
    )
    asked = request.request_id
    await again(lambda: installation.receipts(drained(asked)))
    await again(lambda: installation.identities((customer, gone)))
    await again(lambda: installation.own_receipts())
    answers = [
        erased(asked, "profile", 2, 2), erased(asked, "analytics"), erased(asked, "dedup", keys=(submission_id,), source_records=1),
        erased(asked, "profile", 1, 2, keys=(entity_key,), contributions=1), erased(asked, "analytics"),
    ]  # fmt: skip
    for answer in answers:
        await again(lambda answer=answer: installation.receipts(answer))
    assert await installation.book.certificate(asked) is None
    await again(lambda: installation.receipts(*evicted(asked)))
    assert not armed, "the failpoint was never reached"
    return asked, submission_id, entity_key


class Died(BaseException):
    """Stands for `kill -9`: no handler may catch it."""


def die_once(name: str, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Arms the failpoint; the list is empty once it was hit."""
    armed = [True]

    def failpoint(passed: str) -> None:
        if passed == name and armed:
            armed.clear()
            raise Died

    from services.privacy.use_cases import requests

    for module in (saga, consents, requests, rotation):
        monkeypatch.setattr(module, "failpoint", failpoint)
    return armed


async def again(work: Any) -> Any:
    """What the worker does after a restart: the same batch once more."""
    try:
        return await work()
    except Died:
        return await work()


FAILPOINTS = [
    "privacy.request_before_commit",
    "privacy.consents_before_commit",
    "privacy.marks_before_commit",
    "privacy.receipts_stored_before_steps",
    "privacy.step_before_commit",
    "privacy.before_barrier",
    "privacy.before_keys_are_final",
    "privacy.before_keys_destroyed",
    "privacy.before_certificate",
]


@pytest.mark.parametrize("crash_at", [None, *FAILPOINTS])
async def test_an_erasure_closes_once_with_every_key_gone_wherever_it_crashed(
    installation: Installation, crash_at: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # when
    asked, submission_id, entity_key = await erase(installation, crash_at=crash_at, monkeypatch=monkeypatch)
    # then: the keys are null, the certificate is signed and counted once
    assert await installation.keys.open([submission_id, entity_key]) == {submission_id: None, entity_key: None}
    certificate = await installation.book.certificate(asked)
    assert certificate is not None
    assert len(certificate["revisions"]) == 1
    document = json.loads(json.dumps(certificate["revisions"][0]))
    assert proof.verify_certificate(document, installation.provider.public_key)
    body = document["certificate"]
    assert body["holders"]["profile"] == {"contributions": 1}
    assert body["holders"]["privacy"]["consent_rows"] == 1
    assert body["keys"]["count"] == 2
    assert len(body["scope"]["customers"]) == 2
    assert body["unrecoverable_at"] is None
    assert await proof.verify_audit_chain(installation.store) is None
    # and: what was published is one barrier and every key exactly once
    assert {event.offsets["0"] for event in installation.events(ErasureBarrierSet)} == {7}
    destroyed = {(event.part, event.parts): event.key_ids for event in installation.events(KeysDestroyed)}
    assert sorted(key for keys in destroyed.values() for key in keys) == sorted([submission_id, entity_key])


async def test_after_erasure_nothing_of_the_customer_comes_back(installation: Installation) -> None:
    # given
    asked, _, _ = await erase(installation)
    request = await installation.book.request(asked)
    assert request is not None
    customer = request.customer_id
    # when: a late event of the erased customer arrives
    _, late = await installation.submission(customer, granted())
    before = len(installation.events(ConsentsChanged))
    await installation.identities((customer, late))
    # then
    assert len(installation.events(ConsentsChanged)) == before
    last = [each for each in installation.published if each.topic == CONSENTS.name and each.key == customer.bytes][-1]
    assert last.event is None


async def test_the_tombstone_is_repeated_so_that_the_broker_can_drop_the_old_value(installation: Installation) -> None:
    asked, _, _ = await erase(installation)
    request = await installation.book.request(asked)
    assert request is not None
    partition = partition_of(request.customer_id.bytes, IDENTITIES.partitions)
    assert not await installation.tick(installation.record_consents.fold_marked, partition)
    installation.now += consents.FILLER_AFTER
    assert await installation.tick(installation.record_consents.fold_marked, partition)
    assert not await installation.tick(installation.record_consents.fold_marked, partition)


async def test_rotation_of_the_touched_slots_makes_the_erasure_final(installation: Installation) -> None:
    # given
    asked, *_ = await erase(installation)
    slots = await rotation.slots_awaited(installation.store)
    assert slots
    some = {min(slots)}
    # when: rotated before the erasure closed, in part, and fully
    early = START - timedelta(hours=1)
    assert await rotation.record_rotation(installation.store, installation.provider, slots, early, early) == []
    later, ended = START + timedelta(minutes=5), START + timedelta(minutes=6)
    finished = await rotation.record_rotation(installation.store, installation.provider, some, later, ended)
    finished += await rotation.record_rotation(installation.store, installation.provider, slots, later, ended)
    finished += await rotation.record_rotation(installation.store, installation.provider, slots, later, ended)
    # then
    assert finished == [asked]
    certificate = await installation.book.certificate(asked)
    assert certificate is not None
    first, second = certificate["revisions"]
    assert proof.verify_certificate(second, installation.provider.public_key)
    assert proof.verify_certificate(first, installation.provider.public_key)
    assert second["certificate"]["unrecoverable_at"] == ended.isoformat()
    assert await proof.verify_audit_chain(installation.store) is None
    assert await rotation.slots_awaited(installation.store) == set()


async def test_an_unknown_customer_is_erased_with_an_empty_certificate(installation: Installation) -> None:
    # given
    request = await installation.open_request("erasure", uuid4(), "officer")
    asked = request.request_id
    # when: every holder answers that there was nothing
    await installation.receipts(drained(asked), *(erased(asked, holder) for holder in ("dedup", "profile", "analytics", "privacy")))
    # then
    certificate = await installation.book.certificate(asked)
    assert certificate is not None
    assert certificate["revisions"][0]["certificate"]["keys"]["count"] == 0
    assert certificate["revisions"][0]["certificate"]["pending"] == []
    assert certificate["slots_waiting"] == []


async def test_an_empty_answer_in_place_of_the_real_one_closes_nothing(installation: Installation) -> None:
    """The first receipt of each part is kept; if it names fewer keys than there are, nobody may certify that they are gone."""
    # given
    submission_id, _ = await installation.submission(uuid4())
    request = await installation.open_request("erasure", uuid4(), "officer")
    asked = request.request_id
    empty = ErasureReceipt(request_id=asked, holder="dedup", stage="erased", key_ids_in_all=1)
    # when
    await installation.receipts(drained(asked), empty, *(erased(asked, holder) for holder in ("profile", "analytics", "privacy")))
    await installation.receipts(erased(asked, "dedup", keys=(submission_id,)))
    # then
    assert await installation.book.certificate(asked) is None
    assert installation.events(KeysDestroyed) == []


async def test_a_process_that_says_nothing_of_the_keys_in_its_memory_is_waited_for_as_long_as_it_may_keep_them(installation: Installation) -> None:
    # given
    submission_id, _ = await installation.submission(uuid4())
    request = await installation.open_request("erasure", uuid4(), "officer")
    asked = request.request_id
    answers = [erased(asked, holder) for holder in ("profile", "analytics", "privacy")]
    await installation.receipts(drained(asked), erased(asked, "dedup", keys=(submission_id,)), *answers)
    assert [event.acknowledge for event in installation.events(KeysDestroyed)] == [True]
    # when: all answer, but for one of two processes of a service
    heard = [each for each in evicted(asked) if each.holder != "profile"]
    await installation.receipts(*heard, KeysEvicted(request_id=asked, holder="profile", instance="1", live_instances=("1", "2")))
    assert not await installation.tick(installation.saga.pass_over_open)
    assert await installation.book.certificate(asked) is None
    installation.now += CACHES_EMPTY_AFTER
    assert await installation.tick(installation.saga.pass_over_open)
    # then
    certificate = await installation.book.certificate(asked)
    assert certificate is not None
    waited_for = certificate["revisions"][0]["certificate"]["waited_for"]
    assert "profile 2: the end of a cache period" in waited_for
    assert "profile 1: evicted" in waited_for


async def test_a_silent_intake_process_is_asked_again_and_no_longer_awaited_when_it_is_gone(installation: Installation) -> None:
    # given
    request = await installation.open_request("erasure", uuid4(), "officer")
    await installation.receipts(drained(request.request_id, live=("i1", "i2")))
    assert installation.events(ErasureBarrierSet) == []
    # when
    installation.now += timedelta(seconds=15)
    assert await installation.tick(installation.saga.pass_over_open)
    await installation.receipts(drained(request.request_id))
    # then
    assert len(installation.events(ErasureRequested)) == 2
    assert len({each.event_id for each in installation.published if isinstance(each.event, ErasureRequested)}) == 2
    assert len(installation.events(ErasureBarrierSet)) == 1


async def test_keys_of_a_closed_epoch_are_destroyed_after_one_cache_period(installation: Installation) -> None:
    # given
    customer, key = uuid4(), uuid4()

    async def create(transaction: Any) -> Any:
        return await installation.keys.create([key], transaction)

    await installation.store.transaction(create)
    await installation.receipts(EntityKeysClosed(customer_id=customer, key_ids=(key,)))
    assert not await installation.tick(installation.saga.pass_over_open)
    # when
    installation.now += timedelta(seconds=60)
    assert await installation.tick(installation.saga.pass_over_open)
    assert not await installation.tick(installation.saga.pass_over_open)
    # then
    assert await installation.keys.open([key]) == {key: None}
    assert [event.key_ids for event in installation.events(KeysDestroyed)] == [(key,)]


async def collect_export(installation: Installation, customer: UUID) -> Any:
    request = await installation.open_request("access", customer, "officer")
    asked = request.request_id
    key = (await installation.keys.open([asked]))[asked]
    assert key is not None
    answer = AnswerAccess(installation.read_consents, installation.keys, installation.clock)
    event = AccessRequested(request_id=asked, customer_id=customer)
    await installation.run(answer, REQUESTS.name, (asked.bytes, event))
    for holder, part, parts in [("profile", 2, 2), ("dedup", 1, 1), ("analytics", 1, 1), ("profile", 1, 2), ("profile", 1, 2)]:
        sealed = key.seal(json.dumps({"canary": f"{holder}-{part}"}).encode(), body_aad(asked, 1))
        await installation.receipts(AccessPart(request_id=asked, holder=holder, part=part, parts=parts, sealed=sealed))  # type: ignore[arg-type]
    await installation.own_receipts()
    return await installation.book.request(asked)


async def test_an_export_holds_every_part_and_our_own_consents_and_lapses(installation: Installation) -> None:
    # given
    customer = uuid4()
    _, resolved = await installation.submission(customer, granted())
    await installation.identities((customer, resolved))
    # when
    request = await collect_export(installation, customer)
    # then
    read = ReadExport(installation.book, installation.keys)
    pieces = await read(request)
    assert pieces is not None
    export = json.loads(b"".join([piece async for piece in pieces]))
    assert [part["canary"] for part in export["holders"]["profile"]] == ["profile-1", "profile-2"]
    assert export["holders"]["privacy"][0]["purposes"]["marketing"]["state"] == "granted"
    # and when it is no longer fresh
    cut_off = await read(request)
    assert cut_off is not None
    installation.now += timedelta(days=7)
    assert await installation.tick(installation.saga.pass_over_open)
    # then
    with pytest.raises(ExportCutOff):
        _ = [piece async for piece in cut_off]
    assert await installation.keys.open([request.request_id]) == {request.request_id: None}
    assert await installation.book.access_parts(request.request_id) == []


async def test_erasing_a_person_destroys_the_exports_made_for_them(installation: Installation) -> None:
    # given
    customer = uuid4()
    export = await collect_export(installation, customer)
    # when
    asked = (await installation.open_request("erasure", customer, "officer")).request_id
    await installation.receipts(drained(asked), *(erased(asked, holder) for holder in ("dedup", "profile", "analytics", "privacy")))
    await installation.receipts(*evicted(asked))
    # then
    assert await installation.keys.open([export.request_id]) == {export.request_id: None}
    assert await installation.book.access_parts(export.request_id) == []
    certificate = await installation.book.certificate(asked)
    assert certificate is not None
    assert certificate["revisions"][0]["certificate"]["holders"]["privacy"]["exports"] == 1


async def test_an_idempotency_key_opens_one_request_and_names_no_key_of_anybody_else(installation: Installation) -> None:
    customer = uuid4()
    first = await installation.open_request("erasure", customer, "officer", "k")
    assert (await installation.open_request("erasure", customer, "officer", "k")).request_id == first.request_id
    assert (await installation.open_request("erasure", customer, "other", "k")).request_id != first.request_id
    with pytest.raises(ConflictingRequest):
        await installation.open_request("access", customer, "officer", "k")


def test_event_ids_of_steps_differ() -> None:
    assert ids.event_id(UUID(int=1), "keys-destroyed:1") != ids.event_id(UUID(int=1), "keys-destroyed:2")

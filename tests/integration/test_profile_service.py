"""Profile as a whole on real Kafka and MongoDB: events in, documents, snapshots and receipts out, doors for people."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from services.profile.app import build, now
from services.profile.digest import digest_part, golden_values
from services.profile.use_cases.export_access import ACCESS_VERSION
from shared.access import LocalIssuer, mint_token
from shared.contracts.dedup import SubmissionResolved, SubmissionsErased, SubmissionsMoved
from shared.contracts.event import Event, Outgoing
from shared.contracts.ids import customer_id
from shared.contracts.privacy import AccessPart, AccessRequested, EntityKeysClosed, ErasureReceipt
from shared.contracts.profile import GOLDEN_VERSION, CustomerChanged, GoldenRecord
from shared.contracts.submission import BODY_VERSION, Contact, Identifier, OrderLine, Submission, SubmissionBody
from shared.contracts.topics import CHANGES, IDENTITIES, RECEIPTS, REQUESTS
from shared.hosting import ServiceContext, Settings
from shared.hosting.application import build_application
from shared.messaging import Record, Tombstone, broadcast_reader, partition_of
from shared.messaging.topic_admin import apply_topics
from shared.sealing import body_aad
from shared.storage import migrate

pytestmark = pytest.mark.servers
PHONE = "+8613800138000"
DEADLINE_S = 30.0


@dataclass
class Running:
    """The service, what it published, and dedup's events by hand."""

    context: ServiceContext
    http: httpx.AsyncClient
    seen: list[Record] = field(default_factory=list)

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not await condition():  # noqa: ASYNC110 - the condition lies with other processes
                await asyncio.sleep(0.05)

    async def publish(self, *events: Event) -> None:
        await self.context.broker.publish([Outgoing(IDENTITIES.name, event.customer_id.bytes, uuid4(), event, now()) for event in events])  # type: ignore[attr-defined]

    async def request(self, event: Event) -> None:
        await self.context.broker.publish([Outgoing(REQUESTS.name, uuid4().bytes, uuid4(), event, now())])

    async def submission(self, *, kind: str = "profile", day: int = 1, amount: int = 0, text: str = "", **fields: str) -> Submission:
        submission_id = uuid4()

        async def work(transaction: Any) -> Any:
            return (await self.context.keyring.create([submission_id], transaction))[submission_id]

        key = await self.context.store.transaction(work)
        at = now().replace(year=2026, month=1, day=day)
        identifiers = tuple(Identifier(name, value) for name, value in fields.items() if name in ("phone", "email", "member_number"))
        body = SubmissionBody(
            occurred_at=at, identifiers=identifiers, fields=dict(fields), contact=Contact(medium="phone", text=text) if text else None
        )
        lines = (OrderLine(product_code="tea", quantity=1, amount_minor=amount, currency="CNY"),) if amount else ()
        return Submission(
            submission_id=submission_id,
            kind=kind,
            channel_id="web",
            channel_kind="form",
            channel_trust=60,
            received_on=at.date(),
            occurred_on=at.date(),
            has_fields=bool(fields),
            order_lines=lines,
            sealed=key.seal(msgspec.json.encode(body), body_aad(submission_id, BODY_VERSION)),
        )

    async def known(self, customer: UUID) -> dict[str, Any]:
        return await self.context.store.collection("customers").find_one({"_id": customer.bytes}) or {}

    async def counts(self, customer: UUID, **expected: int) -> None:
        async def reached() -> bool:
            return (await self.known(customer)).get("kinds", {}) == expected

        await self.until(reached)

    async def in_state(self, customer: UUID, state: str) -> None:
        async def reached() -> bool:
            return (await self.known(customer)).get("state") == state

        await self.until(reached)

    async def wait_for(self, kind: type[Event], how_many: int = 1, **members: Any) -> list[Any]:
        def matching() -> list[Any]:
            return [
                record.event
                for record in self.seen
                if isinstance(record.event, kind) and all(getattr(record.event, name) == value for name, value in members.items())
            ]

        async def reached() -> bool:
            return len(matching()) >= how_many

        await self.until(reached)
        return matching()

    def headers(self, *roles: str) -> dict[str, str]:
        token = mint_token(LocalIssuer(self.context.settings.keys).signing_key(), "tester", roles, lifetime_seconds=600)
        return {"authorization": f"Bearer {token}"}


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    await apply_topics(settings.kafka_bootstrap_servers, settings.namespace)
    service = await build(settings)
    context = service.context
    await migrate(context.store, service.migrations)
    await context.keyring.start()
    await context.broker.start()
    transport = httpx.ASGITransport(app=build_application(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://profile") as http:
        run = Running(context, http)

        async def note(record: Record) -> None:
            run.seen.append(record)

        readers = [broadcast_reader(context.broker, topic, note) for topic in (CHANGES, RECEIPTS)]
        for part in (*readers, *service.workers):
            await part.start()
        try:
            yield run
            assert context.broker.failure is None
        finally:
            for part in (*service.workers, *readers):
                await part.stop()
            await context.broker.stop()
            context.store.close()


@pytest.fixture
async def run(settings: Settings) -> AsyncIterator[Running]:
    async with running(settings) as started:
        yield started


def moved(loser: UUID, winner: UUID, submissions: Sequence[UUID], assignment: int) -> tuple[SubmissionsMoved, SubmissionsMoved]:
    common: dict[str, Any] = {"merge_id": uuid4(), "assignment": assignment, "submission_ids": tuple(submissions), "part": 1, "parts": 1}
    return (
        SubmissionsMoved(customer_id=loser, counterpart_id=winner, direction="lost", absorbed=True, **common),
        SubmissionsMoved(customer_id=winner, counterpart_id=loser, direction="gained", **common),
    )


def resolved(customer: UUID, submission: Submission) -> SubmissionResolved:
    return SubmissionResolved(customer_id=customer, assignment=1, submission=submission)


def two_customers_of_two_partitions() -> tuple[UUID, UUID]:
    one = customer_id(uuid4())
    while True:
        other = customer_id(uuid4())
        if partition_of(other.bytes, IDENTITIES.partitions) != partition_of(one.bytes, IDENTITIES.partitions):
            return one, other


async def test_a_submission_becomes_a_golden_record_a_snapshot_and_a_masked_answer(run: Running) -> None:
    customer = customer_id(uuid4())
    told, bought = (
        await run.submission(name="Li Lei", phone=PHONE, text="ring 13800138000"),
        await run.submission(kind="transaction", amount=990, day=2),
    )
    await run.publish(resolved(customer, told), resolved(customer, bought), resolved(customer, told))
    await run.counts(customer, profile=1, transaction=1)

    record = next(record for record in run.seen if isinstance(record.event, CustomerChanged)) if run.seen else None
    snapshot = (await run.wait_for(CustomerChanged, customer_id=customer, order_count=1))[-1]
    key = (await run.context.keyring.open([snapshot.key_id]))[snapshot.key_id]
    assert key is not None
    golden = msgspec.json.decode(key.unseal(snapshot.sealed, body_aad(snapshot.key_id, GOLDEN_VERSION)), type=GoldenRecord)
    assert {name: found.value for name, found in golden.fields.items()} == {"name": "Li Lei", "phone": PHONE}
    assert record is None or record.key_id == record.event.key_id

    desk, steward = run.headers("front_desk"), run.headers("steward")
    seen = (await run.http.get(f"/v1/customers/{customer}", headers=desk)).json()
    assert seen["fields"]["phone"]["masked"]
    assert PHONE not in str(seen)
    assert (seen["order_count"], seen["revenue_minor"]) == (1, {"CNY": 990})
    found = await run.http.post("/v1/customers:lookup", json={"type": "phone", "value": "138 0013 8000"}, headers=steward)
    assert [each["fields"]["phone"]["value"] for each in found.json()["customers"]] == [PHONE]

    life = (await run.http.get(f"/v1/customers/{customer}/timeline", params={"limit": 1}, headers=desk)).json()
    rest = (await run.http.get(f"/v1/customers/{customer}/timeline", params={"limit": 1, "before": life["next"]}, headers=desk)).json()
    assert [life["items"][0]["kind"], rest["items"][0]["kind"]] == ["transaction", "profile"]
    assert "13800138000" not in str(rest)
    origin = (await run.http.get(f"/v1/customers/{customer}/provenance", headers=steward)).json()["fields"]["name"]
    assert (origin["submission_id"], origin["trust"], origin["rule"]) == (str(told.submission_id), 60, "most_trusted")
    trace = (await run.http.get(f"/v1/trace/{told.submission_id}", headers=steward)).json()["steps"]
    assert [(step["step"], step["detail"]["customer_id"]) for step in trace] == [("applied", str(customer))]

    reads = await run.context.store.collection("reads").find({})
    assert len(reads) == 5
    assert all(read["customers"] == [customer.bytes] and read["principal"] == "tester" for read in reads)
    assert PHONE not in str(reads)


async def test_a_personal_value_in_an_address_is_refused_and_a_wrong_one_named(run: Running) -> None:
    refused = await run.http.get("/v1/customers", params={"phone": PHONE}, headers=run.headers("steward"))
    assert (refused.status_code, refused.json()["code"]) == (422, "personal_value_in_address")
    wrong = await run.http.post("/v1/customers:lookup", json={"type": "phone", "value": "12"}, headers=run.headers("steward"))
    assert (wrong.status_code, wrong.json()["field"]) == (422, "value")
    assert (await run.http.get(f"/v1/customers/{uuid4()}", headers=run.headers("analyst"))).status_code == 403
    assert (await run.http.get(f"/v1/customers/{uuid4()}")).status_code == 401
    assert (await run.http.get(f"/v1/customers/{uuid4()}", headers=run.headers("steward"))).status_code == 404


async def test_a_merge_across_partitions_leaves_one_customer_and_reports_the_closed_keys(run: Running) -> None:
    survivor, absorbed = two_customers_of_two_partitions()
    first, second, late = (
        await run.submission(name="Li"),
        await run.submission(email="li@example.com"),
        await run.submission(kind="transaction", amount=5),
    )
    await run.publish(resolved(survivor, first), resolved(absorbed, second))
    await run.counts(survivor, profile=1)
    await run.counts(absorbed, profile=1)
    old_keys = {UUID(bytes=(await run.known(customer))["key"]) for customer in (survivor, absorbed)}

    # The move is published before one of its submissions, whose event then meets its own stub.
    lost, gained = moved(absorbed, survivor, [second.submission_id, late.submission_id], 5)
    await run.publish(gained)
    await run.counts(survivor, profile=2)
    await run.publish(resolved(absorbed, late), lost)
    await run.counts(survivor, profile=2, transaction=1)
    await run.in_state(absorbed, "alias")

    answer = (await run.http.get(f"/v1/customers/{absorbed}", headers=run.headers("steward"))).json()
    assert (answer["customer_id"], answer["merged_from"]) == (str(survivor), str(absorbed))
    assert {name: each["value"] for name, each in answer["fields"].items()} == {"name": "Li", "email": "li@example.com"}
    await run.wait_for(CustomerChanged, customer_id=absorbed, state="alias", alias_of=survivor)

    async def reported() -> bool:
        closed = {key for record in run.seen if isinstance(record.event, EntityKeysClosed) for key in record.event.key_ids}
        return old_keys <= closed

    await run.until(reported)
    values = await golden_values(run.context.store, run.context.keyring)
    assert values[str(survivor)]["fields"] == {"name": "Li", "email": "li@example.com"}
    part = await digest_part(run.context.store, run.context.keyring)
    assert [len(each["timeline"]) for each in part.values()] == [3]


async def test_an_erasure_leaves_tombstones_receipts_and_rows_that_never_come_back(run: Running) -> None:
    survivor, absorbed = two_customers_of_two_partitions()
    one, two, bystander = await run.submission(name="Li", phone=PHONE), await run.submission(name="Lei"), await run.submission(name="Wang")
    other = customer_id(uuid4())
    await run.publish(resolved(survivor, one), resolved(absorbed, two), resolved(other, bystander))
    await run.publish(*moved(absorbed, survivor, [two.submission_id], 5))
    await run.counts(survivor, profile=2)
    await run.in_state(absorbed, "alias")
    key_id = UUID(bytes=(await run.known(survivor))["key"])

    request_id, never_seen = uuid4(), uuid4()
    ids = (one.submission_id, two.submission_id, never_seen)
    erasure = SubmissionsErased(request_id=request_id, customer_id=survivor, alias_ids=(absorbed,), submission_ids=ids, part=1, parts=1)
    await run.publish(erasure)
    receipts = await run.wait_for(ErasureReceipt, 2, request_id=request_id)
    assert {receipt.part for receipt in receipts} == {1, 2}
    assert {receipt.parts for receipt in receipts} == {2}
    assert key_id in {key for receipt in receipts for key in receipt.key_ids}

    async def tombstoned() -> bool:
        gone = [record.key for record in run.seen if isinstance(record.event, Tombstone)]
        return survivor.bytes in gone and absorbed.bytes in gone

    await run.until(tombstoned)
    await run.publish(resolved(survivor, one), *moved(absorbed, survivor, [two.submission_id], 9), erasure)
    await run.wait_for(ErasureReceipt, 3, request_id=request_id)
    rows = await run.context.store.collection("contributions").find_by_ids(each.bytes for each in ids)
    assert [rows[each.bytes] for each in ids] == [{"_id": each.bytes, "state": "erased"} for each in ids]
    for customer in (survivor, absorbed):
        known = await run.known(customer)
        assert known["state"] == "erased"
        assert not {"golden", "standings", "tokens", "fields"} & known.keys()
        assert (await run.http.get(f"/v1/customers/{customer}", headers=run.headers("steward"))).status_code == 404
    assert (await run.known(other))["kinds"] == {"profile": 1}


async def test_a_destroyed_key_shows_as_erased_and_not_as_an_error(run: Running) -> None:
    customer = customer_id(uuid4())
    told = await run.submission(name="Li")
    await run.publish(resolved(customer, told))
    await run.counts(customer, profile=1)
    key_id = UUID(bytes=(await run.known(customer))["key"])
    await run.context.keyring.destroy([key_id, told.submission_id])
    answer = (await run.http.get(f"/v1/customers/{customer}", headers=run.headers("steward"))).json()
    assert (answer["fields"], answer["erased"]) == ({}, True)
    life = (await run.http.get(f"/v1/customers/{customer}/timeline", headers=run.headers("steward"))).json()
    assert [item["erased"] for item in life["items"]] == [True]


async def test_an_access_request_is_answered_in_sealed_parts(run: Running) -> None:
    customer, request_id = customer_id(uuid4()), uuid4()
    told = await run.submission(name="Li Lei", phone=PHONE)
    await run.publish(resolved(customer, told))
    await run.counts(customer, profile=1)

    async def work(transaction: Any) -> Any:
        return (await run.context.keyring.create([request_id], transaction))[request_id]

    key = await run.context.store.transaction(work)
    await run.request(AccessRequested(request_id=request_id, customer_id=customer))
    parts = await run.wait_for(AccessPart, 2, request_id=request_id)
    assert all(PHONE.encode() not in part.sealed for part in parts)
    opened = [
        msgspec.json.decode(key.unseal(part.sealed, body_aad(request_id, ACCESS_VERSION))) for part in sorted(parts, key=lambda part: part.part)
    ]
    assert opened[0]["golden_record"]["fields"]["phone"]["value"] == PHONE
    assert [item["submission_id"] for item in opened[1]["timeline"]] == [str(told.submission_id)]

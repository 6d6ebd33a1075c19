"""Analytics as a whole on real Kafka and MongoDB: events in, figures and receipts out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from services.analytics.app import build, now
from services.analytics.mongo import CUSTOMERS, DIRTY_MARKS
from services.analytics.recompute import counted, recompute
from shared.access import LocalIssuer, mint_token
from shared.contracts.dedup import SubmissionResolved, SubmissionsErased
from shared.contracts.event import Event, Outgoing
from shared.contracts.privacy import AccessPart, AccessRequested, ErasureReceipt
from shared.contracts.submission import OrderLine, Submission
from shared.contracts.topics import IDENTITIES, RECEIPTS, REQUESTS
from shared.hosting import ServiceContext, Settings
from shared.hosting.application import build_application
from shared.messaging import DeadLetters, Record, broadcast_reader, consumed_positions
from shared.messaging.topic_admin import apply_topics
from shared.sealing import body_aad
from shared.storage import migrate
from tests.analytics_world import NOW, History, Sent

pytestmark = pytest.mark.servers
DEADLINE_S = 30.0


@dataclass
class Running:
    """The service and what it published."""

    context: ServiceContext
    http: httpx.AsyncClient
    receipts: list[Record] = field(default_factory=list)

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not await condition():  # noqa: ASYNC110 - what is waited for happens in Kafka and MongoDB
                await asyncio.sleep(0.05)

    async def publish(self, *events: Sent) -> None:
        outgoing = [Outgoing(IDENTITIES.name, sent.key.bytes, sent.arrival.event_id, sent.arrival.event, NOW) for sent in events]
        await self.context.broker.publish(outgoing)

    async def drained(self) -> None:
        ends = await self.context.broker.end_offsets(IDENTITIES)

        async def caught_up() -> bool:
            positions = await consumed_positions(self.context.store, "analytics", IDENTITIES)
            behind = any(positions.get(partition, 0) < end for partition, end in ends.items())
            return not behind and not await self.context.store.collection(DIRTY_MARKS).count({})

        await self.until(caught_up)

    async def get(self, path: str, **params: str) -> Any:
        answer = await self.http.get(path, params=params, headers=self.headers("analyst", "steward"))
        assert answer.status_code == 200, answer.text
        return answer.json()

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
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=build_application(service)), base_url="http://analytics") as http:
        run = Running(context, http)

        async def note(record: Record) -> None:
            run.receipts.append(record)

        parts = (broadcast_reader(context.broker, RECEIPTS, note), *service.workers)
        for part in parts:
            await part.start()
        try:
            yield run
        finally:
            for part in reversed(parts):
                await part.stop()
            await context.broker.stop()
            context.store.close()


def moved_history() -> History:
    history = History()
    for person in range(4):
        history.submit(person, 1, amount_minor=1_000 + person)
        history.submit(person, 2, amount_minor=50)
        history.submit(person, 2)
    history.merge(0, 1)
    history.merge(2, 0)
    history.submit(1, 3, amount_minor=70)
    return history


async def test_figures_survive_repeats_moves_and_an_erasure(settings: Settings) -> None:
    history = moved_history()
    async with running(settings) as run:
        await run.publish(*history.events)
        await run.publish(*history.events[::2])  # a relay that died between publishing and deleting
        await run.drained()
        assert await counted(run.context.store) == await recompute(run.context.store) == history.truth()
        kpis = await run.get("/v1/kpis")
        assert (kpis["customers"], kpis["submissions"], kpis["orders"], kpis["merges"]) == (2, 13, 9, 2)
        assert kpis["revenue_minor"] == {"CNY": 4_006 + 200 + 70}

        seen = len(history.events)
        history.erase(0)
        await run.publish(*history.events[seen:])
        await run.drained()
        assert await counted(run.context.store) == await recompute(run.context.store) == history.truth()
        assert (await run.get("/v1/kpis"))["customers"] == 1

        async def receipted() -> bool:
            return len({record.event_id for record in run.receipts}) == 10

        await run.until(receipted)
        receipts = [record.event for record in run.receipts if isinstance(record.event, ErasureReceipt)]
        assert {(each.holder, each.stage, each.parts) for each in receipts} == {("analytics", "erased", 10)}
        assert not await run.context.store.collection(CUSTOMERS).count({"living": True, "erased": True})


async def test_doors_answer_roles_that_may_and_refuse_what_they_do_not_know(settings: Settings) -> None:
    history = moved_history()
    async with running(settings) as run:
        await run.publish(*history.events)
        await run.drained()
        points = (await run.get("/v1/series", metric="revenue", by="month", currency="CNY", **{"from": "2026-02", "to": "2026-02-28"}))["points"]
        assert [(point["at"], point["value"]) for point in points] == [("2026-02", 200)]
        points = (await run.get("/v1/series", metric="submissions", by="month", split="channel"))["points"]
        assert sum(point["value"] for point in points if point["split"] == "web") == 13
        assert (await run.get("/v1/top", currency="CNY"))["items"] == [{"key": "tea", "currency": "CNY", "value": 4_276}]
        resolved = next(sent.arrival.event for sent in history.events if isinstance(sent.arrival.event, SubmissionResolved))
        (step,) = (await run.get(f"/v1/trace/{resolved.submission.submission_id}"))["steps"]
        assert step["step"] == "counted"
        assert (await run.http.get("/v1/kpis")).status_code == 401
        assert (await run.http.get("/v1/kpis", headers=run.headers("operator"))).status_code == 403
        for path in (
            "/v1/series",
            "/v1/series?metric=love",
            "/v1/series?metric=orders&split=kind",
            "/v1/top?limit=0",
            "/v1/series?metric=orders&from=x",
        ):
            assert (await run.http.get(path, headers=run.headers("analyst"))).status_code == 422, path


async def test_a_person_gets_the_facets_that_are_held(settings: Settings) -> None:
    history = moved_history()
    async with running(settings) as run:
        await run.publish(*history.events)
        await run.drained()
        customer, request_id = next(iter(history.held)), uuid4()

        async def create(transaction: Any) -> Any:
            return (await run.context.keyring.create([request_id], transaction))[request_id]

        key = await run.context.store.transaction(create)
        request: Event = AccessRequested(request_id=request_id, customer_id=customer)
        await run.context.broker.publish([Outgoing(REQUESTS.name, request_id.bytes, uuid4(), request, NOW)])

        async def answered() -> bool:
            return any(isinstance(record.event, AccessPart) for record in run.receipts)

        await run.until(answered)
        (part,) = [record.event for record in run.receipts if isinstance(record.event, AccessPart)]
        opened = json.loads(key.unseal(part.sealed, body_aad(request_id, 1)))
        assert {UUID(row["submission_id"]) for row in opened["contributions"]} == set(history.held[customer])


async def test_an_amount_that_no_sum_could_hold_is_set_aside_and_stops_nobody(settings: Settings) -> None:
    history = moved_history()
    async with running(settings) as run:
        customer = uuid4()
        await run.context.broker.publish([resolved_order(customer, 10**18)])
        await run.publish(*history.events)
        await run.drained()
        assert await counted(run.context.store) == history.truth()
        assert [letter.reason for letter in await DeadLetters(run.context.store).list()] == ["amount_out_of_range"]


def resolved_order(customer: UUID, amount_minor: int) -> Outgoing:
    """A resolved order with a data key of its own, as dedup publishes it."""
    submission_id, today = uuid4(), now().date()
    line = OrderLine(product_code="tea", quantity=1, amount_minor=amount_minor, currency="CNY")
    submission = Submission(
        submission_id=submission_id, kind="transaction", channel_id="web", channel_kind="web", channel_trust=1,
        received_on=today, occurred_on=today, order_lines=(line,), sealed=b"-",
    )  # fmt: skip
    event = SubmissionResolved(customer_id=customer, assignment=1, submission=submission)
    return Outgoing(IDENTITIES.name, customer.bytes, uuid4(), event, NOW, key_id=submission_id)


async def test_an_erasure_overtakes_the_dead_letter_of_the_person_and_takes_it_and_what_is_parked_behind_it_along(settings: Settings) -> None:
    history = moved_history()
    async with running(settings) as run:
        customer, stranger, letters = uuid4(), uuid4(), DeadLetters(run.context.store)
        theirs = [resolved_order(customer, 10**18), resolved_order(customer, 100)]
        await run.context.broker.publish([*theirs, resolved_order(stranger, 10**18)])
        await run.publish(*history.events)
        await run.drained()
        assert await letters.count() == {"dead": 2, "parked": 1}

        event = SubmissionsErased(
            request_id=uuid4(), customer_id=customer, submission_ids=tuple(each.key_id for each in theirs if each.key_id), part=1, parts=1
        )
        await run.context.broker.publish([Outgoing(IDENTITIES.name, customer.bytes, uuid4(), event, NOW)])
        await run.drained()
        await run.context.broker.publish(theirs)  # repeats, as a relay may send them
        await run.drained()

        async def answered() -> bool:
            return any(isinstance(record.event, ErasureReceipt) for record in run.receipts)

        await run.until(answered)
        [receipt] = [record.event for record in run.receipts if isinstance(record.event, ErasureReceipt)]
        assert receipt.counts == {"contributions": 2, "dead_letters": 2}
        assert [each.key for each in await letters.list()] == [stranger.bytes]
        assert await counted(run.context.store) == history.truth()

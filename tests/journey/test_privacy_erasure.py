"""A person is forgotten everywhere: plain, merged, and with submissions still on their way. The same sweep finds whoever was not erased."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest

from deploy.local.stack import Stack
from deploy.local.sweep import Places, sweep
from deploy.local.throwaway_stack import running_stack
from services.analytics.recompute import counted, recompute
from services.privacy.proof import verify_audit_chain, verify_certificate
from services.privacy.rotation import record_rotation, slots_awaited
from shared.access import LocalIssuer, mint_token
from shared.contracts.privacy import Holder
from shared.hosting import Settings
from shared.sealing import KeyRing, LocalKeyFile
from shared.sealing.rotation import rotate_slots
from shared.storage import Store

pytestmark = [pytest.mark.servers, pytest.mark.timeout(420)]
WAIT_SECONDS = 90.0


class Journey:
    """A running stack, an administrator and a privacy officer, and the people that were sent in."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.settings = Settings(
            kafka_bootstrap_servers=stack.kafka_bootstrap_servers,
            mongodb_uri=stack.mongodb_uri("operator"),
            data_folder=stack.places.root,
            key_folder=stack.places.keys,
            namespace=stack.namespace,
        )
        key = LocalIssuer(stack.places.keys).signing_key()
        token = mint_token(key, "journey", ["admin", "privacy_officer", "steward", "analyst"], lifetime_seconds=3_600)
        self._headers = {"Authorization": f"Bearer {token}"}
        self.write_key = ""

    async def call(self, method: str, service: str, path: str, *, write_key: str = "", expected: int = 200, **arguments: Any) -> Any:
        headers = {"Authorization": f"Bearer {write_key}"} if write_key else self._headers
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.stack.port_of(service)}", trust_env=False, timeout=30) as client:
            answer = await client.request(method, path, headers=headers, **arguments)
        assert answer.status_code == expected, (service, path, answer.status_code, answer.text)
        return answer.json()

    async def open_channel(self) -> None:
        channel = await self.call("POST", "intake", "/v1/channels", expected=201, json={"id": "web", "kind": "web", "name": "Web"})
        self.write_key = channel["write_key"]

    async def submit(self, *bodies: dict[str, Any]) -> list[str]:
        answer = await self.call(
            "POST", "intake", "/v1/submissions:batch", write_key=self.write_key, expected=202, json={"submissions": list(bodies)}
        )
        assert {item["status"] for item in answer["items"]} == {"accepted"}, answer
        return [item["submission_id"] for item in answer["items"]]

    async def customer_of(self, value: str, kind: str = "email") -> str | None:
        found = await self.call("POST", "profile", "/v1/customers:lookup", json={"type": kind, "value": value})
        return found["customers"][0]["customer_id"] if found["customers"] else None

    async def request(self, kind: str, customer: str) -> str:
        return str((await self.call("POST", "privacy", "/v1/requests", expected=202, json={"kind": kind, "customer_id": customer}))["request_id"])

    async def wait_for_state(self, request_id: str, state: str) -> dict[str, Any]:
        async def reached() -> Any:
            request = await self.call("GET", "privacy", f"/v1/requests/{request_id}")
            return request if request["state"] == state else None

        return dict(await until(reached, lambda: f"request {request_id} to be {state}"))


async def until(condition: Callable[[], Awaitable[Any]], what: Callable[[], str]) -> Any:
    deadline = time.monotonic() + WAIT_SECONDS
    while not (value := await condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what()}"
        await asyncio.sleep(0.3)
    return value


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("erasure")) as running:
        yield running


class Person:
    """One made-up person; every value is a canary."""

    def __init__(self, number: int) -> None:
        mark = secrets.token_hex(4)
        self.email = f"canary-{mark}@example.com"
        self.phone = f"139{number}{secrets.randbelow(10**7):07d}"
        self.name = f"王{mark}金丝雀"
        self.note = f"note-{mark}-about-tea"
        self.product = f"cup-{mark}-made-for-one"

    @property
    def canaries(self) -> list[str]:
        return [self.email, self.phone, self.name, self.note]

    def by_email(self, **more: Any) -> dict[str, Any]:
        return submission({"email": self.email, "name": self.name, **more})

    def by_phone(self) -> dict[str, Any]:
        return submission({"phone": self.phone, "note": self.note})

    def joined(self) -> dict[str, Any]:
        body = submission({"email": self.email, "phone": self.phone})
        return body | {"consents": [{"purpose": "marketing", "state": "granted", "notice_version": "2026-01"}]}

    def order(self) -> dict[str, Any]:
        lines = [{"product_code": self.product, "quantity": 1, "amount": "9.90"}]
        body = submission({"email": self.email}) | {"kind": "transaction"}
        return body | {"order": {"order_id": secrets.token_hex(4), "currency": "CNY", "lines": lines}}


def submission(fields: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "profile", "message_id": secrets.token_hex(8), "occurred_at": datetime.now(UTC).isoformat(), "fields": fields}


async def test_an_erased_person_is_nowhere_and_one_who_was_not_is_found_by_the_same_sweep(stack: Stack) -> None:
    # given: a plain person, a merged one, and one who stays
    journey = Journey(stack)
    await journey.open_channel()
    plain, merged, stays = Person(1), Person(2), Person(3)
    await journey.submit(plain.by_email(), plain.joined(), plain.by_phone(), plain.order())
    await journey.submit(merged.by_email(), merged.order())
    await journey.submit(merged.by_phone())
    await until(lambda: journey.customer_of(merged.email), lambda: "the merged person's first half")
    await until(lambda: journey.customer_of(merged.phone, "phone"), lambda: "the merged person's second half")
    await journey.submit(merged.joined())
    await journey.submit(stays.by_email(), stays.joined(), stays.by_phone(), stays.order())
    customers = {person: await until(lambda person=person: consenting(journey, person), lambda: "consents") for person in (plain, merged, stays)}

    # when: somebody asks for a copy first
    export = await export_of(journey, customers[merged])
    # then: it holds all of the person and nothing of others
    assert all(canary in export for canary in merged.canaries)
    assert not any(canary in export for person in (plain, stays) for canary in person.canaries)

    # when: both are erased while submissions of the plain one are on their way
    passing = f"in-flight-{secrets.token_hex(6)}"
    in_flight = [submission({"email": plain.email, "note": f"{passing} number {number}"}) for number in range(200)]
    await journey.submit(*in_flight)
    asked = [await journey.request("erasure", customers[plain]), await journey.request("erasure", customers[merged])]
    closed = [await journey.wait_for_state(request_id, "closed") for request_id in asked]

    # then: the certificates hold, offline
    public_key = LocalKeyFile.open(stack.places.keys).public_key
    certificates = [await journey.call("GET", "privacy", f"/v1/requests/{request_id}/certificate") for request_id in asked]
    assert all(verify_certificate(certificate, public_key) for certificate in certificates)
    assert certificates[0]["certificate"]["holders"]["dedup"]["source_records"] == 4 + len(in_flight)
    assert len(certificates[1]["certificate"]["scope"]["customers"]) >= 2
    assert all(not request["late"] for request in closed)
    # and: every process said that the keys left its memory, and none had to be waited out
    for certificate in certificates:
        answers = [line for line in certificate["certificate"]["waited_for"] if line.endswith((": evicted", ": the end of a cache period"))]
        assert sorted(line.split()[0] for line in answers) == sorted(get_args(Holder)), answers
        assert all(line.endswith(": evicted") for line in answers), answers
        body = certificate["certificate"]
        print("requested to closed:", datetime.fromisoformat(body["closed_at"]) - datetime.fromisoformat(body["requested_at"]))

    # and: no canary is anywhere, while those of the one who stays are found in each store, and only by a key
    await assert_swept(journey, [*plain.canaries, *merged.canaries, passing], stays.canaries)
    # and: what only they bought is named by no row and no figure
    await assert_goods_forgotten(journey, [plain.product, merged.product], stays.product)
    # and: the numbers are those of a world without them
    await assert_counts(journey)
    # and: rotating the touched slots makes it final
    await assert_final(journey, asked, public_key)


async def consenting(journey: Journey, person: Person) -> str | None:
    customer = await journey.customer_of(person.email)
    if customer is None:
        return None
    consents = await journey.call("GET", "privacy", f"/v1/customers/{customer}/consents")
    by_phone = await journey.call("POST", "profile", "/v1/customers:lookup", json={"type": "phone", "value": person.phone})
    same = [each["customer_id"] for each in by_phone["customers"]] == [customer]
    return customer if same and consents["purposes"].get("marketing", {}).get("state") == "granted" else None


async def export_of(journey: Journey, customer: str) -> str:
    request_id = await journey.request("access", customer)
    await journey.wait_for_state(request_id, "ready")
    return json.dumps(await journey.call("GET", "privacy", f"/v1/requests/{request_id}/export"), ensure_ascii=False)


async def assert_swept(journey: Journey, gone: list[str], stays: list[str]) -> None:
    places = Places({"mongodb": journey.stack.places.mongodb, "kafka": journey.stack.places.kafka, "logs": journey.stack.places.logs})
    after = await sweep(gone, journey.settings, places)
    assert after.clean, sorted(after.hits, key=str)[:20]
    control = await sweep(stays, journey.settings, places)
    print("sweep after erasure:", {store: dict(counts) for store, counts in after.visited.items()})
    print("control:", {store: len(control.found("unsealed", store)) for store in ("mongodb", "kafka")})
    assert {hit.store for hit in control.found("unsealed")} == {"mongodb", "kafka"}
    assert control.found("raw") == set()
    assert control.found("clear") == set()


async def assert_goods_forgotten(journey: Journey, gone: list[str], stays: str) -> None:
    """A product code is a facet, in clear; so it may stand in topics and the server's log of operations until these end, and nowhere else."""
    places = {product: await places_of(journey, product) for product in (*gone, stays)}
    assert all(places[product] <= {"local.oplog.rs"} for product in gone), places
    assert {place.rpartition(".")[2] for place in places[stays]} >= {"source_records", "contributions", "counters"}


async def places_of(journey: Journey, value: str) -> set[str]:
    found = await sweep([value], journey.settings, Places())
    return {hit.place for hit in found.hits if hit.store == "mongodb"}


async def assert_counts(journey: Journey) -> None:
    store = await Store.connect(journey.settings.mongodb_uri, database="analytics", namespace=journey.stack.namespace)
    try:
        assert await counted(store) == await recompute(store)
    finally:
        store.close()
    assert (await journey.call("GET", "analytics", "/v1/kpis"))["submissions"] == 4


async def assert_final(journey: Journey, asked: list[str], public_key: bytes) -> None:
    store = await Store.connect(journey.settings.mongodb_uri, database="privacy", namespace=journey.stack.namespace)
    try:
        provider = LocalKeyFile.open(journey.stack.places.keys)
        slots, started_at = await slots_awaited(store), datetime.now(UTC)
        await rotate_slots(KeyRing(store.other("keyring"), provider), slots)
        finished = await record_rotation(store, provider, slots, started_at, datetime.now(UTC))
        assert sorted(map(str, finished)) == sorted(asked)
        assert await verify_audit_chain(store) is None
    finally:
        store.close()
    for request_id in asked:
        certificate = await journey.call("GET", "privacy", f"/v1/requests/{request_id}/certificate")
        assert verify_certificate(certificate, public_key)
        assert certificate["certificate"]["unrecoverable_at"] is not None


async def test_an_unknown_person_and_one_erased_before_are_answered_the_same_way(stack: Stack) -> None:
    # given
    journey = Journey(stack)
    unknown = "7a3c1df2-59d5-5c1b-a7f3-39c58d1e64f1"
    # when: erased, and erased again
    requests = [await journey.request("erasure", unknown) for _ in range(2)]
    # then
    for request_id in requests:
        await journey.wait_for_state(request_id, "closed")
        certificate = await journey.call("GET", "privacy", f"/v1/requests/{request_id}/certificate")
        assert certificate["certificate"]["keys"]["count"] == 0


def test_the_data_of_the_stack_lies_where_the_sweep_looks(stack: Stack) -> None:
    assert any(Path(stack.places.mongodb).rglob("*.wt"))
    assert any(Path(stack.places.kafka).rglob("*.log"))
    assert any(stack.places.logs.glob("*.log"))

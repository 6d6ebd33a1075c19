"""Privacy's routes, each refusal in both languages, on the real application and a real MongoDB. Kafka may be away: a request waits in the outbox."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from services.privacy.app import build
from services.privacy.domain.requests import EXPIRED, READY
from services.privacy.mongo import MongoRequestBook
from services.privacy.proof import verify_audit_chain
from shared.access import LocalIssuer, Role, mint_token
from shared.hosting import ServiceApp, Settings
from shared.hosting.application import build_application
from shared.sealing import body_aad
from shared.storage import migrate

pytestmark = pytest.mark.servers


@dataclass
class Office:
    """The application, asked as somebody."""

    service: ServiceApp
    client: httpx.AsyncClient
    settings: Settings

    @property
    def book(self) -> MongoRequestBook:
        return MongoRequestBook(self.service.context.store)

    async def ask(self, method: str, path: str, *, role: Role = "privacy_officer", **options: Any) -> httpx.Response:
        token = mint_token(LocalIssuer(self.settings.keys).signing_key(), "clerk-7", [role])
        headers = {"Authorization": f"Bearer {token}"} | options.pop("headers", {})
        return await self.client.request(method, path, headers=headers, **options)

    async def opened(self, kind: str) -> UUID:
        answer = await self.ask("POST", "/v1/requests", json={"kind": kind, "customer_id": str(uuid4())})
        assert answer.status_code == 202, answer.text
        return UUID(answer.json()["request_id"])

    async def at_stage(self, request_id: UUID, stage: str) -> None:
        """As if the holders had answered, or time had passed."""
        request = await self.book.request(request_id)
        assert request is not None
        await self.service.context.store.transaction(lambda transaction: self.book.save_request(replace(request, stage=stage), transaction))


@pytest.fixture
async def office(mongodb_uri: str, namespace: str, tmp_path: Any) -> AsyncIterator[Office]:
    settings = Settings(kafka_bootstrap_servers="127.0.0.1:1", mongodb_uri=mongodb_uri, namespace=namespace, data_folder=tmp_path)
    service = await build(settings)
    await migrate(service.context.store, service.migrations)
    await service.context.keyring.start()
    transport = httpx.ASGITransport(build_application(service), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://privacy") as client:
        yield Office(service, client, settings)
    service.context.store.close()


def told(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Status, code and field; every refusal speaks both languages."""
    body = answer.json()
    assert body["message"]["en"]
    assert body["message"]["zh"]
    return answer.status_code, body["code"], body.get("field")


SOMEBODY = "7a3c1df2-59d5-5c1b-a7f3-39c58d1e64f1"


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"{", None),
        (b"\xff", None),
        (b"[]", None),
        (b"{}", "kind"),
        (json.dumps({"kind": "erasure"}).encode(), "customer_id"),
        (json.dumps({"kind": "gossip", "customer_id": SOMEBODY}).encode(), "kind"),
        (json.dumps({"kind": "erasure", "customer_id": "somebody"}).encode(), "customer_id"),
        (json.dumps({"kind": "erasure", "customer_id": {"$ne": None}}).encode(), "customer_id"),
        (json.dumps({"kind": "erasure", "customer_id": SOMEBODY, "why": "x"}).encode(), "why"),
    ],
)
async def test_a_wish_that_does_not_fit_names_the_field_and_opens_nothing(office: Office, content: bytes, field: str | None) -> None:
    status, _, named = told(await office.ask("POST", "/v1/requests", content=content, headers={"Content-Type": "application/json"}))

    assert status == 422
    assert field is None or named == field
    assert await office.book.requests() == []


async def test_an_idempotency_key_opens_one_request_and_stands_for_no_other(office: Office) -> None:
    wish, key = {"kind": "erasure", "customer_id": SOMEBODY}, {"Idempotency-Key": "form-1"}

    first, again = [await office.ask("POST", "/v1/requests", json=wish, headers=key) for _ in range(2)]
    other = await office.ask("POST", "/v1/requests", json=wish | {"kind": "access"}, headers=key)
    long = await office.ask("POST", "/v1/requests", json=wish, headers={"Idempotency-Key": "k" * 201})

    assert first.json() == again.json()
    assert told(other) == (409, "key_used", None)
    assert told(long)[0] == 422


@pytest.mark.parametrize("path", ["", "/certificate", "/export"])
async def test_an_unknown_request_is_not_found_and_a_malformed_id_does_not_fit(office: Office, path: str) -> None:
    assert told(await office.ask("GET", f"/v1/requests/{uuid4()}{path}")) == (404, "not_found", None)
    assert told(await office.ask("GET", f"/v1/requests/nobody{path}"))[::2] == (422, "request_id")


async def test_a_certificate_is_not_there_before_the_end_and_a_copy_has_none(office: Office) -> None:
    erasure, access = await office.opened("erasure"), await office.opened("access")

    assert told(await office.ask("GET", f"/v1/requests/{erasure}/certificate"))[:2] == (409, "not_yet")
    assert told(await office.ask("GET", f"/v1/requests/{access}/certificate"))[:2] == (404, "not_found")
    assert (await office.ask("GET", f"/v1/requests/{erasure}")).json()["pending"] == ["intake: drain"]


async def test_a_copy_is_there_when_all_have_answered_and_gone_when_it_is_no_longer_fresh(office: Office) -> None:
    asked, erasure = await office.opened("access"), await office.opened("erasure")
    assert told(await office.ask("GET", f"/v1/requests/{erasure}/export"))[:2] == (404, "not_found")
    assert told(await office.ask("GET", f"/v1/requests/{asked}/export"))[:2] == (409, "not_yet")

    await _answer_for_holders(office, asked)
    await office.at_stage(asked, READY)
    copy = await office.ask("GET", f"/v1/requests/{asked}/export")

    assert copy.headers["content-type"] == "application/json"
    assert copy.json()["holders"] == {"dedup": [{"part": 1}, {"part": 2}], "profile": [{"name": "王芳"}], "analytics": [], "privacy": []}
    assert (copy.json()["request_id"], copy.json()["customer_id"] != "") == (str(asked), True)
    # and: who took it away stands in the audit chain
    [(entry, _)] = await office.book.audit()
    assert (entry.kind, entry.request_id) == ("export-read by clerk-7", str(asked))
    assert await verify_audit_chain(office.service.context.store) is None
    # and later
    await office.at_stage(asked, EXPIRED)
    assert told(await office.ask("GET", f"/v1/requests/{asked}/export"))[:2] == (410, "expired")


async def _answer_for_holders(office: Office, asked: UUID) -> None:
    key = (await office.service.context.keyring.open([asked]))[asked]
    assert key is not None
    parts = [("profile", 1, {"name": "王芳"}), ("dedup", 2, {"part": 2}), ("dedup", 1, {"part": 1})]

    async def add(transaction: Any) -> None:
        for holder, part, content in parts:
            sealed = key.seal(json.dumps(content).encode(), body_aad(asked, 1))
            await office.book.add_access_part(asked, holder, part, 2, sealed, transaction)

    await office.service.context.store.transaction(add)


async def test_somebody_unknown_and_somebody_erased_look_alike(office: Office) -> None:
    answer = await office.ask("GET", f"/v1/customers/{SOMEBODY}/consents")

    assert (answer.status_code, answer.json()) == (200, {"customer_id": SOMEBODY, "purposes": {}, "history": []})
    assert told(await office.ask("GET", "/v1/customers/nobody/consents"))[::2] == (422, "customer_id")


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "kind=gossip"])
async def test_a_list_of_requests_has_bounds(office: Office, query: str) -> None:
    assert told(await office.ask("GET", f"/v1/requests?{query}"))[0] == 422


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/requests"),
        ("GET", "/v1/requests"),
        ("GET", f"/v1/requests/{SOMEBODY}"),
        ("GET", f"/v1/requests/{SOMEBODY}/certificate"),
        ("GET", f"/v1/requests/{SOMEBODY}/export"),
        ("GET", f"/v1/customers/{SOMEBODY}/consents"),
    ],
)
async def test_who_may_not_is_told_so_in_both_languages(office: Office, method: str, path: str) -> None:
    stranger = await office.client.request(method, path)

    assert told(stranger)[:2] == (401, "unauthenticated")
    assert told(await office.ask(method, path, role="analyst"))[:2] == (403, "forbidden")

"""The running installation as its users see it: the public door, the services' answers, and what lies in its stores."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from deploy.local.arrival import NotAllCounted, Standing, arrival
from deploy.local.connection import Connection
from deploy.local.stack import SERVICES, Stack
from deploy.local.sweep import Places, Report, sweep
from services.analytics.mongo import DIRTY_MARKS
from services.analytics.recompute import counted, recompute
from shared.access import LocalIssuer, Role, mint_token
from shared.hosting import Settings
from shared.storage import Store
from tests.journey.people import Submission

WAIT_SECONDS = 45.0
FINAL_STEP = {"intake": "published", "dedup": "resolved", "profile": "applied", "analytics": "counted"}
"""What each service tells of a submission that has gone all the way."""


class House:
    """One installation, and somebody of each role who asks it."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._client = httpx.Client(timeout=30, trust_env=False)
        opened = self.ask("admin", "intake", "POST", "/v1/channels", json={"kind": "web"})
        self._write_key = {"Authorization": f"Bearer {opened.json()['write_key']}"}

    def close(self) -> None:
        """Ends its connections."""
        self._client.close()

    def ask(self, role: Role, service: str, method: str, path: str, **options: Any) -> httpx.Response:
        """A successful answer to somebody of this role."""
        token = mint_token(LocalIssuer(self._stack.places.keys).signing_key(), f"journey-{role}", [role])
        headers = {"Authorization": f"Bearer {token}"}
        return self._client.request(method, self._url(service, path), headers=headers, **options).raise_for_status()

    def knock(self, path: str, body: Any) -> httpx.Response:
        """Whatever the public door answers to the shop."""
        return self._client.post(self._url("intake", path), json=body, headers=self._write_key)

    def submit(self, submission: Submission) -> str:
        """Sends one alone; its submission id."""
        answer = self.knock("/v1/submissions", submission)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["submission_id"])

    def submit_all(self, submissions: Sequence[Submission]) -> list[str]:
        """Sends a batch of good ones; their submission ids."""
        answer = self.knock("/v1/submissions:batch", {"submissions": submissions})
        assert {item["status"] for item in answer.json()["items"]} == {"accepted"}, answer.text
        return [item["submission_id"] for item in answer.json()["items"]]

    def steps(self, submission_id: str) -> dict[str, list[str]]:
        """By service, what it tells of a submission."""
        answers = {service: self.ask("privacy_officer", service, "GET", f"/v1/trace/{submission_id}").json() for service in SERVICES}
        return {service: [step["step"] for step in answer["steps"]] for service, answer in answers.items()}

    def wait_until_settled(self, submission_ids: Iterable[str]) -> None:
        """Returns when every service is done with each of them."""
        for each in submission_ids:
            wait_until(lambda each=each: all(step in self.steps(each)[service] for service, step in FINAL_STEP.items()), "submission settled")

    def wait_until_forgotten(self, submission_ids: Iterable[str]) -> None:
        """Returns when the door has dropped them too, which it does once it hears that their keys are gone."""
        for each in submission_ids:
            wait_until(lambda each=each: self.steps(each)["intake"][-1] == "erased", "submission forgotten")

    def arrived(self, submit: Callable[[], Sequence[str]]) -> tuple[Standing, str]:
        """How it stands once everything submitted is counted, and what is said of one more that nobody sent."""
        return asyncio.run(self._arrived(submit))

    async def _arrived(self, submit: Callable[[], Sequence[str]]) -> tuple[Standing, str]:
        async with AsyncExitStack() as opened:
            clients = [httpx.AsyncClient(base_url=self._url(service, ""), trust_env=False) for service in SERVICES[1:]]
            consumers = [await opened.enter_async_context(client) for client in clients]
            arriving = await opened.enter_async_context(arrival(Connection.of(self._stack), consumers))
            await arriving.begin()
            accepted = len(submit())
            standings = [each async for each in arriving.followed(accepted, WAIT_SECONDS)]
            with pytest.raises(NotAllCounted) as missed:
                async for _ in arriving.followed(accepted + 1, patience_seconds=1.0):
                    pass
            return standings[-1], str(missed.value)

    def customers_of(self, submission_ids: Sequence[str]) -> list[Any]:
        """The living customer of each submission, None where there is none any more."""
        found = self.ask("privacy_officer", "dedup", "POST", "/v1/resolutions:lookup", json={"submission_ids": submission_ids}).json()["customers"]
        return [found[each] for each in submission_ids]

    def look_up(self, role: Role, phone: str) -> list[dict[str, Any]]:
        """Customers with this phone, as somebody of this role sees them."""
        found = self.ask(role, "profile", "POST", "/v1/customers:lookup", json={"type": "phone", "value": phone}).json()["customers"]
        return list(found)

    def kpis(self) -> dict[str, Any]:
        """Counts in all."""
        return dict(self.ask("analyst", "analytics", "GET", "/v1/kpis").json())

    def open_request(self, kind: str, customer_id: str) -> str:
        """The id of a new request of a data subject."""
        wish = {"kind": kind, "customer_id": customer_id}
        return str(self.ask("privacy_officer", "privacy", "POST", "/v1/requests", json=wish).json()["request_id"])

    def wait_for_request(self, request_id: str, state: str) -> None:
        """Returns when the request has come this far."""
        read = lambda: self.ask("privacy_officer", "privacy", "GET", f"/v1/requests/{request_id}").json()  # noqa: E731
        wait_until(lambda: read()["state"] == state, f"request {state}", read)

    def answer_to(self, request_id: str, part: str) -> Any:
        """The certificate or the export of a finished request."""
        return self.ask("privacy_officer", "privacy", "GET", f"/v1/requests/{request_id}/{part}").json()

    def sweep(self, canaries: Iterable[str]) -> Report:
        """Searches everything that the installation keeps, keys and passwords apart."""
        places = self._stack.places
        folders = {"mongodb": places.mongodb, "kafka": places.kafka, "logs": places.logs}
        return asyncio.run(sweep(canaries, self._settings(), Places(folders)))

    def wait_for_figures(self) -> tuple[Mapping[object, object], Mapping[object, object]]:
        """The counters and the same figures anew from the rows, once nothing is left to be folded."""
        return asyncio.run(self._figures())

    async def _figures(self) -> tuple[Mapping[Any, Any], Mapping[Any, Any]]:
        settings = self._settings()
        store = await Store.connect(settings.mongodb_uri, database="analytics", namespace=settings.namespace)
        deadline = time.monotonic() + WAIT_SECONDS
        try:
            while await store.collection(DIRTY_MARKS).count({}):
                assert time.monotonic() < deadline, "marks are never folded"
                await asyncio.sleep(0.2)
            return await counted(store), await recompute(store)
        finally:
            store.close()

    def _settings(self) -> Settings:
        stack = self._stack
        return Settings(
            kafka_bootstrap_servers=stack.kafka_bootstrap_servers,
            mongodb_uri=stack.mongodb_uri("operator"),
            namespace=stack.namespace,
            data_folder=stack.places.root,
            key_folder=stack.places.keys,
        )

    def _url(self, service: str, path: str) -> str:
        return f"http://127.0.0.1:{self._stack.port_of(service)}{path}"


def wait_until(condition: Callable[[], bool], what: str, last: Callable[[], object] = lambda: "") -> None:
    """Returns when the condition holds.

    Args:
        last: tells the state of things for the message, if it never does.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {WAIT_SECONDS} s; {last()}"
        time.sleep(0.2)

"""What every service's door does before and beside its routes: limits, readiness, figures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from shared.hosting import ServiceApp
from shared.hosting.health import health_router
from shared.hosting.limits import BODY_BYTES_MAX, Limits
from shared.hosting.problem import install_problem_handlers
from shared.messaging import Waiting
from shared.messaging.waiting import MEASURE_SECONDS
from shared.storage import Store


class Body(BaseModel):
    text: str


def door() -> tuple[httpx.AsyncClient, list[int]]:
    """A JSON route behind the limits, and the sizes that reached it."""
    app, taken = FastAPI(), list[int]()
    install_problem_handlers(app)

    @app.post("/v1/things")
    async def take(body: Body) -> None:
        taken.append(len(body.text))

    return httpx.AsyncClient(transport=httpx.ASGITransport(Limits(app)), base_url="http://door"), taken


async def chunks(size: int) -> AsyncIterator[bytes]:
    yield b'{"text":"'
    for _ in range(size // 1_000):
        yield b"x" * 1_000
    yield b'"}'


@pytest.mark.parametrize(("size", "status"), [(BODY_BYTES_MAX // 2, 200), (BODY_BYTES_MAX + 1_000, 413)])
async def test_a_body_that_does_not_say_how_long_it_is_meets_the_same_limit_on_a_json_route(size: int, status: int) -> None:
    # given
    client, taken = door()
    # when
    async with client:
        answer = await client.post("/v1/things", content=chunks(size), headers={"Content-Type": "application/json"})
    # then
    assert answer.request.headers.get("content-length") is None
    assert answer.status_code == status, answer.text
    assert bool(taken) == (status == 200)
    if status == 413:
        assert answer.json()["code"] == "too_large"
        assert set(answer.json()["message"]) == {"en", "zh"}


class FakeStore:
    """An empty database that counts the questions."""

    questions = 0

    async def ping(self) -> None:
        pass

    def collection(self, name: str) -> FakeStore:
        return self

    async def aggregate(self, pipeline: Any) -> list[Any]:
        self.questions += 1
        return []

    async def count(self, query: Any) -> int:
        self.questions += 1
        return 0

    async def find_one(self, query: Any, **options: Any) -> None:
        self.questions += 1


def service(joined: bool, needs: Mapping[str, Callable[[], bool]] | None = None, store: FakeStore | None = None) -> ServiceApp:
    context = SimpleNamespace(name="test", store=store or FakeStore())
    return ServiceApp(cast(Any, context), migrations=(), workers=[cast(Any, SimpleNamespace(ready=lambda: joined))], needs=needs)


async def ask(app: ServiceApp, path: str, times: int = 1) -> httpx.Response:
    host = FastAPI()
    host.include_router(health_router(app))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(host), base_url="http://service") as client:
        for _ in range(times):
            answer = await client.get(path)
    return answer


@pytest.mark.parametrize(
    ("joined", "needs", "reasons"),
    [
        (True, None, []),
        (False, None, ["no_partitions_yet"]),
        (False, {"writer_not_running": lambda: True}, []),
        (True, {"writer_not_running": lambda: False}, ["writer_not_running"]),
    ],
)
async def test_a_service_is_ready_when_it_has_what_it_says_it_needs(
    joined: bool, needs: Mapping[str, Callable[[], bool]] | None, reasons: list[str]
) -> None:
    # when
    answer = await ask(service(joined, needs), "/readyz")
    # then
    assert (answer.status_code, answer.json()["reasons"]) == (503 if reasons else 200, reasons)


async def test_however_often_somebody_asks_for_figures_the_database_is_asked_once() -> None:
    # given
    once, often = FakeStore(), FakeStore()
    # when
    await ask(service(joined=True, store=once), "/metrics")
    await ask(service(joined=True, store=often), "/metrics", times=20)
    # then
    assert once.questions == often.questions > 0


async def test_after_a_few_seconds_figures_are_measured_anew() -> None:
    # given
    store, now = FakeStore(), [100.0]
    waiting = Waiting(cast(Store, store), clock=lambda: now[0])
    await waiting.measure()
    first = store.questions
    # when
    now[0] += MEASURE_SECONDS
    await waiting.measure()
    # then
    assert store.questions == 2 * first

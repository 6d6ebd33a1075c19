"""Every door of every service, tried by everybody who may not enter. Doors are found in the applications, so a new one is covered by itself."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from shared.access import ROLES, Guard, LocalIssuer, Permission, mint_token
from shared.hosting import Settings
from shared.hosting.application import DOCUMENTS, HEALTH, build_application

SERVICES = [name for name in ("intake", "dedup", "profile", "analytics", "privacy") if importlib.util.find_spec(f"services.{name}")]
OPEN = HEALTH | DOCUMENTS
HEADERS_OF_NOBODY: tuple[dict[str, str], ...] = (
    {},
    {"Authorization": "Bearer nonsense"},
    {"Authorization": "Bearer eyJhbGciOiJub25lIn0.e30."},
    {"Authorization": "Basic YWRtaW46YWRtaW4="},
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """No server answers at these addresses: whoever is refused must be refused before anything is asked of one."""
    return Settings(kafka_bootstrap_servers="127.0.0.1:1", mongodb_uri="mongodb://127.0.0.1:1/?replicaSet=none", data_folder=tmp_path)


@pytest.fixture(params=SERVICES)
async def application(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[FastAPI]:
    service = await importlib.import_module(f"services.{request.param}.app").build(settings)
    yield build_application(service)
    service.context.store.close()


@pytest.fixture
async def client(application: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://kehu") as client:
        yield client


def doors(application: FastAPI) -> Iterator[tuple[str, str, Permission | None]]:
    """Method, path and permission of every closed door; None where the endpoint checks by itself."""
    for route in iter_route_contexts(application.routes):
        path = str(route.path)
        if path not in OPEN:
            permission = next(permissions(route.dependant), None) if hasattr(route, "dependant") else None
            for method in sorted((route.methods or {"GET"}) - {"HEAD", "OPTIONS"}):
                yield method, re.sub(r"\{[^}]+\}", str(uuid4()), path), permission


def permissions(dependant: Dependant) -> Iterator[Permission]:
    if isinstance(dependant.call, Guard):
        yield dependant.call.permission
    for each in dependant.dependencies:
        yield from permissions(each)


async def test_every_service_has_doors_and_all_of_them_are_closed(application: FastAPI) -> None:
    assert list(doors(application))


async def test_nobody_enters_without_a_valid_credential(application: FastAPI, client: httpx.AsyncClient) -> None:
    for headers in HEADERS_OF_NOBODY:
        for method, path, _ in doors(application):
            answer = await client.request(method, path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), f"{method} {path}"


async def test_no_role_enters_where_it_has_no_permission(application: FastAPI, client: httpx.AsyncClient, settings: Settings) -> None:
    key = LocalIssuer(settings.keys).signing_key()
    for role, granted in ROLES.items():
        headers = {"Authorization": f"Bearer {mint_token(key, 'somebody', [role])}"}
        for method, path, permission in doors(application):
            if permission is not None and permission not in granted:
                answer = await client.request(method, path, headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), f"{role}: {method} {path}"


async def test_in_production_the_documents_are_closed_as_well(settings: Settings) -> None:
    production = settings.model_copy(update={"environment": "production"})
    service = await importlib.import_module(f"services.{SERVICES[0]}.app").build(production)
    application = build_application(service)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://kehu") as client:
        assert {(await client.get(path)).status_code for path in DOCUMENTS} == {401}
    service.context.store.close()

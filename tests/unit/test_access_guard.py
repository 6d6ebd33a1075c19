"""Default deny. Annotations are not postponed here, because FastAPI must find the fixtures they name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI
from joserfc.jwk import OKPKey
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared.access import Access, LocalIssuer, Principal, Role, checks_access, mint_token, new_write_key
from shared.access.issuer_keys import IssuerUnreachable, JwksIssuer
from shared.hosting.problem import Problem, install_problem_handlers


@pytest.fixture
def access(tmp_path: Path) -> Access:
    return Access(tmp_path / "keys")


@pytest.fixture
def signing_key(tmp_path: Path) -> OKPKey:
    return LocalIssuer(tmp_path / "keys").signing_key()


def application(access: Access) -> FastAPI:
    app = FastAPI(openapi_url=None)
    install_problem_handlers(app)

    @app.get("/customers")
    async def customers(principal: Annotated[Principal, Depends(access.require("customer:read"))]) -> str:
        return principal.id

    return app


async def get(app: FastAPI, authorization: str | None, path: str = "/customers") -> httpx.Response:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://kehu") as client:
        return await client.get(path, headers=headers)


def bearer(key: OKPKey, *roles: Role) -> str:
    return "Bearer " + mint_token(key, "anna", roles)


async def test_who_holds_the_permission_gets_in(access: Access, signing_key: OKPKey) -> None:
    answer = await get(application(access), bearer(signing_key, "steward"))
    assert (answer.status_code, answer.json()) == (200, "anna")


async def test_who_does_not_is_told_what_is_missing(access: Access, signing_key: OKPKey) -> None:
    answer = await get(application(access), bearer(signing_key, "analyst"))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "customer:read" in answer.json()["message"]["en"]
    assert "customer:read" in answer.json()["message"]["zh"]


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer x.y.z", "Token abc", "Bearer " + "x" * 10_000])
async def test_everybody_else_gets_the_same_401(access: Access, signing_key: OKPKey, authorization: str | None) -> None:
    answer = await get(application(access), authorization)
    assert (answer.status_code, answer.json()["code"], answer.headers["www-authenticate"]) == (401, "unauthenticated", "Bearer")


async def test_the_scheme_may_be_written_in_any_case(access: Access, signing_key: OKPKey) -> None:
    principal = await access.principal_from_header("bEARER " + mint_token(signing_key, "anna", ["analyst"]))
    assert principal.id == "anna"


async def test_a_write_key_counts_only_where_a_service_knows_channels(access: Access) -> None:
    shown, stored = new_write_key()

    async def resolve(hashed: bytes) -> Principal | None:
        return Principal.of_channel("web") if hashed == stored else None

    with pytest.raises(Problem):
        await access.principal_from_header(f"Bearer {shown}")
    access.resolve_write_key = resolve
    assert (await access.principal_from_header(f"Bearer {shown}")).id == "web"
    with pytest.raises(Problem):
        await access.principal_from_header(f"Bearer {new_write_key()[0]}")


async def test_a_revoked_write_key_is_refused_at_the_next_call(access: Access) -> None:
    shown, stored = new_write_key()
    living = {stored: Principal.of_channel("web")}

    async def resolve(hashed: bytes) -> Principal | None:
        return living.get(hashed)

    access.resolve_write_key = resolve
    await access.authorise(f"Bearer {shown}", "submission:write")
    living.clear()
    with pytest.raises(Problem):
        await access.authorise(f"Bearer {shown}", "submission:write")


async def test_a_remembered_token_still_ends_with_its_time(access: Access, signing_key: OKPKey, monkeypatch: pytest.MonkeyPatch) -> None:
    token = mint_token(signing_key, "anna", ["analyst"], lifetime_seconds=5)
    await access.principal_from_header(f"Bearer {token}")
    import time

    later = time.time() + 40
    monkeypatch.setattr("time.time", lambda: later)
    with pytest.raises(Problem):
        await access.principal_from_header(f"Bearer {token}")


async def test_many_tokens_do_not_fill_the_memory(access: Access, signing_key: OKPKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.access.guard._REMEMBERED_MAX", 3)
    for number in range(10):
        await access.principal_from_header("Bearer " + mint_token(signing_key, f"p{number}", ["analyst"]))
    assert len(access._remembered) <= 3


def test_an_application_with_an_open_route_does_not_start(access: Access) -> None:
    app = application(access)
    access.assert_every_route_guarded(app)

    @app.get("/forgotten")
    async def forgotten() -> None: ...

    with pytest.raises(RuntimeError, match="/forgotten"):
        access.assert_every_route_guarded(app)
    access.assert_every_route_guarded(app, open={"/forgotten"})


def test_a_guard_of_the_router_or_of_a_dependency_counts(access: Access) -> None:
    def reader(principal: Annotated[Principal, Depends(access.require("customer:read"))]) -> str:
        return principal.id

    guarded = APIRouter(prefix="/all", dependencies=[Depends(access.require("figures:read"))])

    @guarded.get("/figures")
    async def figures() -> None: ...

    app = FastAPI(openapi_url=None)
    app.include_router(guarded)

    @app.get("/nested")
    async def nested(name: Annotated[str, Depends(reader)]) -> None: ...

    access.assert_every_route_guarded(app)


def test_raw_and_mounted_routes_must_say_that_they_check(access: Access) -> None:
    async def raw(request: Request) -> Response:
        return JSONResponse({})

    app = FastAPI(openapi_url=None)
    app.add_route("/raw", raw)
    app.mount("/static", FastAPI())
    with pytest.raises(RuntimeError, match=r"/raw, /static"):
        access.assert_every_route_guarded(app)
    checks_access(raw)
    access.assert_every_route_guarded(app, open={"/static"})


def test_an_included_router_counts_by_the_path_it_is_served_at(access: Access) -> None:
    """Else `/admin/livez` would pass for the open `/livez`."""
    router = APIRouter()

    @router.get("/livez")
    async def livez() -> None: ...

    app = FastAPI(openapi_url=None)
    app.include_router(router, prefix="/admin")
    with pytest.raises(RuntimeError, match="/admin/livez"):
        access.assert_every_route_guarded(app, open={"/livez"})


def test_a_guard_given_where_the_router_is_included_counts(access: Access) -> None:
    router = APIRouter()

    @router.get("/figures")
    async def figures() -> None: ...

    app = FastAPI(openapi_url=None)
    app.include_router(router, dependencies=[Depends(access.require("figures:read"))])
    access.assert_every_route_guarded(app)


class Issuer(httpx.AsyncBaseTransport):
    """An issuer's JWKS address."""

    def __init__(self, keys: Sequence[Mapping[str, object]]) -> None:
        self.keys = keys
        self.calls = 0
        self.status = 200

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        return httpx.Response(self.status, json={"keys": list(self.keys)}, headers={"location": "http://evil.example"})


def new_key(kid: str) -> OKPKey:
    return OKPKey.generate_key("Ed25519", {"kid": kid}, private=True)


async def test_keys_come_from_the_issuers_address_and_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = Issuer([dict(new_key("a").as_dict(private=False))])
    keys = JwksIssuer("https://issuer.example/jwks", issuer)
    assert len(await keys.find("a")) == len(await keys.find("a")) == len(await keys.find(None)) == 1
    assert issuer.calls == 1


async def test_unknown_key_names_cannot_make_us_hammer_the_issuer() -> None:
    issuer = Issuer([dict(new_key("a").as_dict(private=False))])
    keys = JwksIssuer("https://issuer.example/jwks", issuer)
    for number in range(50):
        assert await keys.find(f"unknown{number}") == []
    assert issuer.calls == 1


async def test_keys_of_other_kinds_and_private_ones_are_not_taken() -> None:
    rsa = {"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"}
    secret = {"kty": "oct", "kid": "s", "k": "c2VjcmV0"}
    broken = {"kty": "OKP", "crv": "Ed25519", "kid": "b", "x": "short"}
    issuer = Issuer([rsa, secret, broken, dict(new_key("p").as_dict(private=True)), dict(new_key("a").as_dict(private=False))])
    keys = JwksIssuer("https://issuer.example/jwks", issuer)
    assert [len(await keys.find(kid)) for kid in ("r", "s", "b", "p", "a")] == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_an_issuer_that_does_not_answer_lets_nobody_in(status: int) -> None:
    issuer = Issuer([dict(new_key("a").as_dict(private=False))])
    issuer.status = status
    with pytest.raises(IssuerUnreachable):
        await JwksIssuer("https://issuer.example/jwks", issuer).find("a")


async def test_known_keys_outlive_the_issuers_downtime(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = Issuer([dict(new_key("a").as_dict(private=False))])
    keys = JwksIssuer("https://issuer.example/jwks", issuer)
    await keys.find("a")
    issuer.status = 500
    keys._fresh_until = keys._fetch_again_at = 0.0
    assert len(await keys.find("a")) == 1
    assert issuer.calls == 2


async def test_with_a_jwks_address_the_local_issuer_does_not_count(tmp_path: Path, signing_key: OKPKey) -> None:
    access = Access(tmp_path / "keys", jwks_url="http://127.0.0.1:1/jwks")
    with pytest.raises(Problem) as refused:
        await access.principal_from_header("Bearer " + mint_token(signing_key, "anna", ["admin"]))
    assert refused.value.status == 503

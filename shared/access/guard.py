"""Access control at the HTTP doors: every route names the permission it needs, and what names none does not start."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from pathlib import Path
from typing import TypeVar

from fastapi import FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from shared.access.denials import forbidden, issuer_unreachable, unauthenticated
from shared.access.issuer_keys import IssuerKeys, IssuerUnreachable, JwksIssuer, LocalIssuer
from shared.access.principal import Principal
from shared.access.roles import Permission
from shared.access.tokens import ISSUER, TokenRefused, TokenVerifier
from shared.access.write_keys import hash_write_key, is_write_key

ResolveWriteKey = Callable[[bytes], Awaitable[Principal | None]]
Endpoint = TypeVar("Endpoint", bound=Callable[..., object])

_BEARER = "bearer "
_REMEMBERED_SECONDS = 60.0
_REMEMBERED_MAX = 1_000
_GUARDED = "__kehu_guarded__"


class Guard:
    """A FastAPI dependency: lets a principal with one permission through and hands it to the route."""

    def __init__(self, access: Access, permission: Permission) -> None:
        self._access = access
        self.permission = permission

    async def __call__(self, request: Request) -> Principal:
        """The principal; Problem 401 or 403 otherwise."""
        return await self._access.authorise(request.headers.get("authorization"), self.permission)


class Access:
    """Tells who is calling and whether they may.

    Args:
        key_folder: holds the public key of the local issuer, which counts only without `jwks_url`.
        jwks_url: key set of the issuer.
        issuer: the `iss` that tokens must carry.

    Attributes:
        resolve_write_key: set by the service that owns the channels: from the hash of a write key to its principal, None if unknown or revoked.
    """

    def __init__(self, key_folder: Path, jwks_url: str | None = None, issuer: str = ISSUER) -> None:
        keys: IssuerKeys = JwksIssuer(jwks_url) if jwks_url else LocalIssuer(key_folder)
        self._verifier = TokenVerifier(keys, issuer)
        self.resolve_write_key: ResolveWriteKey | None = None
        self._remembered: dict[bytes, tuple[Principal, float]] = {}

    def require(self, permission: Permission) -> Guard:
        """The dependency for a route: `Depends(access.require("customer:read"))`."""
        return Guard(self, permission)

    async def authorise(self, authorization: str | None, permission: Permission) -> Principal:
        """The principal behind an `Authorization` header, if it holds `permission`.

        Raises:
            Problem: 401 unknown, 403 not allowed, 503 the issuer's keys cannot be had.
        """
        principal = await self.principal_from_header(authorization)
        if not principal.may(permission):
            raise forbidden(permission)
        return principal

    async def principal_from_header(self, authorization: str | None) -> Principal:
        """The principal behind an `Authorization: Bearer ...` header, without FastAPI. Raises Problem 401 or 503."""
        if authorization is None or authorization[: len(_BEARER)].lower() != _BEARER:
            raise unauthenticated()
        credential = authorization[len(_BEARER) :].strip()
        principal = await (self._from_write_key(credential) if is_write_key(credential) else self._from_token(credential))
        if principal is None:
            raise unauthenticated()
        return principal

    async def _from_write_key(self, credential: str) -> Principal | None:
        return None if self.resolve_write_key is None else await self.resolve_write_key(hash_write_key(credential))

    async def _from_token(self, token: str) -> Principal | None:
        """Verified once a minute, since a signature costs more than the rest of a small request."""
        digest, now = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest(), time.time()
        principal, until = self._remembered.get(digest, (None, 0.0))
        if principal is not None and now < until:
            return principal
        try:
            principal, expires = await self._verifier.verify(token)
        except TokenRefused:
            return None
        except IssuerUnreachable:
            raise issuer_unreachable() from None
        self._remember(digest, principal, min(expires, now + _REMEMBERED_SECONDS))
        return principal

    def _remember(self, digest: bytes, principal: Principal, until: float) -> None:
        if len(self._remembered) >= _REMEMBERED_MAX:
            self._remembered.clear()
        self._remembered[digest] = principal, until

    def assert_every_route_guarded(self, app: FastAPI, open: Collection[str] = ()) -> None:  # noqa: A002 - says it best
        """Default deny, checked at start.

        Raises:
            RuntimeError: a route outside `open` has no guard; the message lists all of them.
        """
        unguarded = sorted({path for path, guarded in _routes(app) if not guarded and path not in open})
        if unguarded:
            raise RuntimeError(f"routes without access control: {', '.join(unguarded)}")


def checks_access(endpoint: Endpoint) -> Endpoint:
    """Marks a raw endpoint (no FastAPI dependencies) that calls `Access.authorise` itself before anything else."""
    setattr(endpoint, _GUARDED, True)
    return endpoint


def _routes(application: FastAPI) -> Iterator[tuple[str, bool]]:
    """Path of every route as it is served, included routers resolved, and whether it is guarded."""
    for route in iter_route_contexts(application.routes):
        dependant = getattr(route, "dependant", None)
        marked = getattr(route.endpoint, _GUARDED, False)
        yield str(route.path), marked or (dependant is not None and _has_guard(dependant))


def _has_guard(dependant: Dependant) -> bool:
    return isinstance(dependant.call, Guard) or any(_has_guard(each) for each in dependant.dependencies)

"""Tokens of people and services: JWTs (RFC 9068) signed with Ed25519, short-lived, so that taking a role away needs no list of revoked ones."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from joserfc.jws import extract_compact

from shared.access.issuer_keys import IssuerKeys
from shared.access.principal import Principal
from shared.access.roles import Role

ISSUER = "kehu"
AUDIENCE = "kehu"
TYPE = "at+jwt"
LIFETIME_SECONDS = 3_600
LIFETIME_SECONDS_MAX = 24 * 3_600
LEEWAY_SECONDS = 30
TOKEN_CHARACTERS_MAX = 8_192

# EdDSA is the older name of the same algorithm when the key is an Ed25519 one, which the key source ensures.
_ALGORITHMS = ("Ed25519", "EdDSA")
# No @: an e-mail address as subject would put personal data into every audit entry.
_SUBJECT = re.compile(r"[A-Za-z0-9._:|-]{1,128}")


class TokenRefused(Exception):
    """The token is not one of ours, not for us, or not valid now. Carries no detail of the token."""


def mint_token(key: OKPKey, subject: str, roles: Sequence[Role], *, issuer: str = ISSUER, lifetime_seconds: int = LIFETIME_SECONDS) -> str:
    """A signed token.

    Args:
        subject: opaque id, letters, digits and `._:|-`, at most 128.
        lifetime_seconds: at most `LIFETIME_SECONDS_MAX`.

    Raises:
        ValueError: subject or lifetime is out of bounds.
    """
    if not _SUBJECT.fullmatch(subject):
        raise ValueError("the subject must be an opaque id of letters, digits and ._:|-, at most 128")
    if not 0 < lifetime_seconds <= LIFETIME_SECONDS_MAX:
        raise ValueError(f"a token lives 1 to {LIFETIME_SECONDS_MAX} seconds")
    now = int(time.time())
    claims = {
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": subject,
        "roles": list(roles),
        "iat": now,
        "nbf": now,
        "exp": now + lifetime_seconds,
        "jti": uuid4().hex,
    }
    return jwt.encode({"alg": "Ed25519", "typ": TYPE, "kid": key.kid}, claims, key, algorithms=["Ed25519"])


class TokenVerifier:
    """Checks tokens of one issuer. What a header says (`jku`, `jwk`, `x5u`, `kid`) never adds a key, it only chooses among known ones."""

    def __init__(self, keys: IssuerKeys, issuer: str) -> None:
        self._keys = keys
        self._claims = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": AUDIENCE},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
        )

    async def verify(self, token: str) -> tuple[Principal, float]:
        """The caller, and the time (seconds since 1970) until which the token may be believed.

        Raises:
            TokenRefused: for whatever reason; the caller is told no more.
            IssuerUnreachable: its keys cannot be had now.
        """
        if len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
            raise TokenRefused
        kid = _kid_of(token)
        for key in await self._keys.find(kid):
            claims = self._claims_of(token, key)
            if claims is not None:
                return _principal(claims), float(claims["exp"])
        raise TokenRefused

    def _claims_of(self, token: str, key: OKPKey) -> dict[str, Any] | None:
        try:
            decoded = jwt.decode(token, key, algorithms=_ALGORITHMS)
            self._claims.validate(decoded.claims)
        except (JoseError, ValueError, TypeError, KeyError, RecursionError):
            # The parsers of a hostile text may raise more than their own errors; all of them mean no.
            return None
        return decoded.claims if _well_formed(decoded.header, decoded.claims) else None


def _kid_of(token: str) -> str | None:
    """The key name in the unverified header; only used to choose."""
    try:
        kid = extract_compact(token.encode()).headers().get("kid")
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        raise TokenRefused from None
    return kid if isinstance(kid, str) else None


def _well_formed(header: dict[str, Any], claims: dict[str, Any]) -> bool:
    """What RFC 9068 asks beyond the registered claims, and our own bounds."""
    roles, subject = claims.get("roles", []), claims["sub"]
    return (
        str(header.get("typ", "")).lower().removeprefix("application/") == TYPE
        and isinstance(subject, str)
        and _SUBJECT.fullmatch(subject) is not None
        and isinstance(roles, list)
        and all(isinstance(role, str) for role in roles)
        and claims["exp"] - claims["iat"] <= LIFETIME_SECONDS_MAX
    )


def _principal(claims: dict[str, Any]) -> Principal:
    return Principal.with_roles(claims["sub"], claims.get("roles", []))

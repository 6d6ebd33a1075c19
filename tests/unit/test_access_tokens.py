"""Attacks on tokens. Every one must be refused, and by the same answer; the control is that the good token passes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey

from shared.access import LocalIssuer, mint_token
from shared.access.tokens import AUDIENCE, ISSUER, TOKEN_CHARACTERS_MAX, TYPE, TokenRefused, TokenVerifier

KEY = OKPKey.generate_key("Ed25519", private=True, auto_kid=True)
STRANGER = OKPKey.generate_key("Ed25519", private=True)
NOW = int(time.time())


class OneKey:
    async def find(self, kid: str | None) -> Sequence[OKPKey]:
        return [OKPKey.import_key(KEY.as_dict(private=False))]


VERIFIER = TokenVerifier(OneKey(), ISSUER)
CLAIMS: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "roles": ["steward"], "iat": NOW, "nbf": NOW, "exp": NOW + 7_200}
HEADER: dict[str, Any] = {"alg": "Ed25519", "typ": TYPE}


def signed(claims: dict[str, Any] | None = None, header: dict[str, Any] | None = None, key: OKPKey = KEY) -> str:
    return jwt.encode(HEADER | (header or {}), CLAIMS | (claims or {}), key, algorithms=["Ed25519"])


def without(claim: str) -> str:
    return jwt.encode(HEADER, {name: value for name, value in CLAIMS.items() if name != claim}, KEY, algorithms=["Ed25519"])


def encoded(part: object) -> str:
    return base64.urlsafe_b64encode(part if isinstance(part, bytes) else json.dumps(part).encode()).rstrip(b"=").decode()


def unsigned(header: dict[str, Any], signature: bytes = b"") -> str:
    return f"{encoded(header)}.{encoded(CLAIMS)}.{encoded(signature)}"


def with_hmac(secret: bytes, alg: str = "HS256") -> str:
    head = f"{encoded({'alg': alg, 'typ': TYPE})}.{encoded(CLAIMS)}"
    return f"{head}.{encoded(hmac.digest(secret, head.encode(), hashlib.sha256))}"


def signed_by_us_but_named(alg: str) -> str:
    """A good signature under a header that names another algorithm."""
    _, _, signature = signed().split(".")
    return f"{encoded({'alg': alg, 'typ': TYPE})}.{encoded(CLAIMS)}.{signature}"


PUBLIC = KEY.as_dict(private=False)
GOOD = signed()
HEAD, BODY, SIGNATURE = GOOD.split(".")

ATTACKS: dict[str, Callable[[], str]] = {
    "alg none": lambda: unsigned({"alg": "none", "typ": TYPE}),
    "alg None": lambda: unsigned({"alg": "None", "typ": TYPE}),
    "alg NONE with signature": lambda: unsigned({"alg": "NONE", "typ": TYPE}, b"x" * 64),
    "alg empty": lambda: unsigned({"alg": "", "typ": TYPE}),
    "alg missing": lambda: unsigned({"typ": TYPE}),
    "alg a list": lambda: unsigned({"alg": ["Ed25519"], "typ": TYPE}),
    "alg null": lambda: unsigned({"alg": None, "typ": TYPE}),
    "public key as HMAC secret": lambda: with_hmac(base64.urlsafe_b64decode(str(PUBLIC["x"]) + "==")),
    "public key text as HMAC secret": lambda: with_hmac(str(PUBLIC["x"]).encode()),
    "public JWK as HMAC secret": lambda: with_hmac(json.dumps(PUBLIC).encode()),
    "empty HMAC secret": lambda: with_hmac(b""),
    "HS512": lambda: with_hmac(b"", "HS512"),
    "RS256 named": lambda: signed_by_us_but_named("RS256"),
    "ES256 named": lambda: signed_by_us_but_named("ES256"),
    "HS256 named": lambda: signed_by_us_but_named("HS256"),
    "Ed448 named": lambda: signed_by_us_but_named("Ed448"),
    "stranger's key": lambda: signed(key=STRANGER),
    "stranger's key in jwk": lambda: signed(header={"jwk": STRANGER.as_dict(private=False)}, key=STRANGER),
    "stranger's key by jku": lambda: signed(header={"jku": "http://127.0.0.1:1/keys"}, key=STRANGER),
    "stranger's key by x5u": lambda: signed(header={"x5u": "http://127.0.0.1:1/cert"}, key=STRANGER),
    "kid traversal": lambda: signed(header={"kid": "../../../../dev/null"}, key=STRANGER),
    "kid injection": lambda: signed(header={"kid": "' OR 1=1 --"}, key=STRANGER),
    "our kid, stranger's key": lambda: signed(header={"kid": KEY.kid}, key=STRANGER),
    "kid a number": lambda: unsigned({"alg": "Ed25519", "typ": TYPE, "kid": 7}),
    "kid an object": lambda: unsigned({"alg": "Ed25519", "typ": TYPE, "kid": {"$ne": ""}}),
    "crit unknown": lambda: unsigned({"alg": "Ed25519", "typ": TYPE, "crit": ["exp"], "exp": 1}, b"x" * 64),
    "b64 false": lambda: unsigned({"alg": "Ed25519", "typ": TYPE, "b64": False, "crit": ["b64"]}, b"x" * 64),
    "typ missing": lambda: signed(header={"typ": ""}),
    "typ of an id token": lambda: signed(header={"typ": "JWT"}),
    "typ of a logout token": lambda: signed(header={"typ": "logout+jwt"}),
    "aud missing": lambda: without("aud"),
    "aud wrong": lambda: signed({"aud": "other"}),
    "aud list without us": lambda: signed({"aud": ["other", "kehu2"]}),
    "aud empty list": lambda: signed({"aud": []}),
    "aud prefix": lambda: signed({"aud": "kehu.example"}),
    "iss missing": lambda: without("iss"),
    "iss wrong": lambda: signed({"iss": "https://evil.example"}),
    "iss null": lambda: signed({"iss": None}),
    "sub missing": lambda: without("sub"),
    "sub empty": lambda: signed({"sub": ""}),
    "sub an e-mail": lambda: signed({"sub": "anna@example.org"}),
    "sub with a line break": lambda: signed({"sub": "anna\nadmin"}),
    "sub too long": lambda: signed({"sub": "a" * 129}),
    "sub an object": lambda: signed({"sub": {"$gt": ""}}),
    "exp missing": lambda: without("exp"),
    "expired": lambda: signed({"exp": NOW - 120, "iat": NOW - 600}),
    "exp just beyond the leeway": lambda: signed({"exp": NOW - 31, "iat": NOW - 600}),
    "exp text": lambda: signed({"exp": "never"}),
    "exp null": lambda: signed({"exp": None}),
    "exp infinite": lambda: signed({"exp": float("inf")}),
    "exp not a number": lambda: signed({"exp": float("nan")}),
    "exp huge": lambda: signed({"exp": 10**400}),
    "lives longer than a day": lambda: signed({"exp": NOW + 90_000}),
    "iat missing": lambda: without("iat"),
    "iat in the future": lambda: signed({"iat": NOW + 3_000, "nbf": NOW, "exp": NOW + 6_000}),
    "not valid yet": lambda: signed({"nbf": NOW + 7_000}),
    "roles a text": lambda: signed({"roles": "admin"}),
    "roles nested": lambda: signed({"roles": [["admin"]]}),
    "roles an object": lambda: signed({"roles": {"admin": True}}),
    "claims a list": lambda: jwt_of_bytes(b"[1]"),
    "claims a number": lambda: jwt_of_bytes(b"1"),
    "claims no JSON": lambda: jwt_of_bytes(b"{"),
    "claims empty": lambda: jwt_of_bytes(b""),
    "claims 100,000 deep": lambda: jwt_of_bytes(b"[" * 3_000),
    "header no JSON": lambda: f"{encoded(b'{')}.{BODY}.{SIGNATURE}",
    "header a list": lambda: f"{encoded([])}.{BODY}.{SIGNATURE}",
    "header a text": lambda: f"{encoded('x')}.{BODY}.{SIGNATURE}",
    "header deep": lambda: f"{encoded(b'[' * 3_000)}.{BODY}.{SIGNATURE}",
    "header not base64": lambda: f"!!!.{BODY}.{SIGNATURE}",
    "other claims, same signature": lambda: f"{HEAD}.{encoded(CLAIMS | {'roles': ['admin']})}.{SIGNATURE}",
    "no signature": lambda: f"{HEAD}.{BODY}.",
    "no signature part": lambda: f"{HEAD}.{BODY}",
    "signature cut": lambda: GOOD[:-4],
    "signature of zeros": lambda: f"{HEAD}.{BODY}.{encoded(bytes(64))}",
    "four parts": lambda: GOOD + ".x",
    "five parts, encrypted form": lambda: "a.b.c.d.e",
    "a JSON serialisation": lambda: json.dumps({"payload": BODY, "protected": HEAD, "signature": SIGNATURE}),
    "empty": lambda: "",
    "dots": lambda: "..",
    "garbage": lambda: "\x00\xff garbage",
    "not ASCII": lambda: "令牌",
    "oversized": lambda: GOOD + "a" * TOKEN_CHARACTERS_MAX,
    "oversized claims": lambda: signed({"padding": "x" * TOKEN_CHARACTERS_MAX}),
}


def jwt_of_bytes(claims: bytes) -> str:
    from joserfc import jws

    return jws.serialize_compact(HEADER, claims, KEY, algorithms=["Ed25519"])


async def test_a_good_token_names_its_bearer_and_roles() -> None:
    principal, until = await VERIFIER.verify(GOOD)
    assert (principal.kind, principal.id, principal.roles) == ("person", "anna", ("steward",))
    assert until == NOW + 7_200


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
async def test_an_attack_is_refused(attack: Callable[[], str]) -> None:
    with pytest.raises(TokenRefused):
        await VERIFIER.verify(attack())


async def test_every_changed_character_is_refused() -> None:
    """The last character of a part carries bits that base64 ignores, so those are left out."""
    for at in range(0, len(GOOD) - 1, 3):
        if GOOD[at] == "." or GOOD[at + 1] == ".":
            continue
        changed = GOOD[:at] + ("A" if GOOD[at] != "A" else "B") + GOOD[at + 1 :]
        with pytest.raises(TokenRefused):
            await VERIFIER.verify(changed)


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
async def test_the_older_name_of_the_algorithm_is_understood() -> None:
    token = jwt.encode(HEADER | {"alg": "EdDSA"}, CLAIMS, KEY, algorithms=["EdDSA"])
    assert (await VERIFIER.verify(token))[0].id == "anna"


async def test_a_clock_that_is_a_little_off_does_no_harm() -> None:
    await VERIFIER.verify(signed({"nbf": int(time.time()) + 20}))


async def test_unknown_roles_are_carried_but_grant_nothing() -> None:
    principal, _ = await VERIFIER.verify(signed({"roles": ["root", "analyst"]}))
    assert principal.permissions == {"figures:read", "documents:read"}


async def test_a_token_without_roles_may_do_nothing() -> None:
    principal, _ = await VERIFIER.verify(without("roles"))
    assert principal.permissions == frozenset()


async def test_what_we_mint_verifies_with_the_public_half(tmp_path: Path) -> None:
    issuer = LocalIssuer(tmp_path / "keys")
    token = mint_token(issuer.signing_key(), "loader", ["service"])
    principal, _ = await TokenVerifier(LocalIssuer(tmp_path / "keys"), ISSUER).verify(token)
    assert (principal.kind, principal.id) == ("service", "loader")


async def test_before_the_first_token_nobody_gets_in(tmp_path: Path) -> None:
    with pytest.raises(TokenRefused):
        await TokenVerifier(LocalIssuer(tmp_path / "keys"), ISSUER).verify(GOOD)


def test_the_issuers_key_is_made_once_and_private(tmp_path: Path) -> None:
    first = LocalIssuer(tmp_path / "keys").signing_key()
    second = LocalIssuer(tmp_path / "keys").signing_key()
    assert first.as_dict(private=True) == second.as_dict(private=True)
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "keys").iterdir()} == {0}
    assert '"d"' not in (tmp_path / "keys" / "issuer.pub.json").read_text()


@pytest.mark.parametrize("subject", ["", "anna@example.org", "a b", "x" * 129, "a\n"])
def test_no_token_is_minted_for_a_subject_that_may_be_personal(subject: str) -> None:
    with pytest.raises(ValueError, match="opaque id"):
        mint_token(KEY, subject, ["analyst"])


@pytest.mark.parametrize("seconds", [0, -1, 86_401])
def test_no_token_is_minted_for_ever(seconds: int) -> None:
    with pytest.raises(ValueError, match="lives"):
        mint_token(KEY, "anna", ["analyst"], lifetime_seconds=seconds)

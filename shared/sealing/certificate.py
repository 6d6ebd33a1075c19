"""Signing what an erasure leaves behind: canonical JSON under Ed25519, verifiable offline with the public key alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Json = str | int | bool | None | Sequence["Json"] | Mapping[str, "Json"]
_INTEGER_MAX = 2**53 - 1


def canonical_json(value: Json) -> bytes:
    """The one way to write this value down: RFC 8785 for what certificates hold (ASCII member names, no fractions).

    Raises:
        ValueError: a float, an integer beyond 2^53 - 1, a member name that is not ASCII text, or any other type.
    """
    _check(value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def verify(message: bytes, signature: bytes, public_key: bytes) -> bool:
    """Whether `signature` (64 bytes) was made over exactly `message` by the owner of `public_key` (32 raw bytes)."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def public_key_pem(public_key: bytes) -> str:
    """The public key as a PEM file, for anybody's tool."""
    return Ed25519PublicKey.from_public_bytes(public_key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _check(value: object) -> None:
    match value:
        case None | str() | bool():
            return
        case int():
            if abs(value) > _INTEGER_MAX:
                raise ValueError("integers beyond 2^53 - 1 are not the same in every reader")
        case Mapping():
            if not all(isinstance(name, str) and name.isascii() for name in value):
                raise ValueError("member names must be ASCII text")
            for member in value.values():
                _check(member)
        case list() | tuple():
            for item in value:
                _check(item)
        case _:
            raise ValueError(f"no canonical form for {type(value).__name__}")

"""Tries to open whatever may be sealed, with every key that is left."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

import msgspec

from shared.sealing import DataKey, SealBroken, body_aad

VERSIONS = (1, 2, 3)
SEALED_BYTES_MIN = 29
"""Nonce and tag of AES-GCM, and at least one byte between them."""
TRIALS_MAX = 2_000_000
"""A trial costs some 3 us. The key named beside a value is tried in any case; all others are while this budget lasts."""


class Opener:
    """Opens sealed values by the keys that are left.

    Args:
        keys: every key that still opens.
    """

    def __init__(self, keys: Mapping[UUID, DataKey]) -> None:
        self._keys = keys
        self._trials_left = TRIALS_MAX

    @property
    def keys_left(self) -> int:
        """How many keys there are to try."""
        return len(self._keys)

    def open(self, sealed: bytes, beside: Iterable[UUID]) -> bytes | None:
        """The plain bytes, or None if no key that is left opens them.

        Args:
            beside: ids that stand in the same document or record; its own key is nearly always among them.
        """
        for key_id in dict.fromkeys(beside):
            if key_id in self._keys and (plain := self._try(key_id, sealed)) is not None:
                return plain
        if self._trials_left <= 0:
            return None
        self._trials_left -= len(self._keys) * len(VERSIONS)
        return next((plain for key_id in self._keys if (plain := self._try(key_id, sealed)) is not None), None)

    def _try(self, key_id: UUID, sealed: bytes) -> bytes | None:
        for version in VERSIONS:
            try:
                return self._keys[key_id].unseal(sealed, body_aad(key_id, version))
            except SealBroken:
                continue
        return None


def leaves(value: Any) -> Iterator[bytes]:
    """Every text and every binary value inside, as bytes; nested JSON, MessagePack and base64 are looked into."""
    match value:
        case str():
            yield value.encode("utf-8", "surrogatepass")
            yield from _inner(_from_base64(value))
        case bytes():
            yield value
            yield from _inner(value)
        case Mapping():
            for name, member in value.items():
                yield from leaves(name)
                yield from leaves(member)
        case list() | tuple() | set():
            for item in value:
                yield from leaves(item)
        case UUID():
            yield value.bytes
        case None:
            return
        case _:
            yield str(value).encode()


def ids_in(content: Iterable[bytes]) -> Iterator[UUID]:
    """Whatever may be an id: 16 bytes, or the text of a UUID."""
    for leaf in content:
        if len(leaf) == 16:
            yield UUID(bytes=leaf)
        elif len(leaf) in (32, 36):
            try:
                yield UUID(leaf.decode())
            except ValueError:
                continue


def _inner(content: bytes | None) -> Iterator[bytes]:
    if content is None or len(content) < 2:
        return
    yield content
    if content[:1] in (b"{", b"["):
        yield from _decoded(content, msgspec.json.decode)
    elif content[0] in range(0x80, 0xE0):  # A MessagePack map or array, as in outbox documents.
        yield from _decoded(content, msgspec.msgpack.decode)


def _decoded(content: bytes, decode: Any) -> Iterator[bytes]:
    try:
        inner = decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    if isinstance(inner, dict | list):
        yield from leaves(inner)


def _from_base64(text: str) -> bytes | None:
    if len(text) < SEALED_BYTES_MIN or len(text) % 4:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None

"""Tries to open whatever may be sealed, with every key that is left."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any
from uuid import UUID

import msgspec

from shared.sealing import DataKey, SealBroken, body_aad

VERSIONS = (1, 2, 3)
SEALED_BYTES_MIN = 29
"""Nonce and tag of AES-GCM, and at least one byte between them."""
NAMED_MAX = 16
"""Ids near a value that are tried as its key. The right one stands next to it; all those of a document of a thousand bodies would be quadratic."""
TRIALS_MAX = 2_000_000
"""A trial costs some 3 us. The keys named near a value are tried in any case; all others are while this budget lasts."""


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

    def opened(self, content: Sequence[bytes]) -> Iterator[tuple[bytes, UUID | None]]:
        """Everything in one document or record that may be sealed: what it says and the key that opens it, or itself and None.

        Args:
            content: all its values in their order, so that a key can be sought near what it sealed.
        """
        sealed = [place for place, leaf in enumerate(content) if len(leaf) >= SEALED_BYTES_MIN and not leaf.isascii()]
        named = [(place, key_id) for place, key_id in ids_in(content) if key_id in self._keys] if sealed else []
        for place in sealed:
            yield self._open(content[place], islice(_nearest_first(named, place), NAMED_MAX))

    def _open(self, sealed: bytes, beside: Iterable[UUID]) -> tuple[bytes, UUID | None]:
        for key_id in beside:
            if (plain := self._try(key_id, sealed)) is not None:
                return plain, key_id
        if self._trials_left > 0:
            self._trials_left -= len(self._keys) * len(VERSIONS)
            for key_id in self._keys:
                if (plain := self._try(key_id, sealed)) is not None:
                    return plain, key_id
        return sealed, None

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


def ids_in(content: Iterable[bytes]) -> Iterator[tuple[int, UUID]]:
    """Whatever may be an id, with its place: 16 bytes, or the text of a UUID."""
    for place, leaf in enumerate(content):
        if len(leaf) == 16:
            yield place, UUID(bytes=leaf)
        elif len(leaf) in (32, 36):
            try:
                yield place, UUID(leaf.decode())
            except ValueError:
                continue


def _nearest_first(named: Sequence[tuple[int, UUID]], place: int) -> Iterator[UUID]:
    """Ids in the order of their distance, so that in a document of a thousand bodies each meets its own key first."""
    after = bisect_left(named, place, key=itemgetter(0))
    before = after - 1
    while before >= 0 or after < len(named):
        if after == len(named) or (before >= 0 and place - named[before][0] <= named[after][0] - place):
            yield named[before][1]
            before -= 1
        else:
            yield named[after][1]
            after += 1


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

"""The audit chain: every entry carries the hash of the one before, so none can be changed, dropped or moved unseen."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class Entry:
    """One fact for the auditor; opaque ids only.

    Attributes:
        position: 1, 2, 3 and so on, without a gap.
        previous: hash of the entry before, `GENESIS` for the first.
        digest: SHA-256 of the document the entry vouches for, hex; empty if there is none.
        at: ISO 8601, UTC.
    """

    position: int
    previous: str
    kind: str
    request_id: str
    digest: str
    at: str

    @property
    def hash(self) -> str:
        """SHA-256 over all members, hex."""
        return digest_of([self.position, self.previous, self.kind, self.request_id, self.digest, self.at])


def canonical(document: Any) -> bytes:
    """The one JSON form that is hashed and signed: sorted members, no spaces, UTF-8."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest_of(document: Any) -> str:
    """SHA-256 of the canonical form, hex."""
    return sha256(canonical(document)).hexdigest()


def first_break(entries: Iterable[tuple[Entry, str]], head: Mapping[str, Any] | None = None) -> int | None:
    """Position of the first entry that does not fit, or None when the chain is whole.

    Args:
        entries: each entry with the hash that was stored for it, in order of position.
        head: the stored `position` and `hash` of the last entry; shows a cut-off end.
    """
    position, previous = 0, GENESIS
    for entry, stored in entries:
        position += 1
        if (entry.position, entry.previous, entry.hash) != (position, previous, stored):
            return position
        previous = stored
    if head is not None and (head["position"], head["hash"]) != (position, previous):
        return position + 1
    return None

"""The erasure certificate: signed JSON without personal data that anybody can verify offline.

There are two revisions. The first is signed when the live stores are done (`closed_at`). The second repeats it
with `unrecoverable_at`, signed once every key slot that the destroyed keys lay in has been rotated; it carries
the digest of the first in `supersedes`, so both remain proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from services.privacy.domain.audit import canonical, digest_of
from shared.contracts.privacy import UNREADABLE_DEAD_LETTERS

LASTING = ("topics", "quarantine", "dead letters")
"""What a rotation does not end."""
FORMAT = "kehu-erasure-certificate/1"
SLOT_BITS = 12


def slot_of(key_id: UUID) -> int:
    """The key slot a key is wrapped under: the first 12 bits of its id."""
    return int.from_bytes(key_id.bytes[:2]) >> (16 - SLOT_BITS)


def key_hashes(key_ids: Iterable[UUID]) -> list[str]:
    """SHA-256 of each key id, sorted: proves which keys went to whoever knows an id, and names none to others."""
    return sorted(sha256(key_id.bytes).hexdigest() for key_id in key_ids)


def first_revision(
    *,
    request_id: UUID,
    scope: Iterable[UUID],
    holders: Mapping[str, Mapping[str, int]],
    waited_for: Iterable[str],
    key_ids: Iterable[UUID],
    requested_at: datetime,
    closed_at: datetime,
    position: int,
    previous: str,
) -> dict[str, Any]:
    """What is certified when the live stores are done, and no process holds a destroyed key in memory."""
    keys = set(key_ids)
    return {
        "format": FORMAT,
        "revision": 1,
        "request_id": str(request_id),
        "scope": {"customers": sorted(str(customer) for customer in scope)},
        "holders": {holder: dict(sorted(counts.items())) for holder, counts in sorted(holders.items())},
        "waited_for": sorted(waited_for),
        "keys": {"count": len(keys), "hashes": key_hashes(keys), "slots": sorted({slot_of(key) for key in keys})},
        "requested_at": requested_at.isoformat(),
        "closed_at": closed_at.isoformat(),
        "unrecoverable_at": None,
        "pending": _pending(bool(keys)) + _unreadable(holders),
        "audit": {"position": position, "previous": previous},
    }


def _pending(any_keys: bool) -> list[str]:
    if not any_keys:
        return []
    return [
        "key slots: rotation makes older copies of the wrapped keys unreadable",
        "topics: sealed records go with retention, compacted ones with the next compaction",
        "quarantine: what the door set aside is nobody's yet; it is sealed and goes when its time is over, 7 days unless set otherwise",
    ]


def _unreadable(holders: Mapping[str, Mapping[str, int]]) -> list[str]:
    counts = {holder: counts[UNREADABLE_DEAD_LETTERS] for holder, counts in holders.items() if counts.get(UNREADABLE_DEAD_LETTERS)}
    return [
        f"dead letters: {count} at {holder} cannot be read by anybody and may be anybody's until they are discarded"
        for holder, count in counts.items()
    ]


def second_revision(first: Mapping[str, Any], *, rotated_at: datetime, position: int, previous: str) -> dict[str, Any]:
    """The same certificate once every touched slot was rotated after `closed_at`."""
    return {
        **first,
        "revision": 2,
        "supersedes": digest_of(first),
        "unrecoverable_at": rotated_at.isoformat(),
        "pending": [item for item in first["pending"] if item.startswith(LASTING)],
        "audit": {"position": position, "previous": previous},
    }


def signed(body: Mapping[str, Any], *, sign: Callable[[bytes], bytes], public_key: bytes) -> dict[str, Any]:
    """Body, signature over its canonical form, and the public key (32 bytes) as hex."""
    return {
        "certificate": dict(body),
        "signature": {"algorithm": "Ed25519", "public_key": public_key.hex(), "value": sign(canonical(body)).hex()},
    }


def verify(document: Mapping[str, Any], *, check: Callable[[bytes, bytes, bytes], bool], public_key: bytes) -> bool:
    """Whether `public_key` signed exactly this certificate. Needs no server.

    Args:
        check: (message, signature, public key) -> valid, as `shared.sealing.verify`.
        public_key: the installation's key, obtained on another way than with the document itself.
    """
    try:
        body, signature = document["certificate"], document["signature"]
        return (
            set(document) == {"certificate", "signature"}
            and signature == {"algorithm": "Ed25519", "public_key": public_key.hex(), "value": signature["value"]}
            and check(canonical(body), bytes.fromhex(signature["value"]), public_key)
        )
    except (KeyError, TypeError, ValueError):
        return False

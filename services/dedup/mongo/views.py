"""What the HTTP doors read: ids, types and times only, never a value or a token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.dedup.mongo.documents import ENTITIES, IDENTIFIERS, MERGE_LOG, SIGNATURES, SOURCE_RECORDS, Document, log_of
from services.dedup.mongo.erasures import MongoErasures
from services.dedup.ports import MoveLog
from shared.storage import Store

RECORDS_MAX = 1_000
"""Source records that one answer lists."""


class MongoViews:
    """Views of single customers and submissions, and of the merge log."""

    def __init__(self, store: Store) -> None:
        self._erasures = MongoErasures(store)
        self._entities, self._signatures = store.collection(ENTITIES), store.collection(SIGNATURES)
        self._records, self._identifiers = store.collection(SOURCE_RECORDS), store.collection(IDENTIFIERS)
        self._log = store.collection(MERGE_LOG)

    async def resolution(self, customer: UUID) -> Document | None:
        """Why this customer is one person; None if the id was never given."""
        holder = await self._erasures.holder_of(customer)
        entity = await self._entities.find_one({"_id": holder.bytes})
        if entity is None:
            return None
        aliases = await self._erasures.aliases_of(holder)
        signatures = await self._signatures.find({"customer": holder.bytes})
        return {
            "customer_id": str(holder),
            "asked_for": str(customer),
            "state": entity["state"],
            "version": entity["version"],
            "submissions": entity["submissions"],
            "aliases": [str(each) for each in aliases],
            "identifiers": await self._held(signatures),
            "source_records": await self._source_records(signatures),
            "merges": [merge_view(each) for each in await self._logs_touching([holder, *aliases])],
        }

    async def trace(self, submission: UUID) -> list[Document]:
        """Steps of this submission's life in dedup."""
        row = await self._records.find_one({"_id": submission.bytes})
        if row is None:
            return []
        if row["state"] == "erased":
            return [{"step": "erased", "at": None, "detail": {}}]
        steps = [_step("resolved", row["at"], customer_id=UUID(bytes=row["customer"]), matched_on=row["matched"], assignment=row["assignment"])]
        founder = UUID(bytes=row["signature"])
        logs = await self._log.find({"moves.founders": founder.bytes, "assignment": {"$gt": row["assignment"]}}, sort=[("assignment", 1)])
        return steps + [_moved(log_of(each)) for each in logs]

    async def merges(self, limit: int, before: datetime | None) -> list[Document]:
        """The newest rows of the merge log, from before a time on."""
        wanted: Document = {} if before is None else {"at": {"$lt": before}}
        return [merge_view(log_of(row)) for row in await self._log.find(wanted, sort=[("at", -1), ("_id", 1)], limit=limit)]

    async def customers_of(self, submissions: Sequence[UUID]) -> dict[UUID, UUID | None]:
        """The living customer of each submission; None where there is none, or none any more."""
        found = await self._records.find_by_ids([each.bytes for each in submissions], projection=["state", "signature"])
        founders = {row["signature"] for row in found.values() if row["state"] == "resolved"}
        rows = await self._signatures.find({"founder": {"$in": list(founders)}}, projection=["founder", "customer"])
        holders = {row["founder"]: UUID(bytes=row["customer"]) for row in rows}
        return {each: holders.get(found[each.bytes].get("signature", b"")) if each.bytes in found else None for each in submissions}

    async def _held(self, signatures: list[Document]) -> list[Document]:
        """How many values of each kind the customer holds, and how many of them link nobody because they are shared or disputed."""
        kinds = {token: kind for row in signatures for token, kind in zip(row["tokens"], row["kinds"], strict=True)}
        rows = await self._identifiers.find_by_ids(kinds)
        return [
            {
                "kind": kind,
                "values": sum(1 for each in kinds.values() if each == kind),
                "generic": sum(1 for token, row in rows.items() if kinds[token] == kind and row["generic"]),
                "contested": sum(1 for token, row in rows.items() if kinds[token] == kind and row["contested"]),
            }
            for kind in sorted(set(kinds.values()))
        ]

    async def _source_records(self, signatures: list[Document]) -> list[Document]:
        wanted = {"signature": {"$in": [row["founder"] for row in signatures]}, "state": "resolved"}
        rows = await self._records.find(
            wanted, projection=["matched", "at", "assignment", "envelope"], sort=[("at", 1), ("_id", 1)], limit=RECORDS_MAX
        )
        return [
            {
                "submission_id": str(UUID(bytes=row["_id"])),
                "matched_on": row["matched"],
                "resolved_at": row["at"].isoformat(),
                "channel_id": row["envelope"]["channel_id"],
                "kind": row["envelope"]["kind"],
            }
            for row in rows
        ]

    async def _logs_touching(self, customers: list[UUID]) -> list[MoveLog]:
        rows = await self._log.find({"touched": {"$in": [each.bytes for each in customers]}}, sort=[("at", 1), ("_id", 1)], limit=RECORDS_MAX)
        return [log_of(row) for row in rows]


def merge_view(log: MoveLog) -> Document:
    """One row of the merge log as people read it."""
    return {
        "merge_id": str(log.id),
        "customer_id": str(log.target),
        "gained_from": [{"customer_id": str(move.source), "absorbed": move.absorbed} for move in log.moves],
        "submissions": log.submissions,
        "assignment": log.assignment,
        "matched_on": list(log.matched),
        "cause_submission_id": str(log.cause),
        "at": log.at.isoformat(),
        "open": log.open,
    }


def _moved(log: MoveLog) -> Document:
    return _step("moved", log.at, customer_id=log.target, merge_id=log.id, matched_on=list(log.matched), assignment=log.assignment)


def _step(step: str, at: datetime, **detail: Any) -> Document:
    texts: Mapping[str, Any] = {name: str(value) if isinstance(value, UUID) else value for name, value in detail.items()}
    return {"step": step, "at": at.isoformat(), "detail": dict(texts)}

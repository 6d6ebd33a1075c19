"""Dedup's documents, known to this package only.

- `source_records` `{_id: submission, state: resolved | erased, customer, assignment, signature, matched, at, envelope, sealed}`: as received.
  `signature` is the founder of the record's signature; where the record belongs *now* is the signature's customer, so a move rewrites none.
- `signatures` `{_id, tokens, kinds, name, birth, customer, founder, assignment}`: one per distinct set of matching keys.
- `identifiers` `{_id: token, kind, generic, contested, decisions}`: what every decision about a token writes, so that two of them conflict.
- `entities` `{_id: customer, version, submissions, state: active | alias | erased, merged_into, founded_by, decisions}`.
- `merge_log`: one row per customer that gained from others, with the membership before; `open` until its last part is published.
- `erasures`: erasure requests and how far they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from services.dedup.domain.model import MatchingKey, Placed, Signature
from services.dedup.ports import DecidedEntity, FoundedEntity, LoggedMove, MoveLog, SourceRecord
from shared.contracts.submission import Submission
from shared.failpoints import mutant
from shared.storage import InsertOne, ReplaceOne, UpdateOne, WriteOperation

SOURCE_RECORDS, SIGNATURES, IDENTIFIERS, ENTITIES = "source_records", "signatures", "identifiers", "entities"
MERGE_LOG, ERASURES = "merge_log", "erasures"
Document = dict[str, Any]


def placed_of(row: Mapping[str, Any]) -> Placed:
    """A stored signature."""
    keys = tuple(MatchingKey(token, kind) for token, kind in zip(row["tokens"], row["kinds"], strict=True))
    signature = Signature(row["_id"], keys, row["name"], row["birth"])
    return Placed(signature, UUID(bytes=row["customer"]), UUID(bytes=row["founder"]), row["assignment"])


def record_written(record: SourceRecord, at: datetime) -> WriteOperation:
    """A resolved source record, kept as received."""
    envelope = msgspec.to_builtins(record.submission, builtin_types=(bytes,))
    sealed = envelope.pop("sealed")
    del envelope["submission_id"]
    row = {
        "_id": record.submission.submission_id.bytes,
        "state": "resolved",
        "customer": record.customer.bytes,
        "assignment": record.assignment,
        "signature": record.founder.bytes,
        "matched": list(record.matched),
        "at": at,
        "envelope": envelope,
        "sealed": sealed,
    }
    if mutant("no_id_guard"):  # An insert would be a second guard, and the mutant shall have none.
        return ReplaceOne({"_id": row["_id"]}, row, upsert=True)
    return InsertOne(row)


def record_attached(submission: UUID, customer: UUID, founder: UUID) -> UpdateOne:
    """A dead letter as a row of its customer, for the moment until it is erased; one that was resolved after all stays as it is."""
    first = {"state": "resolved", "customer": customer.bytes, "assignment": 0, "signature": founder.bytes, "matched": []}
    return UpdateOne({"_id": submission.bytes}, {"$setOnInsert": first}, upsert=True)


def submission_of(row: Mapping[str, Any]) -> Submission:
    """The submission as it was received."""
    return msgspec.convert(
        row["envelope"] | {"submission_id": UUID(bytes=row["_id"]), "sealed": bytes(row["sealed"])}, Submission, builtin_types=(bytes, UUID)
    )


def signature_founded(placed: Placed) -> InsertOne[Document]:
    """A signature seen for the first time."""
    signature = placed.signature
    return InsertOne(
        {
            "_id": signature.id,
            "tokens": [key.token for key in signature.keys],
            "kinds": [key.kind for key in signature.keys],
            "name": signature.name,
            "birth": signature.birth,
            "customer": placed.customer.bytes,
            "founder": placed.founder.bytes,
            "assignment": placed.assignment,
        }
    )


def signature_moved(placed: Placed) -> UpdateOne:
    """A signature, and with it all its submissions, goes to another customer."""
    return UpdateOne({"_id": placed.signature.id}, {"$set": {"customer": placed.customer.bytes, "assignment": placed.assignment}})


def identifier_decided(key: MatchingKey, generic: bool, contested: bool) -> UpdateOne:
    """Writes a token that a decision read; the counter makes it a write even if nothing else changes."""
    return UpdateOne(
        {"_id": key.token}, {"$set": {"kind": key.kind, "generic": generic, "contested": contested}, "$inc": {"decisions": 1}}, upsert=True
    )


def entity_founded(entity: FoundedEntity) -> InsertOne[Document]:
    """A new customer."""
    return InsertOne(
        {
            "_id": entity.customer.bytes,
            "version": entity.version,
            "submissions": entity.submissions,
            "state": "active",
            "merged_into": None,
            "founded_by": entity.founder.bytes,
            "decisions": 1,
        }
    )


def entity_decided(entity: DecidedEntity) -> UpdateOne:
    """Writes a customer that a decision read, and what the decision changed about it."""
    change: Document = {"version": entity.version}
    if entity.merged_into is not None:
        change |= {"state": "alias", "merged_into": entity.merged_into.bytes}
    return UpdateOne({"_id": entity.customer.bytes}, {"$set": change, "$inc": {"submissions": entity.gained, "decisions": 1}})


def log_written(log: MoveLog) -> InsertOne[Document]:
    """A new row of the merge log, naming every customer it touches."""
    moves = [
        {"source": move.source.bytes, "absorbed": move.absorbed, "founders": [each.bytes for each in move.founders], "parts": move.parts}
        for move in log.moves
    ]
    return InsertOne(
        {
            "_id": log.id.bytes,
            "target": log.target.bytes,
            "touched": [log.target.bytes, *(move.source.bytes for move in log.moves)],
            "moves": moves,
            "assignment": log.assignment,
            "cause": log.cause.bytes,
            "matched": list(log.matched),
            "at": log.at,
            "submissions": log.submissions,
            **log_progress(log),
        }
    )


def log_progress(log: MoveLog) -> Document:
    """How far the parts of a log are published."""
    return {"open": log.open, "move": log.move, "part": log.part, "after": None if log.after is None else log.after.bytes}


def log_of(row: Mapping[str, Any]) -> MoveLog:
    """A row of the merge log."""
    moves = tuple(
        LoggedMove(UUID(bytes=each["source"]), each["absorbed"], tuple(UUID(bytes=one) for one in each["founders"]), each["parts"])
        for each in row["moves"]
    )
    return MoveLog(
        UUID(bytes=row["_id"]),
        UUID(bytes=row["target"]),
        moves,
        row["assignment"],
        UUID(bytes=row["cause"]),
        tuple(row["matched"]),
        row["at"],
        row["submissions"],
        row["open"],
        row["move"],
        row["part"],
        None if row["after"] is None else UUID(bytes=row["after"]),
    )

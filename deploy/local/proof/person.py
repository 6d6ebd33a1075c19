"""Everything that the sources said about one customer, opened as long as its keys live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from deploy.local.connection import CommandFailed, Connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.contracts.submission import Submission, SubmissionBody
    from shared.sealing import KeyRing
    from shared.storage import Store, Transaction


@dataclass(frozen=True, slots=True)
class Person:
    """A customer's submissions; their ids are also the ids of the keys that seal them."""

    submissions: tuple[UUID, ...]
    bodies: tuple[SubmissionBody, ...]


async def person_of(connection: Connection, customer: UUID) -> Person:
    """The person behind a customer id, also one that was merged away.

    Raises:
        CommandFailed: nobody living has this id, or MongoDB does not answer.
    """
    from shared.sealing import KeyRing, LocalKeyFile

    store = await connection.store("dedup")
    try:
        submissions = await _submissions(store, customer)
        if not submissions:
            raise CommandFailed("no living customer has this id; there is nothing to prove", "没有此编号的在册客户，无可证明")
        ring = KeyRing(store.other("keyring"), LocalKeyFile.open(connection.key_folder), cache_seconds=0)
        return Person(tuple(each.submission_id for each in submissions), await _opened(submissions, ring))
    finally:
        store.close()


async def living_keys(connection: Connection, key_ids: set[UUID]) -> set[UUID]:
    """Those of these keys that still open what they sealed.

    Raises:
        CommandFailed: MongoDB does not answer.
    """
    store = await connection.store("keyring")
    try:
        rows = await store.collection("keys").find_by_ids(each.bytes for each in key_ids)
        return {UUID(bytes=raw_id) for raw_id, row in rows.items() if row["wrapped"] is not None}
    finally:
        store.close()


async def _submissions(store: Store, customer: UUID) -> Sequence[Submission]:
    from services.dedup.mongo import MongoCustomerRecords

    async def read(transaction: Transaction) -> Sequence[Submission]:
        return await MongoCustomerRecords(store).of_customer(customer, transaction)

    return await store.transaction(read)


async def _opened(submissions: Sequence[Submission], ring: KeyRing) -> tuple[SubmissionBody, ...]:
    import msgspec

    from shared.contracts.submission import SubmissionBody
    from shared.sealing import body_aad

    keys = await ring.open(each.submission_id for each in submissions)
    living = ((each, key) for each in submissions if (key := keys[each.submission_id]) is not None)
    plain = (key.unseal(each.sealed, body_aad(each.submission_id, each.body_version)) for each, key in living)
    return tuple(msgspec.json.decode(each, type=SubmissionBody) for each in plain)

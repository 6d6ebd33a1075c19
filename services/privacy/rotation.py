"""What a rotation of key slots means for certificates: called by whoever rotated, after the old slot keys are destroyed."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from services.privacy.domain.audit import Entry, digest_of
from services.privacy.domain.certificate import second_revision, signed, slot_of
from services.privacy.mongo import MongoRequestBook
from services.privacy.ports import Signer
from shared.failpoints import failpoint
from shared.storage import Store, Transaction


async def slots_awaited(store: Store) -> set[int]:
    """Key slots that certificates wait for: what `kehu keys rotate` should rotate.

    Args:
        store: privacy's database.
    """
    waiting = await MongoRequestBook(store).waiting_certificates()
    return {slot for _, certificate in waiting for slot in certificate["slots_waiting"]}


async def record_rotation(store: Store, signer: Signer, slots: Collection[int], started_at: datetime, ended_at: datetime) -> list[UUID]:
    """Signs the second revision of every certificate that waited for nothing but these slots. Idempotent.

    Args:
        slots: the slots that were rotated.
        started_at, ended_at: aware, UTC. Only certificates closed before the start count: a key destroyed later was wrapped again.

    Returns:
        The requests whose certificate now states `unrecoverable_at`.
    """
    book = MongoRequestBook(store)
    # A command that was killed in here keeps what it wrote locked until the server ends its transaction, which it looks for at half that interval.
    retry_seconds = 2.0 * await store.transaction_lifetime_seconds()
    finished: list[UUID] = []
    for request_id, certificate in await book.waiting_certificates():
        if certificate["closed_at"] > started_at:
            continue
        left = sorted(set(certificate["slots_waiting"]) - set(slots))

        async def record(transaction: Transaction, request_id: UUID = request_id, left: list[int] = left) -> None:
            if left:
                await book.wait_for_slots(request_id, left, transaction)
            else:
                await _sign_second(book, signer, request_id, ended_at, transaction)
            failpoint("privacy.rotation_before_commit")

        await store.transaction(record, retry_seconds)
        if not left:
            finished.append(request_id)
    await _forget_closed_keys(store, book, slots, started_at)
    return finished


async def _sign_second(book: MongoRequestBook, signer: Signer, request_id: UUID, ended_at: datetime, transaction: Transaction) -> None:
    stored = await book.certificate(request_id, transaction)
    if stored is None or len(stored["revisions"]) > 1:
        return
    first: dict[str, Any] = stored["revisions"][0]["certificate"]
    position, previous = await book.audit_head(transaction)
    body = second_revision(first, rotated_at=ended_at, position=position + 1, previous=previous)
    entry = Entry(position + 1, previous, "erasure-unrecoverable", str(request_id), digest_of(body), ended_at.isoformat())
    await book.append_audit(entry, transaction)
    document = signed(body, sign=signer.sign, public_key=signer.public_key)
    await book.save_certificate(request_id, document, [], stored["closed_at"], transaction)


async def _forget_closed_keys(store: Store, book: MongoRequestBook, slots: Collection[int], started_at: datetime) -> None:
    """Keys of closed epochs whose slot was rotated after they were nulled need no later proof."""

    async def forget(transaction: Transaction) -> None:
        closed = await book.closed_keys(transaction)
        gone = [key for key, _, destroyed in closed if destroyed is not None and destroyed <= started_at and slot_of(key) in slots]
        if gone:
            await book.forget_closed(gone, transaction)

    await store.transaction(forget)

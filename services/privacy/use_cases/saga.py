"""Carry requests through: keep what holders answer, take every step that has become possible, each in one transaction.

Only the owner of the receipts topic's one partition runs this, in its batches and in its passes, so steps never race. A crash before the commit
leaves nothing, one after it leaves the step and its events; the next batch or pass decides again from what is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from services.privacy.domain import access
from services.privacy.domain.audit import Entry, digest_of
from services.privacy.domain.certificate import first_revision, signed, slot_of
from services.privacy.domain.erasure import AskAgain, Certify, DestroyKeys, SeeAllErased, SetBarrier, Stage, Step, next_step, stage_after
from services.privacy.domain.requests import ASKED_AGAIN, COLLECTING, EXPIRED, READY, Receipt, Request, counts_by_holder, received
from services.privacy.ports import Keys, Ledger, RequestBook, Signer
from services.privacy.use_cases import announcements
from shared.contracts.privacy import PART_KEYS_MAX, AccessPart, EntityKeysClosed, ErasureReceipt, KeysEvicted
from shared.failpoints import failpoint
from shared.messaging import Batch, Effects
from shared.storage import Transaction

STEPS_PER_PASS = 4
"""A transaction nulls at most this many parts of keys; the rest follows in the next pass, a second later."""


@dataclass(frozen=True, slots=True)
class Saga:
    """Advances erasures and access requests.

    Attributes:
        cache_period: how long a process may keep an opened key when it misses the eviction.
    """

    book: RequestBook
    ledger: Ledger
    keys: Keys
    signer: Signer
    clock: Callable[[], datetime]
    cache_period: timedelta = timedelta(seconds=60)

    async def __call__(self, batch: Batch, transaction: Transaction) -> Effects:
        """Stores the batch's receipts, then takes the steps they make possible."""
        effects = Effects()
        asked: dict[UUID, None] = {}
        for each in batch.records:
            match each.event:
                case ErasureReceipt() as event:
                    await self.book.add_receipts([_receipt(event)], transaction)
                    asked[event.request_id] = None
                case KeysEvicted() as event:
                    await self.book.add_receipts([_eviction(event)], transaction)
                    asked[event.request_id] = None
                case AccessPart() as event:
                    await self._keep_part(event, transaction)
                    asked[event.request_id] = None
                case EntityKeysClosed() as event:
                    await self.book.add_closed_keys(event.customer_id, event.key_ids, self.clock() + self.cache_period, transaction)
        failpoint("privacy.receipts_stored_before_steps")
        for request_id in asked:
            request = await self.book.request(request_id, transaction)
            if request is not None:
                await self._advance(request, effects, transaction)
        return effects

    async def partitions_due(self) -> list[int]:
        """The one partition, when `pass_over_open` may have something to do."""
        now = self.clock()
        return [0] if await self.book.anything_due(now - timedelta(days=access.FRESH_DAYS), now) else []

    async def pass_over_open(self, _partition: int, transaction: Transaction) -> Effects | None:
        """What time alone makes possible: asking again, more keys, keys of closed epochs, exports that are no longer fresh. None if nothing."""
        effects, did = Effects(), False
        for request in await self.book.requests(transaction, stages=[Stage.DRAINING, Stage.DESTROYING, COLLECTING, READY]):
            did |= await self._advance(request, effects, transaction)
        did |= await self._destroy_closed(effects, transaction)
        if not did:
            return None
        effects.note_written()
        return effects

    async def _advance(self, request: Request, effects: Effects, transaction: Transaction) -> bool:
        if request.kind == "access":
            return await self._advance_access(request, effects, transaction)
        return await self._advance_erasure(request, effects, transaction)

    async def _advance_erasure(self, request: Request, effects: Effects, transaction: Transaction) -> bool:
        for taken in range(STEPS_PER_PASS):
            answers = received(await self.book.receipts(request.request_id, transaction))
            step = next_step(request.erasure, answers, self.clock())
            if step is None:
                return taken > 0
            await self._take(step, request, effects, transaction)
            request = self._after(step, request)
            await self.book.save_request(request, transaction)
            failpoint("privacy.step_before_commit")
        return True

    def _after(self, step: Step, request: Request) -> Request:
        now = self.clock()
        moved = replace(request.with_step(_NAMES[type(step)], now), stage=stage_after(step, Stage(request.stage)))
        return replace(moved, asked_at=now, attempt=step.attempt) if isinstance(step, AskAgain) else moved

    async def _take(self, step: Step, request: Request, effects: Effects, transaction: Transaction) -> None:
        match step:
            case AskAgain(attempt):
                effects.publish(announcements.erasure_requested(request, attempt, self.clock()))
            case SetBarrier(offsets):
                failpoint("privacy.before_barrier")
                effects.publish(announcements.barrier_set(request, offsets, self.clock()))
            case SeeAllErased():
                failpoint("privacy.before_keys_are_final")
                await self._add_own_keys(request, transaction)
            case DestroyKeys():
                failpoint("privacy.before_keys_destroyed")
                await self._destroy_next(request, effects, transaction)
            case Certify():
                failpoint("privacy.before_certificate")
                await self._certify(request, transaction)

    async def _scope(self, request: Request, transaction: Transaction) -> set[UUID]:
        return {request.customer_id, *await self.ledger.erased_by(request.request_id, transaction)}

    async def _add_own_keys(self, request: Request, transaction: Transaction) -> None:
        """Keys that only privacy knows: of closed epochs not destroyed yet, and of exports that hold a copy of the person."""
        scope = await self._scope(request, transaction)
        closed = [key for key, _, destroyed in await self.book.closed_keys(transaction, customers=scope) if destroyed is None]
        exports = [each for each in await self.book.requests(transaction, kind="access", customers=scope) if each.stage != EXPIRED]
        for each in exports:
            await self._expire(each, transaction)
        await self.book.note_closed_destroyed(closed, self.clock(), transaction)
        own = [*closed, *(each.request_id for each in exports)]
        parts = [tuple(own[at : at + PART_KEYS_MAX]) for at in range(0, len(own), PART_KEYS_MAX)]
        counted = Receipt(request.request_id, "privacy", "keys", "counts", counts={"exports": len(exports)})
        spendable = [replace(counted, place=f"{part:04d}", counts={}, key_ids=keys) for part, keys in enumerate(parts, 1)]
        await self.book.add_receipts([counted, *spendable], transaction)

    async def _destroy_next(self, request: Request, effects: Effects, transaction: Transaction) -> None:
        """The set is final by now, so every part has its number for good."""
        with_keys = [each for each in await self.book.receipts(request.request_id, transaction, with_keys=True) if each.key_ids]
        part, receipt = next((part, each) for part, each in enumerate(with_keys, 1) if not each.spent)
        await self.keys.destroy(receipt.key_ids, transaction)
        await self.book.spend(receipt, transaction)
        last, now = len(with_keys), self.clock()
        effects.publish(announcements.keys_destroyed(request.request_id, receipt.key_ids, part, last, now, acknowledge=part == last))

    async def _certify(self, request: Request, transaction: Transaction) -> None:
        receipts = await self.book.receipts(request.request_id, transaction, with_keys=True)
        scope, closed_at = await self._scope(request, transaction), self.clock()
        key_ids = {key for each in receipts for key in each.key_ids}
        position, previous = await self.book.audit_head(transaction)
        body = first_revision(
            request_id=request.request_id,
            scope=scope,
            holders=counts_by_holder(receipts),
            waited_for=[*_waited_for(receipts), *(f"{name}: the end of a cache period" for name in received(receipts).unevicted)],
            key_ids=key_ids,
            requested_at=request.opened_at,
            closed_at=closed_at,
            position=position + 1,
            previous=previous,
        )
        # Keys of closed epochs were nulled earlier, but their slots may not have been rotated since: the proof waits for them as well.
        earlier = {key for key, _, destroyed in await self.book.closed_keys(transaction, customers=scope) if destroyed is not None}
        entry = Entry(position + 1, previous, "erasure-closed", str(request.request_id), digest_of(body), closed_at.isoformat())
        await self.book.append_audit(entry, transaction)
        document = signed(body, sign=self.signer.sign, public_key=self.signer.public_key)
        slots = sorted({slot_of(key) for key in key_ids | earlier})
        await self.book.save_certificate(request.request_id, document, slots, closed_at, transaction)

    async def _keep_part(self, event: AccessPart, transaction: Transaction) -> None:
        request = await self.book.request(event.request_id, transaction)
        if request is not None and request.stage == COLLECTING:
            await self.book.add_access_part(event.request_id, event.holder, event.part, event.parts, event.sealed, transaction)

    async def _advance_access(self, request: Request, effects: Effects, transaction: Transaction) -> bool:
        now = self.clock()
        if request.stage in (COLLECTING, READY) and now >= access.fresh_until(request.opened_at):
            await self._expire(request, transaction)
            await self.keys.destroy([request.request_id], transaction)
            effects.publish(announcements.keys_destroyed(request.request_id, (request.request_id,), 1, 1, now))
            return True
        if request.stage != COLLECTING:
            return False
        parts: dict[str, dict[int, int]] = {}
        for holder, part, total in await self.book.access_parts(request.request_id, transaction):
            parts.setdefault(holder, {})[part] = total
        if access.pending(parts):
            return False
        await self.book.save_request(replace(request.with_step("ready", now), stage=READY), transaction)
        return True

    async def _expire(self, request: Request, transaction: Transaction) -> None:
        await self.book.delete_access_parts(request.request_id, transaction)
        await self.book.save_request(replace(request.with_step("expired", self.clock()), stage=EXPIRED), transaction)

    async def _destroy_closed(self, effects: Effects, transaction: Transaction) -> bool:
        now = self.clock()
        due = [key for key, _, _ in await self.book.closed_keys(transaction, due_by=now, limit=PART_KEYS_MAX)]
        if not due:
            return False
        failpoint("privacy.before_closed_keys_destroyed")
        await self.keys.destroy(due, transaction)
        await self.book.note_closed_destroyed(due, now, transaction)
        effects.publish(announcements.keys_destroyed(announcements.closing(due[0]), tuple(due), 1, 1, now))
        return True


_NAMES: dict[type[Step], str] = {
    AskAgain: ASKED_AGAIN,
    SetBarrier: "barrier-set",
    SeeAllErased: "all-holders-erased",
    DestroyKeys: "keys-destroyed",
    Certify: "closed",
}


def _receipt(event: ErasureReceipt) -> Receipt:
    place = event.instance if event.stage == "drained" else f"{event.part:04d}"
    return Receipt(
        event.request_id,
        event.holder,
        event.stage,
        place,
        event.part,
        event.parts,
        live=event.live_instances,
        attempt=event.attempt,
        offsets=event.offsets,
        counts=event.counts,
        key_ids=event.key_ids,
        key_count=len(event.key_ids),
        keys_in_all=event.key_ids_in_all,
    )


def _eviction(event: KeysEvicted) -> Receipt:
    return Receipt(event.request_id, event.holder, "evicted", event.instance, live=event.live_instances)


def _waited_for(receipts: list[Receipt]) -> list[str]:
    return [f"{each.holder} {each.place}: {each.stage}" for each in receipts if each.stage in ("drained", "evicted")] + sorted(
        {f"{each.holder}: erased, {each.parts} parts" for each in receipts if each.stage == "erased"}
    )

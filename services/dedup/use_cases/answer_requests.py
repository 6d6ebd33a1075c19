"""Requests of data subjects: erasures are noted for `EraseCustomer`, copies are answered at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from services.dedup.ports import CustomerRecords
from shared.contracts import ids
from shared.contracts.access_parts import cut
from shared.contracts.event import Outgoing
from shared.contracts.privacy import RECEIPTS_TOPIC, AccessPart, AccessRequested, ErasureBarrierSet
from shared.contracts.submission import Submission
from shared.messaging import Batch, Effects
from shared.sealing import DataKey, KeyRing, body_aad
from shared.storage import Transaction

KEYS_AT_ONCE = 1_000
_PART_VERSION = 1


class AnswerRequests:
    """Handler of the requests topic. A barrier must not hold up the partition, so it is only noted here."""

    def __init__(self, records: CustomerRecords, keyring: KeyRing, clock: Callable[[], datetime]) -> None:
        self._records, self._keyring, self._clock = records, keyring, clock

    async def __call__(self, batch: Batch, transaction: Transaction) -> Effects:
        """The effects of a batch of requests; the other events on the topic are for others."""
        effects = Effects()
        for record in batch:
            if isinstance(record.event, ErasureBarrierSet):
                self._records.note_erasure(record.event, effects)
            elif isinstance(record.event, AccessRequested):
                effects.publish_all(await self._copy(record.event, transaction))
        return effects

    async def _copy(self, asked: AccessRequested, transaction: Transaction) -> list[Outgoing]:
        key = (await self._keyring.open([asked.request_id]))[asked.request_id]
        if key is None:  # The request is over, its key destroyed.
            return []
        submissions = await self._records.of_customer(asked.customer_id, transaction)
        items = [item for some in _slices(submissions) for item in _opened(some, await self._keyring.open(each.submission_id for each in some))]
        chunks = list(cut(items)) or [[]]
        return [self._part(asked.request_id, key, number, len(chunks), each) for number, each in enumerate(chunks, 1)]

    def _part(self, request_id: UUID, key: DataKey, part: int, parts: int, items: Sequence[bytes]) -> Outgoing:
        sealed = key.seal(b'{"source_records":[' + b",".join(items) + b"]}", body_aad(request_id, _PART_VERSION))
        event = AccessPart(request_id=request_id, holder="dedup", part=part, parts=parts, sealed=sealed)
        return Outgoing(RECEIPTS_TOPIC, request_id.bytes, ids.event_id(request_id, f"dedup-access:{part}"), event, self._clock(), key_id=request_id)


def _slices(submissions: Sequence[Submission]) -> Iterator[Sequence[Submission]]:
    return (submissions[first : first + KEYS_AT_ONCE] for first in range(0, len(submissions), KEYS_AT_ONCE))


def _opened(submissions: Sequence[Submission], keys: Mapping[UUID, DataKey | None]) -> Iterator[bytes]:
    """Each source record as the person may see it, as JSON: the envelope and the opened body."""
    for submission in submissions:
        key = keys[submission.submission_id]
        if key is not None:
            plain = key.unseal(submission.sealed, body_aad(submission.submission_id, submission.body_version))
            envelope = msgspec.to_builtins(submission)
            del envelope["sealed"]
            yield msgspec.json.encode(envelope | {"body": msgspec.Raw(plain)})

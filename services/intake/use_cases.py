"""Let submissions in: read, judge, write, and tell the sender what became of each."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from services.intake.domain.channels import Channel
from services.intake.domain.decoding import convert_draft, decode_batch, decode_draft, decode_plain, split_batch
from services.intake.domain.draft import Draft
from services.intake.domain.findings import Finding, Refused, finding
from services.intake.domain.leniency import Stripped, strip
from services.intake.domain.rules import Rules
from services.intake.domain.validation import Checked, check
from services.intake.micro_batches import MicroBatches
from services.intake.ports import Entry
from shared.contracts.submission import SubmissionBody
from shared.failpoints import failpoint
from shared.sealing import BlindIndex, KeyProvider, submission_id
from shared.telemetry import current_traceparent
from shared.telemetry.metrics import SUBMISSIONS

Status = Literal["accepted", "duplicate", "conflict", "quarantined", "refused"]

_encoder = msgspec.json.Encoder()
_NO_DATE = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one submission.

    Attributes:
        submission_id: None only if it was refused, for then nothing is kept of it.
        findings: why it was refused, set aside, or in conflict.
    """

    status: Status
    submission_id: UUID | None = None
    findings: tuple[Finding, ...] = ()


def utc_now() -> datetime:
    """The time, aware, UTC."""
    return datetime.now(UTC)


class AcceptSubmissions:
    """Every door leads here. An outcome is told only after it is durable.

    Raises (all methods): `Overloaded` and `TransientStorageError`, then the sender tries again with the same id.
    """

    def __init__(self, rules: Rules, provider: KeyProvider, index: BlindIndex, writer: MicroBatches, clock: Callable[[], datetime] = utc_now) -> None:
        self._rules, self._provider, self._index, self._writer, self._clock = rules, provider, index, writer, clock

    @property
    def rules(self) -> Rules:
        """The catalogue in force."""
        return self._rules

    async def single(self, raw: bytes, channel: Channel, idempotency_key: str = "") -> Outcome:
        """One submission from raw JSON."""
        try:
            item: Draft | Refused = decode_draft(raw)
        except Refused as refused:
            item = refused
        return (await self.items([item], channel, [idempotency_key]))[0]

    async def batch(self, raw: bytes, channel: Channel, idempotency_key: str = "", *, set_aside: bool = False) -> list[Outcome]:
        """Up to 1,000 submissions from raw JSON, one outcome each in the order sent; the good ones go on.

        Args:
            idempotency_key: with an item's place in the batch it stands for a message id that the item lacks.
            set_aside: for senders that cannot resend a part: strip what may not be kept and quarantine what is invalid.

        Raises:
            Refused: the batch itself cannot be read.
        """
        if set_aside:
            return await self._lenient(split_batch(raw), channel, idempotency_key)
        items = decode_batch(raw)
        return await self.items(items, channel, [_key_of_item(idempotency_key, place) for place in range(len(items))])

    async def items(self, items: Sequence[Draft | Refused], channel: Channel, keys: Sequence[str], *, namespace: str | None = None) -> list[Outcome]:
        """Judges and writes; `keys[i]` stands for a message id that item i lacks.

        Args:
            namespace: whose message ids they are, if not the channel's own; an import's rows have their own.
        """
        now, traceparent = self._clock(), current_traceparent()
        outcomes: list[Outcome | None] = []
        entries: list[Entry] = []
        for item, key in zip(items, keys, strict=True):
            judged = self._judge(item, channel, key, namespace or channel.id, now, traceparent)
            if isinstance(judged, Entry):
                entries.append(judged)
                outcomes.append(None)
            else:
                outcomes.append(Outcome("refused", None, judged.findings))
        return self._counted(channel, await self._written(outcomes, entries))

    async def correct(self, quarantined_id: UUID, raw: bytes, channel: Channel) -> Outcome:
        """A corrected form of a quarantined submission; it keeps the submission id.

        Raises:
            Refused: the corrected form is invalid as well.
        """
        checked = check(decode_draft(raw), self._rules, default_notice=channel.notice_version, now=self._clock())
        entry = self._entry(checked, quarantined_id, channel, self._clock(), current_traceparent())
        return self._counted(channel, await self._written([None], [entry]))[0]

    def _judge(self, item: Draft | Refused, channel: Channel, key: str, namespace: str, now: datetime, traceparent: str | None) -> Entry | Refused:
        if isinstance(item, Refused):
            return item
        if key and not item.message_id:
            item.message_id = key
        try:
            checked = check(item, self._rules, default_notice=channel.notice_version, now=now)
        except Refused as refused:
            return refused
        return self._entry(checked, submission_id(self._provider, namespace, item.message_id), channel, now, traceparent)

    def _entry(self, checked: Checked, entry_id: UUID, channel: Channel, now: datetime, traceparent: str | None) -> Entry:
        plain = _encoder.encode(checked.body)
        digest = self._digest(checked.kind, _dateless(checked, plain), _encoder.encode(checked.order_lines))
        return Entry(entry_id, digest, channel, now, plain, checked=checked, traceparent=traceparent)

    def _digest(self, *parts: bytes | str) -> bytes:
        digest = hashlib.blake2b(digest_size=16)
        for part in parts:
            digest.update(part if isinstance(part, bytes) else part.encode())
        return self._index.token("payload", digest.hexdigest())

    async def _lenient(self, raws: Sequence[msgspec.Raw], channel: Channel, idempotency_key: str) -> list[Outcome]:
        now, traceparent = self._clock(), current_traceparent()
        entries = [self._lenient_entry(bytes(raw), channel, _key_of_item(idempotency_key, place), now, traceparent) for place, raw in enumerate(raws)]
        return self._counted(channel, await self._written([None] * len(entries), entries))

    def _lenient_entry(self, raw: bytes, channel: Channel, key: str, now: datetime, traceparent: str | None) -> Entry:
        try:
            stripped = strip(decode_plain(raw), self._rules.fields, self._rules.is_forbidden)
        except Refused as refused:
            # What cannot be read cannot be searched for what may not be kept, so nothing of it is.
            return self._set_aside(Stripped(None), refused, raw, channel, key, now, traceparent)
        _count_stripped(stripped)
        try:
            draft = decode_draft(stripped.encoded())
            draft.message_id = draft.message_id or key
            checked = check(draft, self._rules, default_notice=channel.notice_version, now=now)
        except Refused as refused:
            return self._set_aside(stripped, refused, raw, channel, key, now, traceparent)
        return self._entry(checked, submission_id(self._provider, channel.id, draft.message_id), channel, now, traceparent)

    def _set_aside(
        self, stripped: Stripped, refused: Refused, raw: bytes, channel: Channel, key: str, now: datetime, traceparent: str | None
    ) -> Entry:
        entry_id = submission_id(self._provider, channel.id, _message_id(stripped.value) or key)
        return Entry(entry_id, self._digest(raw), channel, now, stripped.encoded(), findings=refused.findings, traceparent=traceparent)

    async def _written(self, outcomes: list[Outcome | None], entries: list[Entry]) -> list[Outcome]:
        """Fills each None with what became of the next entry."""
        failpoint("intake.before_write")
        verdicts = iter(zip(entries, await self._writer.write(entries), strict=True))
        return [outcome if outcome is not None else _outcome(*next(verdicts)) for outcome in outcomes]

    @staticmethod
    def _counted(channel: Channel, outcomes: list[Outcome]) -> list[Outcome]:
        counts = Counter((outcome.status, outcome.findings[0].code if outcome.findings else "") for outcome in outcomes)
        for (status, reason), count in counts.items():
            SUBMISSIONS.add(count, {"outcome": status, "reason": reason, "channel_kind": channel.kind})
        return outcomes


def draft_of_row(row: dict[str, Any]) -> Draft | Refused:
    """A file's row as draft, or why it is none."""
    try:
        return convert_draft(row)
    except Refused as refused:
        return refused


def _outcome(entry: Entry, verdict: Status) -> Outcome:
    findings = (finding("payload_differs"),) if verdict == "conflict" else entry.findings
    return Outcome(verdict, entry.submission_id, findings)


def _key_of_item(idempotency_key: str, place: int) -> str:
    return f"{idempotency_key}:{place}" if idempotency_key else ""


def _dateless(checked: Checked, plain: bytes) -> bytes:
    """What a true repeat has in common: a time of arrival that stands for the sender's is left out."""
    return plain if checked.dated_by_sender else _encoder.encode(_without_date(checked.body))


def _without_date(body: SubmissionBody) -> SubmissionBody:
    return msgspec.structs.replace(body, occurred_at=_NO_DATE)


def _count_stripped(stripped: Stripped) -> None:
    if stripped.forbidden:
        SUBMISSIONS.add(len(stripped.forbidden), {"outcome": "stripped", "reason": "forbidden_field"})
    if stripped.unknown:
        SUBMISSIONS.add(stripped.unknown, {"outcome": "stripped", "reason": "unknown_field"})


def _message_id(value: Any) -> str:
    message_id = value.get("message_id") if isinstance(value, dict) else None
    return message_id if isinstance(message_id, str) and len(message_id) <= 500 else ""

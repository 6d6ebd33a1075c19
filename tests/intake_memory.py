"""The ledger in memory: passes the same suite as the one on MongoDB, so unit tests may trust it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from services.intake.ports import Entry, LedgerRow, Verdict


class MemoryLedger:
    """`Ledger` without a server; keeps bodies in clear."""

    def __init__(self) -> None:
        self.entries: dict[UUID, Entry] = {}
        self.erased: set[UUID] = set()

    async def write(self, entries: Sequence[Entry]) -> list[Verdict]:
        known = set(self.entries)
        return [self._one(entry, entry.submission_id in known) for entry in entries]

    def _one(self, entry: Entry, was_known: bool) -> Verdict:
        held = self.entries.get(entry.submission_id)
        if held is None or (was_known and held.checked is None and entry.checked is not None):
            self.entries[entry.submission_id] = entry
            return "quarantined" if entry.checked is None else "accepted"
        return "duplicate" if entry.submission_id in self.erased or held.digest == entry.digest else "conflict"

    async def find(self, submission_id: UUID) -> LedgerRow | None:
        entry = self.entries.get(submission_id)
        return None if entry is None else self._row(entry)

    async def quarantined(self, channel_id: str | None, limit: int) -> list[LedgerRow]:
        found = [each for each in self.entries.values() if each.checked is None and channel_id in {None, each.channel.id}]
        return [self._row(each) for each in sorted(found, key=lambda each: each.received_at, reverse=True)[:limit]]

    def _row(self, entry: Entry) -> LedgerRow:
        return LedgerRow(
            entry.submission_id,
            "erased" if entry.submission_id in self.erased else "quarantined" if entry.checked is None else "accepted",
            entry.channel.id,
            entry.received_at,
            None,
            published=False,
            reasons=tuple(each.code for each in entry.findings),
            fields=tuple(each.field for each in entry.findings),
        )

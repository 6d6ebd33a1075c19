"""Brings a file in row by row while it arrives: the good rows go on, a bad one is reported by its number."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from services.intake.domain.channels import Channel
from services.intake.domain.csv_stream import CsvRows, Row
from services.intake.domain.draft import Draft
from services.intake.domain.findings import Finding, Refused, finding
from services.intake.domain.mapping import FileMapping, RowReader
from services.intake.ports import Imports
from services.intake.use_cases import AcceptSubmissions, draft_of_row
from shared.failpoints import failpoint
from shared.telemetry.metrics import SUBMISSIONS

FILE_BYTES_MAX = 200 * 1024 * 1024
CHUNK_ROWS = 1_000
REJECTS_MAX = 1_000
"""Rejected rows that the answer lists; further ones are counted."""


@dataclass(slots=True)
class ImportReport:
    """What became of a file. Holds row numbers, fields and reasons, never a cell."""

    import_id: str
    state: Literal["running", "done", "stopped"] = "running"
    rows: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    stripped: Counter[str] = field(default_factory=Counter)
    unmapped_columns: list[str] = field(default_factory=list)
    rejects: list[tuple[int, Finding]] = field(default_factory=list)
    rejected: int = 0

    def reject(self, row: int, why: Finding) -> None:
        """Notes a row that was not let in."""
        self.rejected += 1
        if len(self.rejects) < REJECTS_MAX:
            self.rejects.append((row, why))

    def summary(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "import_id": self.import_id,
            "state": self.state,
            "rows": self.rows,
            "accepted": self.outcomes["accepted"],
            "duplicate": self.outcomes["duplicate"],
            "rejected": self.rejected,
            "stripped": dict(self.stripped),
            "unmapped_columns": self.unmapped_columns,
            "rejects": [_reject(row, why) for row, why in self.rejects],
            "rejects_left_out": self.rejected - len(self.rejects),
        }


class ImportFile:
    """Imports one file. Repeating an import with the same id has no second effect: a row's id is derived from import and row number,
    or from the sender's own id where the file has one."""

    def __init__(self, accept: AcceptSubmissions, imports: Imports) -> None:
        self._accept, self._imports = accept, imports

    async def __call__(self, chunks: AsyncIterator[bytes], mapping: FileMapping, channel: Channel, import_id: str) -> ImportReport:
        """Reads to the end and reports.

        Raises:
            Refused: the header cannot be used; no row was let in.
            Overloaded, TransientStorageError: broken off; the same import again goes on where it was.
        """
        report, rows = ImportReport(import_id), _Rows(CsvRows(mapping.encoding, mapping.delimiter))
        await self._imports.save(import_id, channel.id, report.summary())
        reader = RowReader(mapping, await rows.header(chunks), self._accept.rules)
        if reader.missing:
            raise Refused(*(finding("missing_column", column[:100]) for column in reader.missing))
        report.unmapped_columns = reader.unmapped
        async for some in rows.chunks(chunks):
            await self._rows(some, reader, channel, report)
            failpoint("intake.import_between_chunks")
        report.state = "done"
        await self._imports.save(import_id, channel.id, report.summary())
        return report

    async def _rows(self, rows: Sequence[Row], reader: RowReader, channel: Channel, report: ImportReport) -> None:
        drafts = [_draft(row, reader, report) for row in rows]
        own = [reader.message_id(row.cells) for row in rows]
        # A sender's own ids are those of its channel, the same as at the other doors; row numbers mean something only within the import.
        for namespace, places in (
            (channel.id, [place for place, message_id in enumerate(own) if message_id]),
            (f"import:{channel.id}:{report.import_id}", [place for place, message_id in enumerate(own) if not message_id]),
        ):
            keys = [own[place] or f"row:{rows[place].number}" for place in places]
            outcomes = await self._accept.items([drafts[place] for place in places], channel, keys, namespace=namespace)
            for place, outcome in zip(places, outcomes, strict=True):
                report.outcomes[outcome.status] += 1
                if outcome.status in {"refused", "conflict"}:
                    report.reject(rows[place].number, outcome.findings[0])
        report.rows += len(rows)


class _Rows:
    """Rows from chunks, the header first."""

    def __init__(self, csv_rows: CsvRows) -> None:
        self._csv, self._ready = csv_rows, list[Row]()

    async def header(self, chunks: AsyncIterator[bytes]) -> tuple[str, ...]:
        async for chunk in chunks:
            self._ready += self._csv.feed(chunk)
            if self._ready:
                break
        else:
            self._ready += self._csv.end()
        if not self._ready or self._ready[0].finding is not None:
            raise Refused(finding("empty_file", "file"))
        return self._ready.pop(0).cells

    async def chunks(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[list[Row]]:
        """At most `CHUNK_ROWS` at a time, in order."""
        async for chunk in chunks:
            self._ready += self._csv.feed(chunk)
            while len(self._ready) >= CHUNK_ROWS:
                some, self._ready = self._ready[:CHUNK_ROWS], self._ready[CHUNK_ROWS:]
                yield some
        self._ready += self._csv.end()
        while self._ready:
            some, self._ready = self._ready[:CHUNK_ROWS], self._ready[CHUNK_ROWS:]
            yield some


def _draft(row: Row, reader: RowReader, report: ImportReport) -> Draft | Refused:
    if row.finding is not None:
        return Refused(row.finding)
    dropped = reader.forbidden_targets(row.cells)
    if dropped:
        report.stripped.update(dropped)
        SUBMISSIONS.add(len(dropped), {"outcome": "stripped", "reason": "forbidden_field"})
    try:
        return draft_of_row(reader.values(row.cells))
    except Refused as refused:
        return refused


def _reject(row: int, why: Finding) -> dict[str, Any]:
    return {"row": row, "code": why.code, "field": why.field, "message": {"en": why.en, "zh": why.zh}}

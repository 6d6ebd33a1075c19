"""CSV from chunks of bytes as they arrive: no file is ever kept, and a bad row costs only itself."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from dataclasses import dataclass

from services.intake.domain.findings import Finding, finding

ROW_BYTES_MAX = 256 * 1024
"""A row beyond this is a quote that nobody closed."""
_BOM = codecs.BOM_UTF8


@dataclass(frozen=True, slots=True)
class Row:
    """One row, or what is wrong with it.

    Attributes:
        number: in the file; the header is row 1. A cell with line breaks does not count further.
    """

    number: int
    cells: tuple[str, ...] = ()
    finding: Finding | None = None


class CsvRows:
    """Cuts bytes into rows. Quotes are counted on the bytes: in UTF-8 and GB18030 the bytes of `"` and of line breaks mean nothing else.

    Args:
        encoding: `utf-8`, `gb18030`, or `auto`: the first text that is not plain ASCII decides.
    """

    def __init__(self, encoding: str = "auto", delimiter: str = ",") -> None:
        self._encoding = "" if encoding == "auto" else encoding
        self._delimiter = delimiter
        self._pending = b""
        self._record = b""
        self._number = 0
        self._first = True

    def feed(self, chunk: bytes) -> Iterator[Row]:
        """The rows that are complete now."""
        lines = (self._pending + chunk).split(b"\n")
        self._pending = lines.pop()
        for line in lines:
            yield from self._line(line + b"\n")
        if len(self._pending) + len(self._record) > ROW_BYTES_MAX:
            yield from self._give_up()

    def end(self) -> Iterator[Row]:
        """The last row, if the file does not end with a line break."""
        last, self._pending = self._pending, b""
        if last:
            yield from self._line(last)
        if self._record:
            yield from self._give_up()

    def _line(self, line: bytes) -> Iterator[Row]:
        if self._first:
            line, self._first = line.removeprefix(_BOM), False
        self._record += line
        if self._record.count(b'"') % 2 == 0:
            record, self._record = self._record, b""
            yield from self._row(record)
        elif len(self._record) > ROW_BYTES_MAX:
            yield from self._give_up()

    def _give_up(self) -> Iterator[Row]:
        """Drops what an open quote has swallowed and starts afresh at the next line."""
        self._record = self._pending = b""
        self._number += 1
        yield Row(self._number, finding=finding("unclosed_quote"))

    def _row(self, record: bytes) -> Iterator[Row]:
        if not record.strip():
            self._number += 1
            return
        self._number += 1
        text = self._decode(record)
        if text is None:
            yield Row(self._number, finding=finding("wrong_encoding"))
            return
        try:
            cells = next(csv.reader([text], delimiter=self._delimiter, strict=True), [])
        except csv.Error:
            yield Row(self._number, finding=finding("unclosed_quote"))
            return
        yield Row(self._number, tuple(cell.strip() for cell in cells))

    def _decode(self, record: bytes) -> str | None:
        if not self._encoding and not record.isascii():
            self._encoding = "utf-8" if _decodes(record, "utf-8") else "gb18030"
        try:
            return record.decode(self._encoding or "ascii")
        except UnicodeDecodeError:
            return None


def _decodes(record: bytes, encoding: str) -> bool:
    try:
        record.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True

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
    """Cuts bytes into rows, reading each line once. Quotes are looked for in the bytes: in UTF-8 and GB18030 those of `"` and of line breaks mean
    nothing else. A quote opens a cell only where a cell begins; elsewhere it is a character, as in `5" screen`.

    Args:
        encoding: `utf-8`, `gb18030`, or `auto`: the first text that is not plain ASCII decides.
    """

    def __init__(self, encoding: str = "auto", delimiter: str = ",") -> None:
        self._encoding = "" if encoding == "auto" else encoding
        self._delimiter = delimiter
        self._pending = b""
        self._skipping = False
        self._record: list[bytes] = []
        self._record_bytes = 0
        self._number = 0
        self._first = True

    def feed(self, chunk: bytes) -> Iterator[Row]:
        """The rows that are complete now."""
        lines = (self._pending + chunk).split(b"\n")
        self._pending = lines.pop()
        for line in lines:
            yield from self._whole_line(line + b"\n")
        if len(self._pending) > ROW_BYTES_MAX:
            yield from self._too_long()

    def end(self) -> Iterator[Row]:
        """The last row, if the file does not end with a line break."""
        last, self._pending = self._pending, b""
        if last:
            yield from self._whole_line(last)
        while self._record:
            yield from self._give_up()

    def _whole_line(self, line: bytes) -> Iterator[Row]:
        if self._skipping:  # What is left of a line that was too long.
            self._skipping = False
            return
        if self._first:
            line, self._first = line.removeprefix(_BOM), False
        yield from self._line(line)

    def _line(self, line: bytes) -> Iterator[Row]:
        is_open = _left_open(line, bool(self._record), self._delimiter.encode())
        self._record.append(line)
        self._record_bytes += len(line)
        if not is_open:
            yield from self._row(b"".join(self._taken()))
        elif self._record_bytes > ROW_BYTES_MAX:
            yield from self._give_up()

    def _give_up(self) -> Iterator[Row]:
        """A quote that nobody closes costs its own line; the lines that it swallowed are rows. They leave no quote open, or it would have closed."""
        _, *swallowed = self._taken()
        self._number += 1
        yield Row(self._number, finding=finding("unclosed_quote"))
        for line in swallowed:
            yield from self._line(line)

    def _too_long(self) -> Iterator[Row]:
        """A line that does not end: it and what it swallowed are dropped up to its end."""
        if self._record:
            yield from self._give_up()
        self._pending = b""
        if not self._skipping:
            self._skipping = True
            self._number += 1
            yield Row(self._number, finding=finding("too_large"))

    def _taken(self) -> list[bytes]:
        taken, self._record, self._record_bytes = self._record, [], 0
        return taken

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


def _left_open(line: bytes, is_open: bool, delimiter: bytes) -> bool:
    """Whether a quoted cell goes on behind this line.

    Args:
        line: a whole line.
        is_open: whether it begins within a quoted cell.
    """
    if not is_open and b'"' not in line:
        return False
    place = 0
    while place >= 0:
        if is_open:
            place = _behind_closing_quote(line, place)
            if place < 0:
                return True
        elif line[place : place + 1] == b'"':
            is_open, place = True, place + 1
            continue
        # What follows a closing quote, or no quote at all, is text up to the next cell.
        is_open, place = False, _next_cell(line, place, delimiter)
    return False


def _behind_closing_quote(line: bytes, place: int) -> int:
    while (place := line.find(b'"', place)) >= 0:
        if line[place + 1 : place + 2] != b'"':
            return place + 1
        place += 2  # A doubled quote is a character.
    return -1


def _next_cell(line: bytes, place: int, delimiter: bytes) -> int:
    found = line.find(delimiter, place)
    return found + len(delimiter) if found >= 0 else -1


def _decodes(record: bytes, encoding: str) -> bool:
    try:
        record.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True

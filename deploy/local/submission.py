"""Sending files to intake's door from the command line."""

from __future__ import annotations

import hashlib
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec

from deploy.local.client import ServiceClient
from deploy.local.commands.show import err, out
from deploy.local.connection import Connection

Files = dict[str, tuple[str | None, IO[bytes] | bytes, str]]

BATCH_ROWS = 500
BATCH_BYTES = 900 * 1024
"""Below the door's limit of 1 MiB; a row that is larger by itself is refused by its number."""
IMPORT_TIMEOUT_S = 3_600
_SHOWN_REFUSALS = 20


@dataclass(slots=True)
class Result:
    """What the door answered, over a whole file.

    Attributes:
        refused: row number, code and field of each refused row.
        refused_unlisted: refused beyond those.
    """

    accepted: int = 0
    duplicate: int = 0
    quarantined: int = 0
    refused: list[tuple[int, str, str]] = field(default_factory=list)
    refused_unlisted: int = 0

    def take(self, row: int, item: dict[str, Any]) -> None:
        """Count one answer; what is in conflict was not let in either."""
        match item["status"]:
            case "accepted":
                self.accepted += 1
            case "duplicate":
                self.duplicate += 1
            case "quarantined":
                self.quarantined += 1
            case _:
                self.refuse(row, str(item.get("code", "")), str(item.get("field") or ""))

    def refuse(self, row: int, code: str, field_path: str = "") -> None:
        """Note a row that was not let in."""
        self.refused.append((row, code, field_path))


def report(result: Result) -> None:
    """Print counts, and the first refused rows."""
    refused = len(result.refused) + result.refused_unlisted
    good = f"accepted {result.accepted:,}, duplicate {result.duplicate:,}, quarantined {result.quarantined:,}"
    out.print(f"{good}, refused {refused:,}", highlight=False)
    for row, code, name in result.refused[:_SHOWN_REFUSALS]:
        out.print(f"  row {row}: {code} {name}".rstrip(), highlight=False)
    if refused > _SHOWN_REFUSALS:
        out.print(f"  ... and {refused - _SHOWN_REFUSALS:,} more")


def send_lines(connection: Connection, file: Path, channel: str) -> Result:
    """JSON lines, in batches, each row answered on its own; sending the file again has no second effect.

    A line that is no JSON, or too large, is refused here by its number, since it would spoil its batch.
    """
    result, digest = Result(), _digest(file)
    with _door(connection, channel) as intake, _bar(file.stat().st_size) as advance:
        for rows in _batches(file, result):
            body = b'{"submissions":[' + b",".join(line for _, line in rows) + b"]}"
            # Stands for the message ids that rows lack: of the content and the place, so that a repeat meets its first sending.
            headers = {"Content-Type": "application/json", "Idempotency-Key": f"{digest}:{rows[0][0]}"}
            answer = intake.post("/v1/submissions:batch", params={"channel": channel}, content=body, headers=headers)
            for (row, _), item in zip(rows, answer["items"], strict=True):
                result.take(row, item)
            advance(sum(len(line) for _, line in rows))
    result.refused.sort()
    return result


def send_table(connection: Connection, file: Path, mapping: Path, channel: str) -> Result:
    """A CSV file as one import; intake reads it row by row, so it may be larger than memory."""
    with _door(connection, channel) as intake, file.open("rb") as content:
        # The mapping goes first: intake needs it before the first row.
        files: Files = {"mapping": (None, mapping.read_bytes(), "application/yaml"), "file": (file.name, content, "text/csv")}
        # Named after the content, so that sending the file again resumes or repeats the same import.
        query = {"channel": channel, "import_id": _digest(file)}
        body = intake.post("/v1/imports", params=query, files=files, timeout=IMPORT_TIMEOUT_S)
    refused = [(int(row["row"]), str(row["code"]), str(row["field"])) for row in body["rejects"]]
    return Result(int(body["accepted"]), int(body["duplicate"]), refused=refused, refused_unlisted=int(body["rejects_left_out"]))


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:32]


@contextmanager
def _door(connection: Connection, channel: str) -> Iterator[ServiceClient]:
    """Intake, with the channel made unless it is there."""
    with ServiceClient(connection, "intake", ["admin"]) as intake:
        if channel not in {each["id"] for each in intake.get("/v1/channels")}:
            intake.post("/v1/channels", json={"id": channel, "kind": "file"})
        yield intake


def _batches(file: Path, result: Result) -> Iterator[list[tuple[int, bytes]]]:
    """Rows with their numbers, at most so many and so large as the door takes at once."""
    batch: list[tuple[int, bytes]] = []
    size = 0
    for row, line in _good_lines(file, result):
        if batch and (len(batch) == BATCH_ROWS or size + len(line) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((row, line))
        size += len(line) + 1
    if batch:
        yield batch


def _good_lines(file: Path, result: Result) -> Iterator[tuple[int, bytes]]:
    with file.open("rb") as content:
        for row, line in enumerate(content, 1):
            text = line.strip().removeprefix(BOM_UTF8)
            if code := _fault_of(text):
                result.refuse(row, code)
            elif text:
                yield row, text


def _fault_of(line: bytes) -> str:
    if len(line) > BATCH_BYTES:
        return "too_large"
    try:
        if line:
            msgspec.json.decode(line)  # The door's own decoder, so that both mean the same by JSON.
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return "malformed_json"
    return ""


@contextmanager
def _bar(total: int) -> Iterator[Any]:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(TextColumn("sending"), BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=err) as progress:
        task = progress.add_task("", total=total)
        yield lambda count: progress.update(task, advance=count)

"""Sending files to intake's door from the command line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

from deploy.local.client import ServiceClient
from deploy.local.commands.show import err, out
from deploy.local.connection import CommandFailed, Connection

Files = dict[str, tuple[str | None, IO[bytes] | bytes, str]]

BATCH = 500
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
        """Count one answer."""
        if item["status"] == "refused":
            self.refused.append((row, str(item.get("code", "")), str(item.get("field") or "")))
        else:
            setattr(self, item["status"], getattr(self, item["status"]) + 1)


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
    """JSON lines, in batches, each row answered on its own."""
    result = Result()
    with _door(connection, channel) as intake, _bar(file.stat().st_size) as advance:
        for rows in _batches(file):
            submissions = [_parsed(row, line) for row, line in rows]
            answer = intake.post("/v1/submissions:batch", params={"channel": channel}, json={"submissions": submissions})
            for (row, _), item in zip(rows, answer["items"], strict=True):
                result.take(row, item)
            advance(sum(len(line) for _, line in rows))
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


def _batches(file: Path) -> Iterator[list[tuple[int, bytes]]]:
    with file.open("rb") as content:
        rows = ((row, line) for row, line in enumerate(content, 1) if line.strip())
        while batch := list(islice(rows, BATCH)):
            yield batch


def _parsed(number: int, line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise CommandFailed(f"row {number} is no JSON: {error}", f"第 {number} 行不是有效的 JSON") from error


@contextmanager
def _bar(total: int) -> Iterator[Any]:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(TextColumn("sending"), BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=err) as progress:
        task = progress.add_task("", total=total)
        yield lambda count: progress.update(task, advance=count)

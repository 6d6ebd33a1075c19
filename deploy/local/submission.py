"""Sending files to intake's door from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx

from deploy.local.client import ServiceClient
from deploy.local.commands.show import err, out
from deploy.local.connection import CommandFailed, Connection

Files = dict[str, tuple[str, IO[bytes] | bytes, str]]

BATCH = 500
IMPORT_BYTES_TIMEOUT_S = 300
_SHOWN_REFUSALS = 20


@dataclass(slots=True)
class Result:
    """What the door answered, over a whole file.

    Attributes:
        refused: row number, code and field of each refused row.
    """

    accepted: int = 0
    duplicate: int = 0
    quarantined: int = 0
    refused: list[tuple[int, str, str]] = field(default_factory=list)

    def take(self, row: int, item: dict[str, Any]) -> None:
        """Count one answer."""
        if item["status"] == "refused":
            self.refused.append((row, str(item.get("code", "")), str(item.get("field") or "")))
        else:
            setattr(self, item["status"], getattr(self, item["status"]) + 1)


def report(result: Result) -> None:
    """Print counts, and the first refused rows."""
    refused = len(result.refused)
    good = f"accepted {result.accepted:,}, duplicate {result.duplicate:,}, quarantined {result.quarantined:,}"
    out.print(f"{good}, refused {refused:,}", highlight=False)
    for row, code, name in result.refused[:_SHOWN_REFUSALS]:
        out.print(f"  row {row}: {code} {name}".rstrip(), highlight=False)
    if refused > _SHOWN_REFUSALS:
        out.print(f"  ... and {refused - _SHOWN_REFUSALS:,} more")


def send_lines(connection: Connection, file: Path, channel: str) -> Result:
    """JSON lines, in batches, each row answered on its own."""
    result = Result()
    with _door(connection, channel) as door, _bar(file.stat().st_size) as advance:
        for first, lines in _batches(file):
            submissions = [_parsed(number, line) for number, line in enumerate(lines, first)]
            for number, item in enumerate(_post(door, submissions), first):
                result.take(number, item)
            advance(sum(len(line) for line in lines))
    return result


def send_table(connection: Connection, file: Path, mapping: Path, channel: str) -> Result:
    """A CSV or TSV file as one import; intake reads it row by row."""
    with _door(connection, channel) as door, file.open("rb") as content:
        files: Files = {"file": (file.name, content, "text/csv"), "mapping": (mapping.name, mapping.read_bytes(), "application/yaml")}
        answer = door.post("/v1/imports", files=files, timeout=IMPORT_BYTES_TIMEOUT_S)
    body = _checked(answer)
    refused = [(int(row["row"]), str(row["code"]), str(row.get("field") or "")) for row in body.get("rejects", [])]
    return Result(int(body.get("accepted", 0)), int(body.get("duplicate", 0)), int(body.get("quarantined", 0)), refused)


@contextmanager
def _door(connection: Connection, channel: str) -> Iterator[httpx.Client]:
    """The door under a write key of this run, revoked at the end."""
    with ServiceClient(connection, "intake", ["admin"]) as intake:
        made = intake.post("/v1/channels", json={"id": channel, "kind": "file", "trust": 50})
    headers = {"authorization": f"Bearer {made['write_key']}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{connection.ports['intake']}", headers=headers, timeout=60) as door:
        yield door


def _batches(file: Path) -> Iterator[tuple[int, list[bytes]]]:
    first, lines = 1, []
    with file.open("rb") as content:
        for number, line in enumerate(content, 1):
            if line.strip():
                lines.append(line)
            if len(lines) == BATCH:
                yield first, lines
                first, lines = number + 1, []
    if lines:
        yield first, lines


def _parsed(number: int, line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise CommandFailed(f"row {number} is no JSON: {error}", f"第 {number} 行不是有效的 JSON") from error


def _post(door: httpx.Client, submissions: list[Any]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = _checked(door.post("/v1/submissions:batch", json={"submissions": submissions}))["items"]
    return items


def _checked(answer: httpx.Response) -> Any:
    if answer.is_success:
        return answer.json()
    try:
        message = answer.json()["message"]
    except (ValueError, KeyError, TypeError):
        raise CommandFailed(f"intake answered {answer.status_code}") from None
    raise CommandFailed(f"intake: {message['en']}", message["zh"])


@contextmanager
def _bar(total: int) -> Iterator[Any]:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(TextColumn("sending"), BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=err) as progress:
        task = progress.add_task("", total=total)
        yield lambda count: progress.update(task, advance=count)

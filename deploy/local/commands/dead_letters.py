"""`kehu dead-letters`: records that were set aside, and what becomes of them. Bodies stay sealed."""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from deploy.local.commands.show import out
from deploy.local.connection import CommandFailed, Connection
from deploy.local.stack import SERVICES

if TYPE_CHECKING:
    from shared.messaging import DeadLetters

T = TypeVar("T")
Id = Annotated[str, typer.Argument(metavar="ID", help="As `list` prints it: service:topic:partition:offset.")]

dead_letters = typer.Typer(help="Records that were set aside.", no_args_is_help=True)


@dead_letters.command("list")
def list_records(limit: Annotated[int, typer.Option(min=1, help="At most so many per service.")] = 50) -> None:
    """List them, the oldest first: reason and coordinates, never contents."""
    from rich.table import Column, Table

    table = Table(Column("id", overflow="fold"), "reason", "state", "attempts", "at")
    for service in SERVICES:
        for each in _with(service, lambda letters: letters.list(limit=limit)):
            table.add_row(each.id, each.reason, each.state, str(each.attempts), each.at.isoformat(timespec="seconds"))
    out.print(table)


@dead_letters.command("show")
def show(record: Id) -> None:
    """Show one: reason, coordinates, headers. The body is sealed and only its size is shown."""
    found = _with(_service(record), lambda letters: letters.show(record))
    if found is None:
        raise CommandFailed(f"there is no dead letter {record}")
    facts = {
        "reason": found.reason,
        "state": found.state,
        "attempts": found.attempts,
        "at": found.at.isoformat(),
        "topic": f"{found.topic} partition {found.partition} offset {found.offset}",
        "body": f"{len(found.value or b'')} bytes, sealed",
        **{f"header {name}": value.decode(errors="replace") for name, value in found.headers},
    }
    for name, fact in facts.items():
        out.print(f"{name:<24} {fact}", highlight=False, markup=False)


@dead_letters.command("redrive")
def redrive(record: Id) -> None:
    """Send it, and what is parked behind its key, through its handler again, in order."""
    out.print(f"{_with(_service(record), lambda letters: letters.redrive(record, _account()))} records go through the handler again.")


@dead_letters.command("discard")
def discard(record: Id, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Delete it for good; what was parked behind it goes on."""
    if not yes:
        typer.confirm(f"Discard {record} for good? 永久丢弃？", abort=True)
    if not _with(_service(record), lambda letters: letters.discard(record, _account())):
        raise CommandFailed(f"there is no dead letter {record}")
    out.print("Discarded.")


def _account() -> str:
    """Whose act it is; a container may run as a user without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _service(record: str) -> str:
    service = record.partition(":")[0]
    if service not in SERVICES:
        raise CommandFailed(f"{record} is no dead letter id; see `kehu dead-letters list`")
    return service


def _with(service: str, ask: Callable[[DeadLetters], Awaitable[T]]) -> T:
    connection = Connection.open()

    async def asked() -> T:
        from shared.messaging import DeadLetters

        store = await connection.store(service)
        try:
            return await ask(DeadLetters(store))
        finally:
            store.close()

    return asyncio.run(asked())

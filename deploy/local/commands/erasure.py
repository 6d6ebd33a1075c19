"""`kehu erase` and `sweep`: forget a person, and look whether anything is left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import click
import typer

from deploy.local.commands.show import REFUTED, out, print_json
from deploy.local.connection import CommandFailed, Connection

if TYPE_CHECKING:
    from typing import IO

FOLDER_HELP = "Another folder to search, e.g. traces=/var/otel; repeat for several."
Folders = Annotated[list[str] | None, typer.Option("--folder", metavar="NAME=PATH", help=FOLDER_HELP)]


def erase(
    who: Annotated[UUID, typer.Argument(metavar="CUSTOMER", help="Customer id, also one that was merged away.")],
    wait: Annotated[bool, typer.Option(help="Wait until every data holder has answered and print the certificate.")] = True,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    prove: Annotated[
        bool, typer.Option("--prove", help="Search for the person before and after, and count the figures again. Ends with 4 if it fails.")
    ] = False,
    folder: Folders = None,
) -> None:
    """Forget a customer everywhere. Cannot be undone."""
    connection, folders = Connection.open(), _folders(folder or [])
    if not yes:
        typer.confirm(f"Erase {who} for good? 永久删除该客户？", abort=True)
    if prove:
        _erase_and_prove(connection, who, folders)
    else:
        _erase(connection, who, wait=wait)


def sweep(
    values: Annotated[
        str | None, typer.Option("--values", metavar="FILE", help="One value a line; - reads standard input. Without it you are asked.")
    ] = None,
    folder: Folders = None,
) -> None:
    """Search everything that is stored for given values: database, topics, logs, opened with every key that is left.

    The values come from a file or a prompt, never from the command line, so that they stay out of the shell's history. Nothing of them is
    printed. Ends with 4 when something was found.
    """
    from deploy.local.proof.report import print_hits, print_visits
    from deploy.local.proof.run import search

    connection, folders = Connection.open(), _folders(folder or [])
    wanted = _asked() if values is None else _read(values)
    try:
        report = search(connection, wanted, folders, f"looking for {len(wanted)} values")
    except ValueError as error:
        raise CommandFailed(str(error)) from error
    print_visits(report)
    print_hits(report.hits)
    found = {hit.canary for hit in report.hits}
    out.print(f"{len(found)} of {len(wanted)} values found.", highlight=False)
    if found:
        raise typer.Exit(REFUTED)


def _erase(connection: Connection, who: UUID, *, wait: bool) -> None:
    from deploy.local.client import ServiceClient
    from deploy.local.erasure import request_erasure, wait_for_certificate

    with ServiceClient(connection, "privacy", ["privacy_officer"]) as privacy:
        request = request_erasure(privacy, who)
        print_json(wait_for_certificate(privacy, request["request_id"]) if wait else request)


def _erase_and_prove(connection: Connection, who: UUID, folders: dict[str, Path]) -> None:
    from deploy.local.proof.report import print_proof
    from deploy.local.proof.run import prove_erasure

    proof = prove_erasure(connection, who, folders)
    print_proof(proof)
    if not proof.holds:
        raise typer.Exit(REFUTED)


def _folders(given: Sequence[str]) -> dict[str, Path]:
    folders = {}
    for each in given:
        name, separator, path = each.partition("=")
        if not separator or not Path(path).is_dir():
            raise CommandFailed(f"--folder {each}: expected NAME=PATH of a folder that is there")
        folders[name] = Path(path)
    return folders


def _asked() -> list[str]:
    """Values typed unseen, one after another, until an empty one."""
    given: list[str] = []
    while value := typer.prompt(f"value {len(given) + 1}, empty to begin", hide_input=True, default="", show_default=False, err=True):
        given.append(value)
    return _some(given)


def _read(file: str) -> list[str]:
    try:
        with click.open_file(file, encoding="utf-8") as lines:
            return _some(_stripped(lines))
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{file} cannot be read: {type(error).__name__}") from error


def _stripped(lines: IO[str]) -> list[str]:
    return [line.strip() for line in lines if line.strip()]


def _some(values: list[str]) -> list[str]:
    if not values:
        raise CommandFailed("there is no value to look for", "没有要查找的内容")
    return values

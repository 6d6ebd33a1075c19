"""`kehu submit`, `customer`, `trace`: what goes in, what is known, and what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.local.commands.show import out, print_json
from deploy.local.connection import CommandFailed, Connection

if TYPE_CHECKING:
    from deploy.local.client import ServiceClient

JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")


def submit(
    file: Annotated[Path, typer.Argument(help="CSV or TSV (with --map), or JSON lines: one submission a line.", exists=True, dir_okay=False)],
    mapping: Annotated[Path | None, typer.Option("--map", help="YAML: which column is which field.", exists=True, dir_okay=False)] = None,
    channel: Annotated[str, typer.Option(help="The channel it came through; made when it does not exist.")] = "files",
) -> None:
    """Send a file through the public door. Bad rows are listed with their number and reason; the good ones go on."""
    from deploy.local import submission

    connection = Connection.open()
    if file.suffix.lower() in JSON_SUFFIXES:
        result = submission.send_lines(connection, file, channel)
    elif mapping is not None:
        result = submission.send_table(connection, file, mapping, channel)
    else:
        raise CommandFailed("a table needs --map map.yaml: which column is which field", "表格文件需要 --map map.yaml 来说明各列对应的字段")
    submission.report(result)
    if result.refused:
        raise typer.Exit(1)


def customer(
    who: Annotated[
        str, typer.Argument(help="Customer id, phone number or e-mail address. Left out, it is asked for and stays out of the shell's history.")
    ] = "",
    unmask: Annotated[bool, typer.Option("--unmask", help="Show values in clear, as a steward.")] = False,
) -> None:
    """Print what is known about a customer; values are masked unless asked for."""
    from deploy.local.client import ServiceClient

    connection = Connection.open()
    who = who or typer.prompt("customer id, phone or e-mail", hide_input=True, err=True)
    with ServiceClient(connection, "profile", ["steward"] if unmask else ["front_desk"]) as profile:
        found = find_customer(profile, who)
    if found == {"customers": []}:
        raise CommandFailed("nobody is known by that", "没有找到对应的客户")
    print_json(found)


def trace(submission_id: Annotated[str, typer.Argument(help="The id that the door answered with.")]) -> None:
    """Print the life of one submission: accepted, published, resolved, applied, counted, each with its time."""
    from rich.table import Column, Table

    from deploy.local.trace import steps_of

    steps = steps_of(Connection.open(), submission_id)
    if not steps:
        raise CommandFailed(f"no service knows a submission {submission_id}", f"没有服务知道提交 {submission_id}")
    table = Table("at, UTC", "service", "step", Column("detail", overflow="fold"), title=f"{submission_id}, {steps[0].at[:10]}")
    for step in steps:
        table.add_row(step.at[11:23], step.service, step.name, step.detail)
    out.print(table)


def find_customer(profile: ServiceClient, who: str) -> Any:
    """By id, phone or e-mail, told apart by form. Personal values go in the body, since addresses end up in logs."""
    if "@" in who:
        return profile.post("/v1/customers:lookup", json={"type": "email", "value": who})
    if who.translate({ord(sign): None for sign in "-+ ()"}).isdigit():
        return profile.post("/v1/customers:lookup", json={"type": "phone", "value": who})
    return profile.get(f"/v1/customers/{who}")

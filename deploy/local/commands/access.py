"""`kehu token`, `channel`: who may speak to the installation."""

from __future__ import annotations

from typing import Annotated

import typer

from deploy.local.commands.show import note, out
from deploy.local.connection import CommandFailed, Connection

ROLES_HELP = "admin, operator, steward, front_desk, analyst, privacy_officer, auditor or service; repeat for several."

channel = typer.Typer(help="Channels and their write keys.", no_args_is_help=True)


def token(
    role: Annotated[list[str], typer.Option("--role", "-r", help=ROLES_HELP)],
    subject: Annotated[str, typer.Option(help="Opaque id of the person or program; no name, no e-mail address.")] = "developer",
    minutes: Annotated[int, typer.Option(min=1, help="How long it is valid.")] = 60,
) -> None:
    """Mint a token for development, signed by the local issuer key. It is printed alone, for use in `$(...)`."""
    from deploy.local.client import mint
    from shared.access import ROLES

    unknown = sorted(set(role) - set(ROLES))
    if unknown:
        raise CommandFailed(f"unknown role {', '.join(unknown)}; known are {', '.join(ROLES)}")
    known = [name for name in ROLES if name in role]
    typer.echo(mint(Connection.open(), known, subject, minutes * 60))


@channel.command("create")
def create(
    channel_id: Annotated[str, typer.Argument(metavar="ID", help="Short and stable, e.g. web, store-beijing.")],
    kind: Annotated[str, typer.Option(help="web, app, social, email, call_centre, store, event, staff, file or system.")] = "web",
    trust: Annotated[int, typer.Option(min=0, max=100, help="0 (hearsay) to 100 (checked against a document).")] = 50,
) -> None:
    """Make a channel and print its write key, which is shown only this once."""
    from deploy.local.client import ServiceClient

    with ServiceClient(Connection.open(), "intake", ["admin"]) as intake:
        made = intake.post("/v1/channels", json={"id": channel_id, "kind": kind, "trust": trust})
    note("write key, shown once | 写入密钥，仅显示一次:")
    typer.echo(made["write_key"])


@channel.command("list")
def list_channels() -> None:
    """List channels, without keys."""
    from rich.table import Table

    from deploy.local.client import ServiceClient

    with ServiceClient(Connection.open(), "intake", ["admin"]) as intake:
        answer = intake.get("/v1/channels")
    table = Table("id", "kind", "trust", "living keys")
    for each in answer:
        living = sum(key["revoked_at"] is None for key in each["keys"])
        table.add_row(each["id"], each["kind"], str(each["trust"]), str(living))
    out.print(table)


@channel.command("revoke")
def revoke(channel_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Revoke a channel's write keys; the next call with one is refused."""
    from deploy.local.client import ServiceClient

    with ServiceClient(Connection.open(), "intake", ["admin"]) as intake:
        intake.delete(f"/v1/channels/{channel_id}")
    out.print(f"{channel_id} is revoked.")

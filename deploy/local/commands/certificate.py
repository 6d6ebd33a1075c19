"""`kehu certificate`: what an erasure ended in, kept as a file and checked without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from deploy.local.commands.show import REFUTED, failure, note, out, print_json
from deploy.local.connection import CommandFailed, Connection
from deploy.local.places import Places

if TYPE_CHECKING:
    from collections.abc import Mapping

Request = Annotated[UUID, typer.Argument(metavar="REQUEST", help="The request's id, as `kehu erase` prints it.")]
PUBLIC_KEY_BYTES = 32

certificate = typer.Typer(help="Certificates of erasures: fetch, show, and verify them offline.", no_args_is_help=True)


@certificate.command("show")
def show(request: Request) -> None:
    """Print the newest revision of a request's certificate."""
    print_json(_fetched(request))


@certificate.command("download")
def download(
    request: Request,
    file: Annotated[Path | None, typer.Argument(help="Where to; by default certificate-REQUEST.json here.", dir_okay=False)] = None,
) -> None:
    """Save the newest revision of a request's certificate, to be verified anywhere."""
    path = file or Path(f"certificate-{request}.json")
    path.write_text(json.dumps(_fetched(request), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    out.print(str(path), highlight=False, soft_wrap=True)


@certificate.command("public-key")
def public_key() -> None:
    """Print this installation's public key, to be handed to whoever verifies, on another way than the certificates."""
    typer.echo(_own_public_key().hex())


@certificate.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="A downloaded certificate.", exists=True, dir_okay=False)],
    key: Annotated[
        str, typer.Option("--public-key", metavar="HEX", help="The installation's public key; by default that of the key folder here.")
    ] = "",
) -> None:
    """Check a certificate's signature. Needs no server and nothing that runs. Ends with 4 if it does not hold."""
    from services.privacy.proof import verify_certificate

    document = _parsed(file)
    if not verify_certificate(document, _public_key(key) if key else _own_public_key()):
        failure("NOT VALID: changed, incomplete, or signed by another key", "无效：内容被改动、不完整，或由其他密钥签署")
        raise typer.Exit(REFUTED)
    out.print("[bold green]VALID[/]", highlight=False)
    for line in _summary(document["certificate"]):
        out.print(line, highlight=False, markup=False, soft_wrap=True)


def _fetched(request: UUID) -> Any:
    from deploy.local.client import ServiceClient

    with ServiceClient(Connection.open(), "privacy", ["privacy_officer"]) as privacy:
        return privacy.get(f"/v1/requests/{request}/certificate")


def _own_public_key() -> bytes:
    from shared.sealing import KeyFileRefused, LocalKeyFile

    folder = Places.default().keys
    if not folder.is_dir():  # Opening it would make new keys.
        note(f"no key folder at {folder}")
        raise CommandFailed("give the installation's public key by --public-key", "请用 --public-key 提供该系统的公钥")
    try:
        return LocalKeyFile.open(folder).public_key
    except KeyFileRefused as error:
        raise CommandFailed(str(error)) from error


def _public_key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != PUBLIC_KEY_BYTES:
        raise CommandFailed("--public-key takes 64 hexadecimal digits, as `kehu certificate public-key` prints them")
    return key


def _parsed(file: Path) -> Any:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise CommandFailed(f"{file} is no certificate", f"{file} 不是证书")
    return document


def _summary(body: Mapping[str, Any]) -> list[str]:
    holders = {holder: ", ".join(f"{count} {what}" for what, count in counts.items()) for holder, counts in body["holders"].items()}
    return [
        f"request         {body['request_id']}, revision {body['revision']}",
        f"customers       {', '.join(body['scope']['customers'])}",
        f"closed at       {body['closed_at']}",
        f"unrecoverable   {body['unrecoverable_at'] or 'not yet: run `kehu keys rotate`'}",
        f"keys destroyed  {body['keys']['count']}",
        *(f"{holder:<15} {counts or 'nothing held'}" for holder, counts in holders.items()),
        *(f"pending         {item}" for item in body["pending"]),
    ]

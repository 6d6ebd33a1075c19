"""The `kehu` command: the list of its commands. What is slow to import is imported by the command that needs it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

import typer

from deploy.local.commands import access, administration, certificate, data, dead_letters, demo, erasure, stack, status
from deploy.local.commands.show import failure
from deploy.local.connection import CommandFailed

app = typer.Typer(
    help="Kehu 客户: an event-driven, privacy-first customer data platform.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)

COMMANDS: tuple[Callable[..., None], ...] = (
    *(stack.up, stack.down, status.status, stack.logs, demo.demo),
    *(data.submit, data.customer, data.trace, erasure.erase, erasure.sweep, access.token, administration.migrate),
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(access.channel, name="channel")
app.add_typer(certificate.certificate, name="certificate")
app.add_typer(administration.topics, name="topics")
app.add_typer(administration.keys, name="keys")
app.add_typer(dead_letters.dead_letters, name="dead-letters")


def main() -> None:
    """Run the command line; what a command cannot do is one line on stderr and exit status 1."""
    # A client library's retries are no news to somebody who waits for one line of result.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        app()
    except CommandFailed as error:
        failure(str(error), error.zh)
        sys.exit(1)


if __name__ == "__main__":
    main()

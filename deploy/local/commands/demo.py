"""`kehu demo`: real input through the whole flow, and a report of what became of it."""

from __future__ import annotations

from deploy.local.commands.show import out
from deploy.local.connection import CommandFailed


def demo() -> None:
    """Start Kehu if needed, send the real input through it, wait until all of it is counted, print the report; Kehu goes on running."""
    from deploy.local.arrival import NotAllCounted
    from deploy.local.commands.stack import up
    from deploy.local.demo.archives import ArchiveMissing
    from deploy.local.demo.door import DoorRefused
    from deploy.local.demo.run import StackNotRunning, main

    up()
    try:
        main(console=out)
    except (ArchiveMissing, DoorRefused, NotAllCounted, StackNotRunning) as error:
        raise CommandFailed(str(error)) from error

"""`kehu topics`, `migrate`, `keys`: what an operator applies to the servers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.local.commands.show import out
from deploy.local.connection import CommandFailed, Connection

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from shared.messaging.topic_admin import TopicState

topics = typer.Typer(help="Topics as code: compare them with their declaration, or apply it.", no_args_is_help=True)
keys = typer.Typer(help="Key slots of the key provider.", no_args_is_help=True)


@topics.command("list")
def list_topics() -> None:
    """Show every topic and whether it is as declared. Changes nothing."""
    from deploy.local.preparation import durability
    from shared.messaging.topic_admin import describe_topics

    connection = Connection.open()
    _print_topics(_ask(describe_topics(connection.kafka_bootstrap_servers, connection.namespace, durability=durability())))


@topics.command("apply")
def apply() -> None:
    """Create what is missing, set what differs. May be repeated."""
    from deploy.local.preparation import prepare_kafka

    connection = Connection.open()
    _print_topics(_ask(prepare_kafka(connection.kafka_bootstrap_servers, connection.namespace)))


def migrate() -> None:
    """Bring every database to the shape that the code expects. May be repeated."""
    from deploy.local.preparation import migrate_all

    connection = Connection.open()
    applied = asyncio.run(migrate_all(connection.mongodb_uri, connection.namespace))
    for database, steps in applied.items():
        out.print(f"{database:<10} {', '.join(steps) or 'nothing to do'}", highlight=False)


@keys.command("rotate")
def rotate(
    every: Annotated[bool, typer.Option("--all", help="Rotate all slots, not only those that an erasure waits for.")] = False,
) -> None:
    """Rotate key slots. It makes erasures final: after it no backup of MongoDB can open an erased key. Resumes what was cut off."""
    from deploy.local.key_rotation import rotate as rotate_keys

    asyncio.run(rotate_keys(Connection.open(), every=every))


def _ask(question: Coroutine[None, None, list[TopicState]]) -> list[TopicState]:
    from shared.messaging.topic_admin import KafkaUnavailable, TopicMismatch

    try:
        return asyncio.run(question)
    except (KafkaUnavailable, TopicMismatch) as error:
        raise CommandFailed(str(error)) from error


def _print_topics(states: list[TopicState]) -> None:
    from rich.table import Table

    table = Table("topic", "partitions", "state", "differences")
    for state in states:
        differences = "; ".join(f"{key}: {old or 'unset'} -> {new}" for key, (old, new) in state.differences.items())
        table.add_row(state.name, str(state.partitions), state.state, differences)
    out.print(table)

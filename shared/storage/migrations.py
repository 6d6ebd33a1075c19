"""Numbered, idempotent steps that bring a service's database to the shape the code expects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.storage.errors import DuplicateKey
from shared.storage.store import Store


@dataclass(frozen=True, slots=True)
class Migration:
    """One step. `apply` creates collections and indexes or rewrites documents, and may run again after a crash.

    Attributes:
        number: order within its series, from 1.
        name: what it does, in a few words with hyphens; number and name identify the step for good.
    """

    number: int
    name: str
    apply: Callable[[Store], Awaitable[None]]

    @property
    def id(self) -> str:
        """Identity in the `migrations` collection."""
        return f"{self.number:04d}-{self.name}"


async def migrate(store: Store, migrations: Sequence[Migration]) -> tuple[str, ...]:
    """Applies, in order of number, what was not applied yet. Returns the ids of the steps applied by this call.

    Several processes may do this at once: a step is idempotent, and the first to finish records it.
    """
    done = await store.collection("migrations").find_by_ids(each.id for each in migrations)
    due = [each for each in sorted(migrations, key=lambda each: each.number) if each.id not in done]
    for each in due:
        await each.apply(store)
        await _record(store, each)
    return tuple(each.id for each in due)


async def _record(store: Store, migration: Migration) -> None:
    try:
        await store.collection("migrations").insert_one({"_id": migration.id, "at": datetime.now(UTC)})
    except DuplicateKey:  # another process was as fast
        return

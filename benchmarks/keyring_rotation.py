"""What sealing costs: keys created, opened and rotated, bodies sealed and unsealed, blind index tokens.

    python -m benchmarks.keyring_rotation --keys 100000

Uses the MongoDB of KEHU_MONGODB_URI, else a throwaway one. CPU is this process's own; mongod's share shows in the wall time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import UUID, uuid4

from deploy.local.throwaway import throwaway_mongodb
from shared.sealing import BlindIndex, DataKey, KeyRing, LocalKeyFile, body_aad, rotate_slots, slot_of, submission_id
from shared.storage import Store

BODY_BYTES = 400
PURE_ROUNDS = 20_000
BATCHES = (100, 500, 2_000)
ERASED_PERSON_KEYS = 40


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. Microseconds per item, of this process's CPU and of the clock."""

    what: str
    items: int
    cpu_us: float
    wall_us: float


class Stopwatch:
    """Measures CPU and clock of a block."""

    def __enter__(self) -> Stopwatch:
        self._cpu, self._wall = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu, self.wall = time.process_time() - self._cpu, time.perf_counter() - self._wall

    def figure(self, what: str, items: int) -> Figure:
        """The measured block as so much for each of its items."""
        return Figure(what, items, self.cpu / items * 1e6, self.wall / items * 1e6)


def measure(what: str, work: Callable[[], object], rounds: int = PURE_ROUNDS) -> Figure:
    """A function without I/O, `rounds` times."""
    with Stopwatch() as watch:
        for _ in range(rounds):
            work()
    return watch.figure(what, rounds)


async def measure_async(what: str, items: int, work: Callable[[], Awaitable[object]]) -> Figure:
    """One awaited call that handles `items`."""
    with Stopwatch() as watch:
        await work()
    return watch.figure(what, items)


def pure_figures(provider: LocalKeyFile) -> list[Figure]:
    """Everything that needs no database."""
    key, key_id, body, index = DataKey(os.urandom(32)), uuid4(), os.urandom(BODY_BYTES), BlindIndex(provider)
    aad = body_aad(key_id, 1)
    sealed = key.seal(body, aad)
    return [
        measure(f"seal {BODY_BYTES} bytes", lambda: key.seal(body, aad)),
        measure(f"unseal {BODY_BYTES} bytes", lambda: key.unseal(sealed, aad)),
        measure("blind index token", lambda: index.token("phone", "+8613800138000")),
        measure("submission id", lambda: submission_id(provider, "web", "message-1")),
    ]


async def batch_figures(ring: KeyRing, size: int, provider: LocalKeyFile) -> list[Figure]:
    """Creating and opening keys in batches of `size`."""
    key_ids = [uuid4() for _ in range(size)]
    with Stopwatch() as watch:
        drafts = ring.draft(key_ids)
    reader = KeyRing(ring.store, provider)
    return [
        watch.figure(f"draft, batch of {size}", size),
        await measure_async(f"insert, batch of {size}", size, lambda: ring.store.transaction(lambda each: ring.insert(drafts.values(), each))),
        await measure_async(f"open from the database, batch of {size}", size, lambda: reader.open(key_ids)),
        await measure_async(f"open from the cache, batch of {size}", size, lambda: reader.open(key_ids)),
    ]


async def fill(ring: KeyRing, count: int) -> list[UUID]:
    """So many keys in the ring."""
    key_ids = [uuid4() for _ in range(count)]
    for at in range(0, count, 2_000):
        drafts = ring.draft(key_ids[at : at + 2_000])
        await ring.store.transaction(lambda transaction, drafts=drafts: ring.insert(drafts.values(), transaction))  # type: ignore[misc]
    return key_ids


async def rotation_figures(ring: KeyRing, count: int) -> list[Figure]:
    """Rotating everything, and the slots of one erased person; the wait for old transactions is left out."""
    key_ids = await fill(ring, count)
    everything = await measure_async(f"rotate all slots, {count:,} keys", count, lambda: rotate_slots(ring, transaction_lifetime_seconds=0))
    slots = {slot_of(key_id) for key_id in key_ids[:ERASED_PERSON_KEYS]}
    with Stopwatch() as watch:
        done = await rotate_slots(ring, slots, transaction_lifetime_seconds=0)
    return [everything, watch.figure(f"rotate {len(slots)} slots of one person among {count:,} keys", done.keys)]


async def run(uri: str, count: int) -> list[Figure]:
    """All figures."""
    with tempfile.TemporaryDirectory() as folder:
        provider = LocalKeyFile.open(Path(folder) / "keys")
        store = await Store.connect(uri, database="keyring", namespace=f"bench_{os.getpid()}_")
        try:
            ring = KeyRing(store, provider)
            await ring.start()
            figures = pure_figures(provider)
            await batch_figures(ring, BATCHES[0], provider)  # the first call opens connections
            for size in BATCHES:
                figures += await batch_figures(ring, size, provider)
            return figures + await rotation_figures(ring, count)
        finally:
            await store.drop()
            store.close()


@contextmanager
def mongodb() -> Iterator[str]:
    """The server of the environment, else a throwaway one."""
    given = os.environ.get("KEHU_MONGODB_URI")
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory() as folder, throwaway_mongodb(Path(folder)) as uri:
        yield uri


def main() -> None:
    """Print the table; with `--json FILE` also write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with mongodb() as uri:
        figures = asyncio.run(run(uri, arguments.keys))
    print(f"{'':58} {'CPU us':>9} {'wall us':>9}  per item")
    for figure in figures:
        print(f"{figure.what:58} {figure.cpu_us:9.2f} {figure.wall_us:9.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=2))


if __name__ == "__main__":
    main()

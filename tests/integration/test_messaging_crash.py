"""Processes that are killed or frozen at every named place of the batch worker: nothing is lost, nothing has two effects.

The handler guards by nothing but the worker's own position, so whatever the worker would repeat or skip shows. `KEHU_MUTANT` breaks a
rule of the killed processes: `KEHU_MUTANT=no_offset_check make crash-test` must be red here.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from shared.failpoints import FAILPOINTS, KILLED, OF_MUTANTS
from shared.messaging import Batch, DeadLetters, Effects
from shared.storage import Transaction
from tests.integration.messaging_rig import Outcome, Rig, Servers, rig, submission, until

pytestmark = pytest.mark.servers
ROOT = Path(__file__).parents[2]
COUNT, MORE = 40, 20
STRIKES = 5
PARTITIONS = [pytest.param(1, id="alone", marks=pytest.mark.long), pytest.param(3, id="joined")]
"""What one poll brings of several partitions shares a transaction; a single one has its own."""
OF_OTHER_WORK = {"worker.redrive_before_commit", "worker.mark_pass_before_commit"}
PLACES = sorted(each for each in FAILPOINTS - OF_OTHER_WORK - OF_MUTANTS if each.startswith("worker."))


@pytest.fixture
def servers(kafka_bootstrap: str, mongodb_uri: str, namespace: str) -> Servers:
    return Servers(kafka_bootstrap, namespace, mongodb_uri)


@asynccontextmanager
async def _process(servers: Servers, failpoint: str = "", mutant: str = os.environ.get("KEHU_MUTANT", "")) -> AsyncIterator[Process]:
    """A worker process; it is asked to stop at the end, if it still runs."""
    environment = {
        **os.environ,
        "KEHU_KAFKA_BOOTSTRAP_SERVERS": servers.kafka_bootstrap_servers,
        "KEHU_MONGODB_URI": servers.mongodb_uri,
        "KEHU_NAMESPACE": servers.namespace,
        "KEHU_FAILPOINT": failpoint,
        "KEHU_MUTANT": mutant,
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.integration.messaging_process", cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        await _end(process)


async def _end(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGCONT)
        process.terminate()
    try:
        async with asyncio.timeout(20):
            await process.wait()
    except TimeoutError:
        process.kill()
        raise


async def _die(servers: Servers, failpoint: str, **options: str) -> None:
    async with _process(servers, failpoint, **options) as victim, asyncio.timeout(60):
        assert await victim.wait() == KILLED


async def _crash_and_recover(servers: Servers, partitions: int, failpoint: str, **options: str) -> Outcome:
    """One worker dies at the failpoint, its successor finishes the work."""
    async with rig(servers, partitions=partitions) as one:
        await one.broker.publish([submission(number) for number in range(COUNT)])
        await _die(servers, failpoint, **options)
        async with _process(servers, **options):
            await until(lambda: one.settled(COUNT), 60)
            return await one.outcome(COUNT)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("partitions", PARTITIONS)
async def test_a_kill_at_any_named_place_loses_nothing_and_doubles_nothing(servers: Servers, partitions: int) -> None:
    """Goal: F2 of the fault matrix for one worker. All places run side by side, each with topics and a database of its own."""
    few_at_once = asyncio.Semaphore(4)

    async def crash(number: int, place: str) -> Outcome:
        async with few_at_once:
            own = Servers(servers.kafka_bootstrap_servers, f"{servers.namespace}{number}_", servers.mongodb_uri)
            return await _crash_and_recover(own, partitions, place)

    outcomes = await asyncio.gather(*(crash(*each) for each in enumerate(PLACES)), return_exceptions=True)
    assert dict(zip(PLACES, outcomes, strict=True)) == dict.fromkeys(PLACES, Outcome())


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_mark_pass_killed_before_its_commit_is_made_once(servers: Servers) -> None:
    async with rig(servers, partitions=1) as one:
        marks = one.store.collection("marks")
        await marks.insert_many([{"_id": number, "partition": 0, "passes": 0} for number in range(COUNT)])
        for _ in range(STRIKES):
            await _die(servers, "worker.mark_pass_before_commit")
        async with _process(servers):
            await until(lambda: _none(one, "marks", {"partition": 0}), 60)
        assert {row["passes"] for row in await marks.find({})} == {1}


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_redrive_killed_before_its_commit_is_made_once(servers: Servers) -> None:
    """Every submission was refused once; redriven, each has its effect once, and no dead letter is left."""
    async with rig(servers, partitions=1) as one:
        await one.broker.publish([submission(number) for number in range(COUNT)])
        async with one.running(one.worker(_refuse_all)):
            await until(lambda: _dead_letters(one, COUNT))
        letters = DeadLetters(one.store)
        for letter in await letters.list():
            await letters.redrive(letter.id)
        for _ in range(STRIKES):
            await _die(servers, "worker.redrive_before_commit")
        async with _process(servers):
            await until(lambda: one.settled(COUNT), 60)
        assert await one.outcome(COUNT) == Outcome()
        assert await letters.count() == {}


@pytest.mark.parametrize("partitions", PARTITIONS)
async def test_an_outbox_deleted_too_early_loses_the_events_and_nothing_else(servers: Servers, partitions: int) -> None:
    """Goal: the tests above can fail. The mutant deletes the outbox document before Kafka has the events, and dies in between."""
    outcome = await _crash_and_recover(servers, partitions, "worker.after_outbox_delete_before_publish", mutant="outbox_deleted_early")

    assert 0 < outcome.events_lost <= COUNT
    assert outcome == Outcome(events_lost=outcome.events_lost)


@pytest.mark.parametrize("partitions", PARTITIONS)
@pytest.mark.parametrize("place", ["worker.before_commit", "worker.fetched_before_transaction"])
async def test_a_frozen_process_that_wakes_after_its_partitions_moved_does_no_harm(servers: Servers, place: str, partitions: int) -> None:
    """Goal: a zombie stopped inside its transaction, or on the way to it, past the session timeout wakes, finds itself fenced out, and
    doubles nothing."""
    assert await _wake_a_zombie(servers, partitions, place) == Outcome()


@pytest.mark.parametrize("partitions", PARTITIONS)
async def test_without_the_check_of_the_position_a_zombie_applies_its_batch_again(servers: Servers, partitions: int) -> None:
    """Goal: the test above can fail. Its records were applied by its successor, and nothing in the handler would notice."""
    outcome = await _wake_a_zombie(servers, partitions, "worker.fetched_before_transaction", mutant="no_offset_check")

    assert 0 < outcome.effects_doubled <= COUNT
    assert outcome == Outcome(effects_doubled=outcome.effects_doubled)


async def _wake_a_zombie(servers: Servers, partitions: int, place: str, **options: str) -> Outcome:
    async with rig(servers, partitions=partitions) as one:
        await one.broker.publish([submission(number) for number in range(COUNT)])
        async with _process(servers, f"{place}:1:freeze", **options) as zombie:
            await until(lambda: _stopped(zombie), 30)
            async with _process(servers, **options) as successor:
                await until(lambda: one.settled(COUNT), 40)
                zombie.send_signal(signal.SIGCONT)
                await one.broker.publish([submission(number) for number in range(COUNT, COUNT + MORE)])
                await until(lambda: one.settled(COUNT + MORE), 30)
                # It goes only once it has finished, or given up, what it held when it froze.
                await _end(zombie)
                outcome = await one.outcome(COUNT + MORE)
        assert (zombie.returncode, successor.returncode) == (0, 0)
    return outcome


def _stopped(process: Process) -> bool:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def _refuse_all(batch: Batch, transaction: Transaction) -> Effects:
    effects = Effects()
    for record in batch:
        effects.reject(record, "refused")
    return effects


async def _dead_letters(one: Rig, count: int) -> bool:
    return await one.store.collection("dead_letters").count({}) == count


async def _none(one: Rig, collection: str, query: dict[str, object]) -> bool:
    return await one.store.collection(collection).count(query) == 0

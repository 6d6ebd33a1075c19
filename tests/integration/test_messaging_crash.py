"""Processes that are killed or frozen at every named place of the batch worker: nothing is lost, nothing has two effects."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from contextlib import suppress
from pathlib import Path

import pytest

from shared.failpoints import FAILPOINTS
from tests.integration.messaging_rig import Rig, Servers, rig, submission, until

pytestmark = pytest.mark.servers
ROOT = Path(__file__).parents[2]
COUNT = 40
NOT_PASSED = {"worker.redrive_before_commit", "worker.mark_pass_before_commit", "worker.after_outbox_delete_before_publish"}
PLACES = sorted(each for each in FAILPOINTS - NOT_PASSED if each.startswith("worker."))


async def _spawn(servers: Servers, failpoint: str = "", mutant: str = "") -> Process:
    environment = {
        **os.environ,
        "KEHU_KAFKA_BOOTSTRAP_SERVERS": servers.kafka_bootstrap_servers,
        "KEHU_MONGODB_URI": servers.mongodb_uri,
        "KEHU_NAMESPACE": servers.namespace,
        "KEHU_FAILPOINT": failpoint,
        "KEHU_MUTANT": mutant,
    }
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.integration.messaging_process", cwd=ROOT, env=environment)


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


async def _crash_and_recover(servers: Servers, failpoint: str, mutant: str = "") -> None:
    """One worker dies at the failpoint, its successor finishes the work."""
    async with rig(servers, partitions=1) as one:
        await one.broker.publish([submission(number) for number in range(COUNT)])
        victim = await _spawn(servers, failpoint, mutant)
        try:
            async with asyncio.timeout(60):
                assert await victim.wait() == 137
        finally:
            await _end(victim)
        successor = await _spawn(servers, mutant=mutant)
        try:
            await until(lambda: one.settled(COUNT), 60)
            await one.assert_exactly_once(COUNT)
        finally:
            await _end(successor)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_a_kill_at_any_named_place_loses_nothing_and_doubles_nothing(kafka_bootstrap: str, mongodb_uri: str, namespace: str) -> None:
    """Goal: F2 of the fault matrix for one worker. All places run side by side, each with topics and a database of its own."""
    worlds = [Servers(kafka_bootstrap, f"{namespace}{number}_", mongodb_uri) for number in range(len(PLACES))]
    few_at_once = asyncio.Semaphore(4)

    async def crash(servers: Servers, place: str) -> None:
        async with few_at_once:
            await _crash_and_recover(servers, place)

    outcomes = await asyncio.gather(*(crash(*each) for each in zip(worlds, PLACES, strict=True)), return_exceptions=True)
    broken = {place: repr(outcome) for place, outcome in zip(PLACES, outcomes, strict=True) if outcome is not None}
    assert broken == {}


async def test_an_outbox_deleted_too_early_is_noticed(kafka_bootstrap: str, mongodb_uri: str, namespace: str) -> None:
    """Goal: the test above can fail. The mutant deletes the outbox document before Kafka has the events, and dies in between."""
    with pytest.raises(AssertionError):
        await _crash_and_recover(
            Servers(kafka_bootstrap, namespace, mongodb_uri), "worker.after_outbox_delete_before_publish", "outbox_deleted_early"
        )


async def test_a_frozen_process_that_wakes_after_its_partition_moved_does_no_harm(kafka_bootstrap: str, mongodb_uri: str, namespace: str) -> None:
    """Goal: a zombie stopped inside its transaction past the session timeout wakes, finds itself fenced out, and doubles nothing."""
    servers = Servers(kafka_bootstrap, namespace, mongodb_uri)
    async with rig(servers, partitions=1) as one:
        await one.broker.publish([submission(number) for number in range(COUNT)])
        zombie = await _spawn(servers, "worker.before_commit:1:freeze")
        await until(lambda: _has_epoch(one, 1), 30)
        successor = await _spawn(servers)
        try:
            await until(lambda: one.settled(COUNT), 40)
            zombie.send_signal(signal.SIGCONT)
            await one.broker.publish([submission(number) for number in range(COUNT, COUNT + 20)])
            await until(lambda: one.settled(COUNT + 20), 30)
            await one.assert_exactly_once(COUNT + 20)
        finally:
            await asyncio.gather(_end(zombie), _end(successor))
        assert (zombie.returncode, successor.returncode) == (0, 0)


async def _has_epoch(one: Rig, epoch: int) -> bool:
    return await one.store.collection("offsets").count({"epoch": {"$gte": epoch}}) == 1

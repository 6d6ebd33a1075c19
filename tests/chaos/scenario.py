"""One run: a stack, a stream, whatever disturbs it, and the verdict."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.local.stack import Stack
from deploy.local.state import read_state
from deploy.local.throwaway_stack import running_stack
from tests.chaos.killer import Killer
from tests.chaos.observe import differences, digest, observe
from tests.chaos.oracle import expected
from tests.chaos.sender import Sender
from tests.chaos.stack import Clients
from tests.chaos.stream import stream


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is sent and what is done meanwhile.

    Attributes:
        kills: `kill -9` over all services and both servers.
        pause_seconds: between two kills, at least and at most.
        failpoints: by service, the places at which its restarts end, one after the other; needs at least one kill of each service.
        mutant: a rule to break, to see the verdict turn red.
    """

    submissions: int
    persons: int
    seed: int = 7
    kills: int = 0
    pause_seconds: tuple[float, float] = (1.0, 3.0)
    failpoints: Mapping[str, Sequence[str]] = field(default_factory=dict)
    mutant: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came out; `differences` is empty when nothing was lost or doubled."""

    differences: list[str]
    digest: str
    kills: dict[str, int]
    restarts: dict[str, int]


def run(scenario: Scenario, root: Path) -> Verdict:
    """Runs it under `root`."""
    environment = {f"KEHU_FAILPOINTS_{service.upper()}": ",".join(places) for service, places in scenario.failpoints.items()}
    environment |= {"KEHU_BACK_OFF_MAX_S": "0.5"} | ({"KEHU_MUTANT": scenario.mutant} if scenario.mutant else {})
    with running_stack(root, environment) as stack:
        return asyncio.run(_run(scenario, stack))


async def _run(scenario: Scenario, stack: Stack) -> Verdict:
    clients = Clients(stack)
    sent = list(stream(scenario.submissions, scenario.persons, scenario.seed))
    busy_seconds = scenario.kills * sum(scenario.pause_seconds) / 2
    pause = busy_seconds / max(len(sent) / 100, 1)
    sender = Sender(str(clients["intake"].base_url), await clients.write_keys(), pause)
    killer = Killer(stack.places.state, scenario.seed)
    async with asyncio.TaskGroup() as group:
        group.create_task(sender.send(sent))
        group.create_task(killer.kill(scenario.kills, scenario.pause_seconds))
    await clients.wait_until_drained(len(sent))
    observed = await observe(stack, clients, sender.submission_ids)
    golden = await _golden(stack)
    await clients.close()
    state = read_state(stack.places.state)
    restarts = {name: child.restarts for name, child in state.children.items()} if state else {}
    return Verdict(differences(expected(sent), observed), digest(observed, golden), dict(killer.kills), restarts)


async def _golden(stack: Stack) -> Mapping[str, Any]:
    """What profile believes about each customer, opened with the keys of the run."""
    from shared.sealing import KeyRing, LocalKeyFile
    from shared.storage import Store

    # By name: services may not be imported by shared code, and this test is the only reader.
    state_of = importlib.import_module("services.profile.digest").golden_values
    store = await Store.connect(stack.mongodb_uri("operator"), database="profile", namespace=stack.namespace)
    keyring = KeyRing(store.other("keyring"), LocalKeyFile.open(stack.places.keys))
    golden: Mapping[str, Any] = await state_of(store, keyring)
    store.close()
    return golden

"""One run: a stack, a stream, whatever disturbs it, and the verdict."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.local.crash_plan import strikes, strikes_file
from deploy.local.stack import Stack
from deploy.local.state import read_state
from deploy.local.throwaway_stack import running_stack
from tests.chaos.comparison import Difference, differences, digest
from tests.chaos.copies import Copies
from tests.chaos.eraser import Eraser
from tests.chaos.killer import Killer
from tests.chaos.observe import observe
from tests.chaos.oracle import expected
from tests.chaos.places import GAPS, Plan, wanted
from tests.chaos.sender import Sender
from tests.chaos.stack import Clients
from tests.chaos.stream import leavers, stream

STRIKES_SECONDS = 900.0
LEAVER_SUBMISSIONS = 20
"""Of each person who is erased, about."""


class NotStruck(AssertionError):
    """A failpoint was armed and never reached: the run says nothing about it."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is sent and what is done meanwhile.

    Attributes:
        leavers: people beside `persons` who are erased while the stream goes on.
        kills: `kill -9` over all services and both servers.
        kill_pause_seconds: between two kills, at least and at most.
        failpoints: by service, what its restarts shall end at; at least one kill of that service comes first.
        send_pause_seconds: each channel's rest after a batch, until all kills and failpoints have struck; then it sends at full speed.
        mutant: a rule to break, to see the verdict turn red.
    """

    submissions: int
    persons: int
    leavers: int = 0
    seed: int = 7
    kills: int = 0
    kill_pause_seconds: tuple[float, float] = (1.0, 3.0)
    failpoints: Plan = field(default_factory=dict)
    send_pause_seconds: float = 0.0
    mutant: str = ""


def broken(mutant: str) -> Scenario:
    """A short run that meets the gap of a mutant; nobody is erased, since an erasure would wait for what is lost."""
    return Scenario(3_000, 300, kills=7, kill_pause_seconds=(0.5, 1.0), failpoints=GAPS[mutant], send_pause_seconds=1.0, mutant=mutant)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came out; `differences` is empty when nothing was lost or doubled.

    Attributes:
        certified: source records that certificates of erasure name.
        rows: documents by what they are.
        copies: by topic, of the event that carries a submission: what was repeated on the way, and had no effect.
        seconds: from the first submission until everything was observed.
    """

    differences: list[Difference]
    digest: str
    certified: int
    rows: Mapping[str, int]
    copies: Mapping[str, Copies]
    kills: Counter[str]
    strikes: Counter[str]
    restarts: Mapping[str, int]
    seconds: float

    def surplus(self, what: str) -> int:
        """How much too much there is of something; negative for what is lost, 0 for what is exact."""
        return sum(each.surplus for each in self.differences if each.what == what)


def run(scenario: Scenario, root: Path) -> Verdict:
    """Runs it under `root`.

    Raises:
        NotStruck: an armed failpoint was never reached.
    """
    environment = {f"KEHU_FAILPOINTS_{service.upper()}": ",".join(entries) for service, entries in scenario.failpoints.items()}
    environment |= {"KEHU_BACK_OFF_MAX_S": "0.5"} | ({"KEHU_MUTANT": scenario.mutant} if scenario.mutant else {})
    with running_stack(root, environment) as stack:
        return asyncio.run(_Run(scenario, stack).verdict())


class _Run:
    def __init__(self, scenario: Scenario, stack: Stack) -> None:
        self._scenario, self._stack, self._clients = scenario, stack, Clients(stack)
        self._staying = list(stream(scenario.submissions, scenario.persons, scenario.seed))
        self._leaving = list(leavers(LEAVER_SUBMISSIONS * scenario.leavers, scenario.leavers, scenario.seed))
        self._killer = Killer(stack.places.state, scenario.seed)

    async def verdict(self) -> Verdict:
        started = time.monotonic()
        write_keys = await self._clients.write_keys()
        sender = Sender(str(self._clients["intake"].base_url), write_keys, self._scenario.send_pause_seconds)
        eraser = Eraser(self._clients, self._leaving, sender.submission_ids)
        async with asyncio.TaskGroup() as group:
            group.create_task(sender.send([*self._leaving, *self._staying]))
            group.create_task(eraser.erase(self._killer.met_all))
            group.create_task(self._disturb(sender.hurry))
        await self._clients.wait_until_drained()
        observed = await observe(self._stack, self._clients, sender.submission_ids)
        golden = await _golden(self._stack)
        await self._clients.close()
        state = read_state(self._stack.places.state)
        return Verdict(
            differences=differences(expected(self._staying, self._leaving), observed, eraser.certified),
            digest=digest(observed, golden),
            certified=eraser.certified,
            rows=observed.rows,
            copies=observed.copies,
            kills=self._killer.kills,
            strikes=self._strikes(),
            restarts={name: child.restarts for name, child in state.children.items()} if state else {},
            seconds=time.monotonic() - started,
        )

    async def _disturb(self, hurry: asyncio.Event) -> None:
        await self._killer.kill(self._scenario.kills, self._scenario.kill_pause_seconds)
        deadline, goal = time.monotonic() + STRIKES_SECONDS, wanted(self._scenario.failpoints)
        while left := goal - self._strikes():
            if time.monotonic() > deadline:
                raise NotStruck(f"not struck, and how often: {dict(left)}")
            await asyncio.sleep(0.5)
        hurry.set()

    def _strikes(self) -> Counter[str]:
        logs = self._stack.places.logs
        return sum((strikes(strikes_file(logs, service)) for service in self._stack.services), Counter())


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

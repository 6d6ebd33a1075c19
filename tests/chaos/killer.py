"""Kills processes of a running stack by `kill -9`, one at a time, at random."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from deploy.local.stack import SERVICES
from deploy.local.state import is_same_process, read_state

SERVERS: Sequence[str] = ("kafka", "mongod")


class Killer:
    """Kills by the supervisor's own record of its processes.

    Attributes:
        kills: how often each victim was hit.
        met_all: set once every victim was hit: from then on every service ends at its failpoints.
    """

    def __init__(self, state: Path, seed: int) -> None:
        self._state = state
        self._random = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.met_all = asyncio.Event()

    async def kill(self, times: int, pause_seconds: tuple[float, float]) -> None:
        """`times` kills with a random pause before each.

        Every victim is hit before any is hit twice, the services first: only a service that was started again meets its failpoints.
        """
        for victim in self._victims(times):
            await asyncio.sleep(self._random.uniform(*pause_seconds))
            await self._kill_when_running(victim)
            if len(self.kills) == len(SERVICES) + len(SERVERS):
                self.met_all.set()
        self.met_all.set()

    async def _kill_when_running(self, victim: str) -> None:
        """One kill, as soon as the victim runs."""
        for _ in range(600):
            state = read_state(self._state)
            child = state.children.get(victim) if state else None
            if child and child.pid and is_same_process(child.pid, child.created):
                os.kill(child.pid, signal.SIGKILL)
                self.kills[victim] += 1
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"{victim} was not started again")

    def _victims(self, times: int) -> list[str]:
        order = self._random.sample(SERVICES, len(SERVICES)) + self._random.sample(SERVERS, len(SERVERS))
        while len(order) < times:
            order += self._random.sample(SERVICES + tuple(SERVERS), len(SERVICES) + len(SERVERS))
        return order[:times]

"""Kills processes of a running stack by `kill -9`, one at a time, at random."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from deploy.local.state import is_same_process, read_state

VICTIMS: Sequence[str] = ("intake", "dedup", "profile", "analytics", "privacy", "kafka", "mongod")


class Killer:
    """Kills by the supervisor's own record of its processes.

    Attributes:
        kills: how often each victim was hit.
    """

    def __init__(self, state: Path, seed: int) -> None:
        self._state = state
        self._random = random.Random(seed)
        self.kills: Counter[str] = Counter()

    async def kill(self, times: int, pause_seconds: tuple[float, float]) -> None:
        """`times` kills with a random pause before each; every victim is hit before any is hit twice."""
        order = [victim for _ in range(times // len(VICTIMS) + 1) for victim in self._random.sample(VICTIMS, len(VICTIMS))]
        for victim in order[:times]:
            await asyncio.sleep(self._random.uniform(*pause_seconds))
            await self._kill_when_running(victim)

    async def _kill_when_running(self, victim: str) -> None:
        for _ in range(600):
            state = read_state(self._state)
            child = state.children.get(victim) if state else None
            if child and child.pid and is_same_process(child.pid, child.created):
                os.kill(child.pid, signal.SIGKILL)
                self.kills[victim] += 1
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"{victim} was not started again")

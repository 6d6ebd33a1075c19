"""What the supervisor tells others about itself: a small JSON file, replaced as a whole."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import psutil

STARTING, READY, FAILED, STOPPING = "starting", "ready", "failed", "stopping"


class ChildState(msgspec.Struct, omit_defaults=True):
    """One process of the stack.

    Attributes:
        created: when the process began, seconds since the epoch: tells it from another process that later got its number.
        restarts: how often it had to be started again.
    """

    name: str
    pid: int = 0
    created: float = 0.0
    restarts: int = 0
    port: int = 0


class StackState(msgspec.Struct, omit_defaults=True):
    """The stack at the moment of writing.

    Attributes:
        phase: `starting`, `ready`, `failed` or `stopping`.
        step: what the start is doing now.
        seconds: from the supervisor's start until ready.
        mongodb_uri: without a user's password.
    """

    pid: int
    created: float
    phase: str = STARTING
    step: str = ""
    error: str = ""
    seconds: float = 0.0
    kafka_bootstrap_servers: str = ""
    mongodb_uri: str = ""
    namespace: str = ""
    children: dict[str, ChildState] = {}

    @property
    def alive(self) -> bool:
        """Whether the supervisor that wrote this still lives."""
        return is_same_process(self.pid, self.created)


def is_same_process(pid: int, created: float) -> bool:
    """Whether `pid` is still the process that began at `created`."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - created) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def created_at(pid: int) -> float:
    """When this process began; 0 when it is gone."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0


def read_state(path: Path) -> StackState | None:
    """The last state written; None when there is none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=StackState)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def write_state(path: Path, state: StackState) -> None:
    """Replace the file in one step, so that a reader never sees half of it."""
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_bytes(msgspec.json.encode(state))
    partial.replace(path)


def end_leftovers(state: StackState | None) -> list[str]:
    """Kill what a dead supervisor left running. Returns the names; usually none, since children die with their parent."""
    ended = []
    for child in state.children.values() if state else ():
        if child.pid and is_same_process(child.pid, child.created):
            process = psutil.Process(child.pid)
            process.kill()
            process.wait(10)
            ended.append(child.name)
    return ended


def cpu_seconds(state: StackState) -> dict[str, float]:
    """User + system CPU so far, by process of the stack that runs."""
    figures = {}
    for name, child in state.children.items():
        if child.pid:
            times = psutil.Process(child.pid).cpu_times()
            figures[name] = times.user + times.system
    return figures

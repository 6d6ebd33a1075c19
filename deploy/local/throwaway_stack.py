"""A whole stack of its own for a benchmark, a journey or a crash test: real servers, all services, ports and data apart from any other."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from deploy.local.places import Places
from deploy.local.stack import Stack
from deploy.local.state import FAILED, READY, read_state

START_SECONDS = 120.0


class StackDidNotStart(RuntimeError):
    """The stack ended or was not ready in time."""


def neighbouring_free_ports(count: int) -> int:
    """The first of `count` neighbouring free ports."""
    for first in range(23_000 + os.getpid() % 5_000, 60_000, count):
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    raise RuntimeError("no free ports")


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@contextmanager
def running_stack(root: Path, environment: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """A stack that is ready; stopped afterwards, its data left on disk.

    Args:
        environment: extra variables for the supervisor and so for every service.

    Raises:
        StackDidNotStart: the message says why.
    """
    first = neighbouring_free_ports(8)
    variables = {
        "KEHU_DATA_FOLDER": str(root),
        "KEHU_EMBEDDED_KAFKA_PORT": str(first),
        "KEHU_EMBEDDED_MONGODB_PORT": str(first + 2),
        "KEHU_SERVICE_PORT": str(first + 3),
    }
    stack = Stack(Places(root), kafka_port=first, mongodb_port=first + 2, service_port=first + 3)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KEHU_") or name == "KEHU_CACHE_FOLDER"}
    stack.places.create()
    with (root / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local.supervisor"],
            env=inherited | variables | dict(environment or {}),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
        try:
            _wait_until_ready(stack, process)
            yield stack
        finally:
            process.terminate()
            process.wait(60)


def _wait_until_ready(stack: Stack, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        state = read_state(stack.places.state)
        if state and state.pid == process.pid and state.phase == READY:
            return
        if process.poll() is not None or (state and state.phase == FAILED):
            raise StackDidNotStart(f"the stack did not start: {state.error if state else process.returncode}")
        time.sleep(0.2)
    raise StackDidNotStart("the stack was not ready in time")

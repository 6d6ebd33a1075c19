"""`kehu up`, `down`, `status`, `logs`: the life of the embedded stack."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Annotated

import typer

from deploy.local.commands.show import note, out
from deploy.local.connection import CommandFailed
from deploy.local.places import Places
from deploy.local.state import FAILED, READY, StackState, end_leftovers, read_state

START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 60.0
_POLL_S = 0.1


def up() -> None:
    """Start Kafka, MongoDB and the five services in the background, and return when they are ready.

    Servers of your own: KEHU_KAFKA_BOOTSTRAP_SERVERS and KEHU_MONGODB_URI; then none is started for them. Other ports:
    KEHU_EMBEDDED_KAFKA_PORT, KEHU_EMBEDDED_MONGODB_PORT, KEHU_SERVICE_PORT. Another data folder: KEHU_DATA_FOLDER.
    """
    places = Places.default()
    state = read_state(places.state)
    if state and state.alive and state.phase == READY:
        out.print("Kehu runs already.")
        print_addresses(state)
        return
    _require_servers()
    places.create()
    state = _follow(places, _start_supervisor(places))
    out.print(f"Ready after {state.seconds} s.")
    print_addresses(state)


def down() -> None:
    """Stop everything that `kehu up` started. Data are kept."""
    import psutil

    places = Places.default()
    state = read_state(places.state)
    if state is None or not state.alive:
        left = end_leftovers(state)
        out.print(f"Nothing runs{'; ended what was left: ' + ', '.join(left) if left else ''}.")
        return
    supervisor = psutil.Process(state.pid)
    supervisor.terminate()
    note("stopping, so that every service hands over what it holds ...")
    try:
        supervisor.wait(STOP_TIMEOUT_S)
    except psutil.TimeoutExpired:
        supervisor.kill()
        end_leftovers(state)
    places.state.unlink(missing_ok=True)
    out.print("Stopped. Data are kept in", str(places.root))


def logs(
    name: Annotated[str, typer.Argument(help="intake, dedup, profile, analytics, privacy, kafka, mongod or supervisor.")] = "supervisor",
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many lines from the end.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing what is added; end with Ctrl-C.")] = False,
) -> None:
    """Print the end of a process's log."""
    path = Places.default().logs / f"{name}.log"
    if not path.exists():
        known = sorted(each.stem for each in path.parent.glob("*.log"))
        raise CommandFailed(f"there is no log called {name}; known are: {', '.join(known) or 'none, nothing ever ran here'}")
    os.execvp("tail", ["tail", "-n", str(lines), *(["-F"] if follow else []), str(path)])  # noqa: S606 - fixed program, a path of our own


def print_addresses(state: StackState) -> None:
    """Where to look."""
    for name, child in state.children.items():
        if name not in ("kafka", "mongod"):
            out.print(f"  {name:<10} http://127.0.0.1:{child.port}  (/docs, /asyncapi)", highlight=False)
    out.print(f"  {'Kafka':<10} {state.kafka_bootstrap_servers}\n  {'MongoDB':<10} {state.mongodb_uri}", highlight=False)


def _require_servers() -> None:
    """Find out before anything starts what this machine lacks, and fetch Kafka's jars with a progress bar."""
    from deploy.local.kafka_jars import JarsUnavailable
    from deploy.local.requirements import MissingServer, require

    try:
        require(kafka="KEHU_KAFKA_BOOTSTRAP_SERVERS" not in os.environ, mongodb="KEHU_MONGODB_URI" not in os.environ)
    except (JarsUnavailable, MissingServer) as error:
        raise CommandFailed(str(error), getattr(error, "zh", "")) from error


def _start_supervisor(places: Places) -> subprocess.Popen[bytes]:
    """Detached: in a session of its own, it outlives this command and its terminal."""
    environment = {**os.environ, "KEHU_DATA_FOLDER": str(places.root)}
    with (places.logs / "supervisor.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "deploy.local.supervisor"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )


def _follow(places: Places, supervisor: subprocess.Popen[bytes]) -> StackState:
    """Show the supervisor's steps until it is ready.

    Raises:
        CommandFailed: the start failed, or took too long.
    """
    deadline, shown = time.monotonic() + START_TIMEOUT_S, ""
    while time.monotonic() < deadline:
        state = read_state(places.state)
        if state and state.pid == supervisor.pid:
            if state.step != shown and state.phase not in (READY, FAILED):
                note(shown := state.step)
            if state.phase == READY:
                return state
            if state.phase == FAILED:
                raise CommandFailed(f"{state.error}\nSee `kehu logs supervisor`.")
        if supervisor.poll() is not None:
            raise CommandFailed(f"the supervisor ended with {supervisor.returncode}; see `kehu logs supervisor`")
        time.sleep(_POLL_S)
    raise CommandFailed(f"not ready after {START_TIMEOUT_S:.0f} s; see `kehu logs supervisor`")

"""`kehu status`: processes, lag and dead letters at one glance."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.local.commands.show import failure, out
from deploy.local.connection import CommandFailed, Connection
from deploy.local.places import Places
from deploy.local.state import READY, ChildState, StackState, read_state

if TYPE_CHECKING:
    from rich.table import Table

    from deploy.local.lag import GroupLag

NOT_RUNNING = 3
"""Exit status when the stack does not run, as service managers use it."""


@dataclass(frozen=True, slots=True)
class Health:
    """What one process says about itself.

    Attributes:
        state: `ready`, `not ready`, `silent` (no answer) or `down`.
        lag_seconds: by topic, age of the oldest work not yet done.
    """

    state: str
    lag_seconds: dict[str, float]


def status(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Services, lag in records and seconds, dead letters. Ends with 3 when Kehu does not run."""
    state = read_state(Places.default().state)
    if state is None or not state.alive:
        failure("Kehu is not running; start it with `kehu up`.", "客户平台没有运行，请先执行 `kehu up`。")
        raise typer.Exit(NOT_RUNNING)
    healths = {name: _health(child) for name, child in state.children.items()}
    lags, dead = _figures(state)
    if as_json:
        typer.echo(json.dumps(_document(state, healths, lags, dead), ensure_ascii=False, indent=2))
        return
    out.print(f"Kehu is {state.phase}. {state.step if state.phase != READY else ''}")
    out.print(_process_table(state, healths, dead))
    if lags:
        out.print(_lag_table(lags, healths))


def _figures(state: StackState) -> tuple[list[GroupLag], dict[str, dict[str, int]]]:
    """Lag and dead letters; empty while the servers do not answer, which the table of processes shows."""
    from deploy.local.lag import consumer_lag, dead_letter_counts

    async def ask() -> tuple[list[GroupLag], dict[str, dict[str, int]]]:
        connection = Connection.open()
        return await consumer_lag(connection), await dead_letter_counts(connection)

    try:
        return asyncio.run(ask()) if state.phase == READY else ([], {})
    except Exception as error:  # noqa: BLE001 - a status command must show what it can while servers are down
        failure(f"lag and dead letters cannot be read now: {error if isinstance(error, CommandFailed) else type(error).__name__}")
        return [], {}


def _health(child: ChildState) -> Health:
    import httpx

    if not child.pid:
        return Health("down", {})
    if child.name in ("kafka", "mongod"):
        return Health("running", {})
    try:
        base = f"http://127.0.0.1:{child.port}"
        ready = httpx.get(f"{base}/readyz", timeout=3).status_code == 200
        consumers = httpx.get(f"{base}/livez", timeout=3).json()["consumers"]
    except (httpx.HTTPError, ValueError, KeyError):
        return Health("silent", {})
    seconds: dict[str, float] = {}
    for each in consumers:
        seconds[each["topic"]] = max(seconds.get(each["topic"], 0.0), float(each["lag_seconds"]))
    return Health("ready" if ready else "not ready", seconds)


def _process_table(state: StackState, healths: dict[str, Health], dead: dict[str, dict[str, int]]) -> Table:
    from rich.table import Table

    table = Table("process", "state", "port", "pid", "memory", "restarts", "dead letters", "parked")
    for name, child in state.children.items():
        counts = dead.get(name, {})
        letters = (str(counts.get("dead", 0)), str(counts.get("parked", 0))) if name in dead else ("", "")
        table.add_row(name, healths[name].state, str(child.port), str(child.pid or ""), _memory(child.pid), str(child.restarts), *letters)
    return table


def _lag_table(lags: list[GroupLag], healths: dict[str, Health]) -> Table:
    from rich.table import Table

    table = Table("service", "topic", "lag, records", "lag, seconds")
    for lag in lags:
        seconds = healths[lag.service].lag_seconds.get(lag.topic, 0.0) if lag.service in healths else 0.0
        table.add_row(lag.service, lag.topic, f"{lag.records:,}", f"{seconds:.1f}")
    return table


def _memory(pid: int) -> str:
    import psutil

    try:
        return f"{psutil.Process(pid).memory_info().rss / 1e6:,.0f} MB" if pid else ""
    except psutil.Error:
        return ""


def _document(state: StackState, healths: dict[str, Health], lags: list[GroupLag], dead: dict[str, dict[str, int]]) -> dict[str, Any]:
    processes = {
        name: {"state": healths[name].state, "port": child.port, "pid": child.pid, "restarts": child.restarts, "dead_letters": dead.get(name, {})}
        for name, child in state.children.items()
    }
    rows = [
        {
            "service": lag.service,
            "topic": lag.topic,
            "lag_records": lag.records,
            "lag_seconds": healths[lag.service].lag_seconds.get(lag.topic, 0.0) if lag.service in healths else 0.0,
        }
        for lag in lags
    ]
    return {"phase": state.phase, "processes": processes, "lag": rows}

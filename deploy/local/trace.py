"""The life of one submission, gathered from where each service keeps its part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deploy.local.client import ServiceClient
from deploy.local.connection import CommandFailed, Connection
from deploy.local.stack import SERVICES


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened.

    Attributes:
        at: ISO 8601, UTC; steps sort by it.
    """

    at: str
    service: str
    name: str
    detail: str


def steps_of(connection: Connection, submission_id: str) -> list[Step]:
    """What every running service knows of it, in order of time; a service that knows nothing adds nothing."""
    steps = [step for service in SERVICES if service in connection.ports for step in _part(connection, service, submission_id)]
    return sorted(steps, key=lambda step: step.at)


def _part(connection: Connection, service: str, submission_id: str) -> list[Step]:
    with ServiceClient(connection, service, ["operator"]) as client:
        try:
            answer = client.get(f"/v1/trace/{submission_id}")
        except CommandFailed as error:
            if "not_found" in str(error):
                return []
            raise
    return [Step(str(step["at"]), service, step["step"], _text(step.get("detail") or {})) for step in answer["steps"]]


def _text(detail: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in detail.items() if value not in (None, "", [], {}))

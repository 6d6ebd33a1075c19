"""Asking for an erasure, and waiting for it to end."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from deploy.local.client import ServiceClient
from deploy.local.commands.show import note
from deploy.local.connection import CommandFailed

TIMEOUT_S = 180.0
_POLL_S = 0.5
_DONE = ("closed", "completed", "done")


def request_erasure(privacy: ServiceClient, customer: UUID) -> Any:
    """Opens the request; from here on it goes on by itself."""
    request = privacy.post("/v1/requests", json={"kind": "erasure", "customer_id": str(customer)})
    note(f"request {request['request_id']}")
    return request


def wait_for_certificate(privacy: ServiceClient, request_id: str) -> Any:
    """The signed certificate, once every holder has answered.

    Raises:
        CommandFailed: not closed within `TIMEOUT_S`; the request goes on by itself.
    """
    deadline, shown = time.monotonic() + TIMEOUT_S, ""
    while time.monotonic() < deadline:
        state = privacy.get(f"/v1/requests/{request_id}")["state"]
        if state != shown:
            note(shown := state)
        if state in _DONE:
            return privacy.get(f"/v1/requests/{request_id}/certificate")
        time.sleep(_POLL_S)
    raise CommandFailed(f"request {request_id} is still {shown}; it goes on by itself, ask again later")

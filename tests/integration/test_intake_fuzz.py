"""Generated requests against the running process: whatever is sent, no answer is a server error and each one fits the OpenAPI document.

`KEHU_FUZZ_INPUTS` is the number of inputs in all (default 300; `make fuzz` sends 20,000).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from shared.access import LocalIssuer, mint_token
from shared.hosting import Settings
from shared.messaging.topic_admin import apply_topics
from tests.intake_service import QUIET
from tests.property.test_intake_door import anything, plausible

pytestmark = [pytest.mark.servers, pytest.mark.timeout(3_000), QUIET]

INPUTS = int(os.environ.get("KEHU_FUZZ_INPUTS", "300"))
QUIET_HYPOTHESIS = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@dataclass
class Door:
    url: str
    admin: dict[str, str]
    channel: dict[str, str]


@pytest.fixture
async def door(settings: Settings) -> Any:
    await apply_topics(settings.kafka_bootstrap_servers, settings.namespace)
    for started in _started(settings):
        yield started


def _started(settings: Settings) -> Iterator[Door]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given_settings = {
        "KEHU_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "KEHU_MONGODB_URI": settings.mongodb_uri,
        "KEHU_NAMESPACE": settings.namespace,
        "KEHU_KEY_FOLDER": str(settings.keys),
        "KEHU_DATA_FOLDER": str(settings.data_folder),
        "KEHU_PORT": str(port),
    }
    admin = {"Authorization": f"Bearer {mint_token(LocalIssuer(settings.keys).signing_key(), 'fuzzer', ['admin', 'steward', 'operator'])}"}
    process = subprocess.Popen([sys.executable, "-m", "services.intake"], env=os.environ | given_settings, stdout=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url)
        answer = httpx.post(f"{url}/v1/channels", json={"id": "fuzz", "kind": "web"}, headers=admin)
        yield Door(url, admin, {"Authorization": f"Bearer {answer.json()['write_key']}"})
        assert process.poll() is None, "the process has ended"
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError


def test_no_generated_request_meets_a_server_error_and_every_answer_fits_the_document(door: Door) -> None:
    schema = schemathesis.openapi.from_url(f"{door.url}/openapi.json")
    operations = [each.ok() for each in schema.get_all_operations() if each.ok().path not in {"/livez", "/readyz", "/metrics"}]
    sent = 0

    for operation in operations:

        @given(case=operation.as_strategy())
        @hypothesis_settings(max_examples=max(INPUTS // 2 // len(operations), 5), **QUIET_HYPOTHESIS)
        def send(case: Any) -> None:
            nonlocal sent
            sent += 1
            case.call_and_validate(headers=door.channel if case.path.startswith(("/v1/submissions", "/v1/imports")) else door.admin, checks=CHECKS)

        send()
    print(f"{sent} generated requests to {len(operations)} operations, no server error")


def test_no_json_and_no_bytes_at_the_hot_doors_meet_a_server_error(door: Door) -> None:
    sent = 0
    with httpx.Client(base_url=door.url, headers=door.channel | {"Content-Type": "application/json"}, timeout=60) as client:

        @given(
            path=st.sampled_from(["/v1/submissions", "/v1/submissions:batch", "/v1/submissions:batch?on_error=quarantine"]),
            items=st.lists(plausible | anything, min_size=1, max_size=3),
            cut=st.none() | st.integers(0, 200),
            noise=st.binary(max_size=8),
        )
        @hypothesis_settings(max_examples=INPUTS // 2, **QUIET_HYPOTHESIS)
        def send(path: str, items: list[Any], cut: int | None, noise: bytes) -> None:
            nonlocal sent
            sent += 1
            body = json.dumps(items[0] if path == "/v1/submissions" else {"submissions": items}).encode()
            answer = client.post(path, content=body if cut is None else body[:cut] + noise + body[cut:])
            assert answer.status_code in {202, 409, 413, 422}, answer.text
            assert answer.json()

        send()
    print(f"{sent} mutated bodies, no server error")

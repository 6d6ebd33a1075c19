"""Generated requests against the running installation: whatever is sent, no service answers with an error of its own or grows without bound.

`KEHU_FUZZ_INPUTS` is the number of inputs in all (default 400; `make fuzz` sends 20,000): more than half are bodies made for the two hot doors,
the rest requests made from the OpenAPI documents that the five services serve.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from deploy.local.stack import SERVICES, Stack
from deploy.local.state import read_state
from deploy.local.throwaway_stack import running_stack
from shared.access import ROLES, LocalIssuer, mint_token
from tests.journey.house import House
from tests.journey.people import Person
from tests.property.test_intake_door import anything, names, plausible, scalars

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

INPUTS = int(os.environ.get("KEHU_FUZZ_INPUTS", "400"))
GROWTH_BYTES_MAX = 200e6
"""What caches may take on top of a started service: one of 20,000 keys, compiled patterns, open connections."""
SHARE = {"intake": 0.2, "dedup": 0.075, "profile": 0.075, "analytics": 0.075, "privacy": 0.075}
"""Of all inputs, made from each service's document; operations without parameters take fewer than their share."""
BODIES = round(INPUTS * 0.55)
HYPOTHESIS: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None, "phases": [Phase.generate]}
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
HEALTH = {"/livez", "/readyz", "/metrics"}
NO_HTTP = "Invalid HTTP request received."
"""What the HTTP server itself answers, before any service, e.g. to an address of more than 64 KiB."""
HOT = ("/v1/submissions", "/v1/submissions:batch", "/v1/submissions:batch?on_error=quarantine")


@dataclass
class Target:
    """The running installation and what of it is known by id.

    Attributes:
        known: path parameters that name something which exists.
        memory_before: resident bytes by service before the first input.
        began: when the first input was due, monotonic seconds.
        told: answers by service and operation, then by status.
    """

    stack: Stack
    token: dict[str, str]
    write_key: dict[str, str]
    known: dict[str, str]
    memory_before: dict[str, int] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    told: defaultdict[tuple[str, str], Counter[int]] = field(default_factory=lambda: defaultdict(Counter))

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.stack.port_of(service)}"

    def memory(self) -> dict[str, int]:
        """Resident bytes by service."""
        state = read_state(self.stack.places.state)
        assert state is not None
        return {name: psutil.Process(state.children[name].pid).memory_info().rss for name in SERVICES}

    def restarts(self) -> dict[str, int]:
        """How often each process had to be started again."""
        state = read_state(self.stack.places.state)
        assert state is not None
        return {name: child.restarts for name, child in state.children.items() if child.restarts}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with running_stack(tmp_path_factory.mktemp("fuzz")) as stack:
        house = House(stack)
        key = LocalIssuer(stack.places.keys).signing_key()
        token = mint_token(key, "fuzzer", [role for role in ROLES if role != "service"], lifetime_seconds=3_600)
        opened = house.ask("admin", "intake", "POST", "/v1/channels", json={"kind": "web"}).json()
        target = Target(stack, {"Authorization": f"Bearer {token}"}, {"Authorization": f"Bearer {opened['write_key']}"}, _known(house))
        target.memory_before = target.memory()
        yield target
        house.close()


def _known(house: House) -> dict[str, str]:
    """One of everything that a path may name; never the channel whose key is in use, since a request may close it."""
    submission_ids = house.submit_all(Person().life())
    house.wait_until_settled(submission_ids)
    [customer_id] = set(house.customers_of(submission_ids))
    request_id = house.open_request("access", customer_id)
    house.wait_for_request(request_id, "ready")
    spare = house.ask("admin", "intake", "POST", "/v1/channels", json={"kind": "web"}).json()
    named = {"channel_id": spare["id"], "key_id": spare["key_id"]}
    return {"submission_id": submission_ids[0], "customer_id": customer_id, "request_id": request_id, **named}


@pytest.mark.parametrize("service", SERVICES)
def test_no_request_made_from_its_document_meets_an_error_of_the_service(target: Target, service: str) -> None:
    schema = schemathesis.openapi.from_url(f"{target.url(service)}/openapi.json")
    operations = [each.ok() for each in schema.get_all_operations() if each.ok().path not in HEALTH]
    session = requests.Session()
    for operation in operations:
        _fuzz(target, service, operation, session, max(2, round(INPUTS * SHARE[service] / len(operations))))


def _fuzz(target: Target, service: str, operation: Any, session: requests.Session, count: int) -> None:
    told = target.told[service, f"{operation.method.upper()} {operation.path}"]
    headers = target.write_key if operation.path.startswith(("/v1/submissions", "/v1/imports")) else target.token

    @given(case=_cases(operation), real=st.booleans())
    @hypothesis_settings(max_examples=count, **HYPOTHESIS)
    def send(case: Any, real: bool) -> None:
        if real:
            case.path_parameters.update({name: value for name, value in target.known.items() if name in case.path_parameters})
        answer = case.call(session=session, headers=headers, timeout=30)
        told[answer.status_code] += 1
        if answer.text != NO_HTTP:
            case.validate_response(answer, checks=CHECKS)

    send()


def _cases(operation: Any) -> Any:
    """Requests that fit the document, and where it says anything that can be broken, as many that do not."""
    if not (operation.query or operation.path_parameters or operation.body):
        return operation.as_strategy()
    return operation.as_strategy() | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)


phones = st.from_regex(r"(\+86[- ]?)?1[3-9][0-9]{9}", fullmatch=True)
valid = st.fixed_dictionaries(
    {"kind": st.just("profile"), "fields": st.fixed_dictionaries({"name": st.sampled_from(["王芳", "Anna Li"])}, optional={"phone": phones})}
) | st.fixed_dictionaries(
    {
        "kind": st.just("transaction"),
        "identifiers": st.lists(st.builds(lambda value: {"type": "phone", "value": value}, phones), min_size=1, max_size=2),
        "order": st.builds(
            lambda order_id, amount: {"order_id": order_id, "currency": "CNY", "lines": [{"product_code": "tea", "amount": f"{amount}.50"}]},
            st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True),
            st.integers(-999, 99_999),
        ),
    }
)


def _with_fault(submission: dict[str, Any], fault: tuple[str, str, Any] | None) -> dict[str, Any]:
    """The submission with one member added or replaced, at its top or inside a part of it."""
    if fault is None:
        return submission
    part, name, value = fault
    inside = submission.get(part)
    return submission | ({part: inside | {name: value}} if isinstance(inside, dict) else {part: value})


parts = st.sampled_from(["kind", "message_id", "occurred_at", "fields", "identifiers", "consents", "order", "contact", "feedback", "behaviour"])
nearly_valid = st.builds(_with_fault, valid, st.none() | st.tuples(parts, names, scalars | anything))


def test_no_json_and_no_bytes_at_the_hot_doors_meet_an_error_of_the_service(target: Target) -> None:
    headers = target.write_key | {"Content-Type": "application/json"}
    with httpx.Client(base_url=target.url("intake"), headers=headers, timeout=60, trust_env=False) as client:

        @given(
            path=st.sampled_from(HOT),
            items=st.lists(nearly_valid | plausible | anything, min_size=1, max_size=3),
            cut=st.none() | st.integers(0, 200),
            noise=st.binary(max_size=8),
        )
        @hypothesis_settings(max_examples=BODIES, **HYPOTHESIS)
        def send(path: str, items: list[Any], cut: int | None, noise: bytes) -> None:
            body = json.dumps(items[0] if path == HOT[0] else {"submissions": items}).encode()
            answer = client.post(path, content=body if cut is None else body[:cut] + noise + body[cut:])
            target.told["intake", f"body to {path}"][answer.status_code] += 1
            assert answer.status_code in {202, 409, 413, 422}, answer.text
            assert answer.json()

        send()


def test_afterwards_every_process_still_runs_has_not_grown_and_takes_submissions(target: Target) -> None:
    with httpx.Client(base_url=target.url("intake"), headers=target.write_key, trust_env=False) as client:
        answer = client.post("/v1/submissions", json={"kind": "profile", "fields": {"name": "Afterwards"}})
    grown = {name: size - target.memory_before[name] for name, size in target.memory().items()}
    _report(target, grown)

    assert answer.status_code == 202
    assert target.restarts() == {}
    assert max(grown.values()) < GROWTH_BYTES_MAX


def _report(target: Target, grown: dict[str, int]) -> None:
    print(f"\n{'service':<10}{'operation':<52}{'inputs':>7}  answers")
    for (service, operation), statuses in sorted(target.told.items()):
        answers = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
        print(f"{service:<10}{operation:<52}{statuses.total():>7}  {answers}")
    total = sum(statuses.total() for statuses in target.told.values())
    print(f"{total} inputs in {time.monotonic() - target.began:.0f} s, no server error")
    print("memory grew by " + ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in grown.items()))

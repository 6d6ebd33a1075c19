"""Every line of the table of bad input, at the real door: the answer says what is wrong, and afterwards nothing of it is anywhere.

Values that may not be kept carry a canary each; the last test searches the whole installation for them, the database's files included.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner, Result

from deploy.local.cli import app
from deploy.local.stack import Stack
from deploy.local.sweep import Places, sweep
from deploy.local.throwaway_stack import running_stack
from shared.access import LocalIssuer, mint_token
from shared.hosting import Settings
from shared.storage import Store

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]
MIB = 1024 * 1024
CANARY = f"canary-{secrets.token_hex(6)}"
"""Begins every value that may not be kept, so that one search finds them all."""
KEPT = f"kept-{secrets.token_hex(6)}"
"""Begins what may be kept, sealed: the control of the search."""
Json = dict[str, Any]


@dataclass
class Door:
    """The public door of a running installation, and what it let in."""

    stack: Stack
    client: httpx.Client
    accepted: int = 0
    quarantined: int = 0
    forbidden: int = 0
    stripped: int = 0
    private: list[str] = field(default_factory=list)

    def send(self, path: str, body: Any, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        return self.client.post(path, content=content, headers={"Content-Type": "application/json", **headers})

    def send_file(self, content: str, columns: dict[str, str]) -> Json:
        files: Any = {"mapping": (None, json.dumps({"kind": "profile", "columns": columns})), "file": ("people.csv", content.encode(), "text/csv")}
        answer = self.client.post("/v1/imports", files=files)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with running_stack(tmp_path_factory.mktemp("bad-input"), {"KEHU_SERVICES": "intake"}) as stack:
        token = mint_token(LocalIssuer(stack.places.keys).signing_key(), "journey", ["admin"])
        url = f"http://127.0.0.1:{stack.port_of('intake')}"
        channel = httpx.post(f"{url}/v1/channels", json={"kind": "web"}, headers={"Authorization": f"Bearer {token}"}).json()
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {channel['write_key']}"}, trust_env=False, timeout=30) as client:
            yield Door(stack, client)


def person(**fields: Any) -> Json:
    return {"kind": "profile", "fields": {"name": f"{KEPT}-{secrets.token_hex(3)}"} | fields}


def nested(depth: int) -> bytes:
    return b'{"kind":"profile","fields":' + b'{"a":' * (depth - 2) + b"{}" + b"}" * (depth - 1)


def private(name: str = "hobbies") -> Json:
    return person(**{name: f"{CANARY}-{name}"})


INVALID: list[Any] = [
    pytest.param(b"{", "malformed_json", "", id="no JSON"),
    pytest.param(b"", "malformed_json", "", id="nothing"),
    pytest.param(b'{"kind":"profile","fields":{"name":"\xff"}}', "wrong_encoding", "", id="no UTF-8"),
    pytest.param(nested(33), "too_deep", "", id="nested 33 deep"),
    pytest.param(b"[" * 100_000, "too_deep", "", id="nested without end"),
    pytest.param(b"[]", "wrong_type", "", id="a list"),
    pytest.param({}, "missing_field", "kind", id="a member missing"),
    pytest.param({"kind": "party"}, "unknown_kind", "kind", id="an unknown kind"),
    pytest.param(person(name=7), "type_invalid", "fields.name", id="a wrong type"),
    pytest.param(person(name={"$gt": ""}), "wrong_type", "fields.name", id="an operator as value"),
    pytest.param(person(**{"$where": CANARY}), "key_not_allowed", "fields", id="an operator as name"),
    pytest.param(person(**{"name.first": CANARY}), "key_not_allowed", "fields", id="a dotted name"),
    pytest.param(
        {"kind": "behaviour", "behaviour": {"name": "view", "properties": {"$gt": CANARY}}}, "key_not_allowed", "behaviour.properties",
        id="an operator among properties",
    ),
    pytest.param(
        {"kind": "behaviour", "behaviour": {"name": "view", "properties": {"a.b": CANARY}}}, "key_not_allowed", "behaviour.properties",
        id="a dotted property",
    ),
    pytest.param(person(phone="1380013"), "phone_invalid", "fields.phone", id="a bad phone"),
    pytest.param(person(email="a.example.cn"), "email_invalid", "fields.email", id="a bad e-mail address"),
    pytest.param({"kind": "profile", "identifiers": [{"type": "shoe", "value": "1"}]}, "unknown_identifier", "identifiers[0].type", id="identifier"),
    pytest.param(person() | {"occurred_at": "2126-01-01T00:00:00Z"}, "future_date", "occurred_at", id="the future"),
    pytest.param(private(), "forbidden_field", "fields.hobbies", id="private life"),
    pytest.param(private("婚姻状况"), "forbidden_field", "fields.婚姻状况", id="private life in Chinese"),
    pytest.param(person(shoe_size=CANARY), "unknown_field", "fields.shoe_size", id="an unknown field"),
    pytest.param(person() | {"surname": CANARY}, "unknown_field", "surname", id="an unknown member"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "code", "path"), INVALID)
def test_our_own_single_door_refuses_and_names_the_field(door: Door, body: Any, code: str, path: str) -> None:
    answer = door.send("/v1/submissions", body)

    assert answer.status_code == 422, answer.text
    told = answer.json()
    assert (told["code"], told.get("field", "")) == (code, path)
    assert told["message"]["en"]
    assert told["message"]["zh"]
    assert CANARY not in answer.text
    door.forbidden += code == "forbidden_field"


ITEMS = [each for each in INVALID if not (isinstance(each.values[0], bytes) and each.values[1] in ("malformed_json", "wrong_encoding"))]


@pytest.mark.parametrize(("body", "code", "path"), ITEMS)
def test_our_own_batch_refuses_the_item_and_the_others_go_on(door: Door, body: Any, code: str, path: str) -> None:
    item = body if isinstance(body, bytes) else json.dumps(body).encode()
    good = json.dumps(person()).encode()

    answer = door.send("/v1/submissions:batch", b'{"submissions":[' + good + b"," + item + b"," + good.replace(b"kept-", b"kept-2-") + b"]}")

    if item.startswith(b"[[["):  # unclosed: the batch itself is no JSON
        assert (answer.status_code, answer.json()["code"]) == (422, "too_deep")
        return
    assert answer.status_code == 202, answer.text
    told = answer.json()["items"]
    assert [each["status"] for each in told] == ["accepted", "refused", "accepted"]
    assert (told[1]["code"], told[1].get("field", "")) == (code, path)
    assert CANARY not in answer.text
    door.accepted += 2
    door.forbidden += code == "forbidden_field"


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        pytest.param("/v1/submissions", person(), {"Authorization": "Bearer kehu_wk_" + "a" * 43}, 401, id="a wrong key"),
        pytest.param("/v1/submissions", person(), {"Authorization": ""}, 401, id="no key"),
        pytest.param("/v1/submissions:batch", {"submissions": [person()]}, {"Authorization": "Bearer nonsense"}, 401, id="a batch with a wrong key"),
        pytest.param("/v1/submissions", b'"' + b"x" * (MIB - 1) + b'"', {}, 413, id="one byte over 1 MiB"),
        pytest.param("/v1/submissions", b'"' + b"x" * (MIB - 2) + b'"', {}, 422, id="exactly 1 MiB"),
        pytest.param("/v1/submissions:batch", {"submissions": [{"kind": "profile"}] * 1_001}, {}, 413, id="1,001 items"),
        pytest.param("/v1/submissions:batch", {"submissions": []}, {}, 413, id="no items"),
        pytest.param("/v1/submissions:batch", {"submission": []}, {}, 422, id="a batch without its member"),
        pytest.param("/v1/submissions", person(), {"Content-Type": "text/plain"}, 415, id="no JSON type"),
    ],
)
def test_what_is_no_request_of_ours_is_refused_as_a_whole(door: Door, path: str, body: Any, headers: dict[str, str], status: int) -> None:
    answer = door.send(path, body, **headers)

    assert answer.status_code == status, answer.text
    assert set(answer.json()["message"]) == {"en", "zh"}


def test_a_thousand_items_and_a_nesting_of_32_are_within_the_limits(door: Door) -> None:
    thousand = door.send("/v1/submissions:batch", {"submissions": [person(name=f"{KEPT} {number}") for number in range(1_000)]})
    deep = door.send("/v1/submissions", nested(32))

    assert {each["status"] for each in thousand.json()["items"]} == {"accepted"}
    assert deep.json()["code"] != "too_deep"
    door.accepted += 1_000


QUARANTINE = "/v1/submissions:batch?on_error=quarantine"


def test_a_door_that_cannot_resend_quarantines_what_is_invalid_and_strips_what_may_not_be_kept(door: Door) -> None:
    invalid = person(phone="1380013", hobbies=f"{CANARY}-stripped", shoe_size=f"{CANARY}-dropped")
    good = private("religion") | {"surname": f"{CANARY}-dropped"}

    told = door.send(QUARANTINE, {"submissions": [invalid, good]}).json()["items"]

    assert [each["status"] for each in told] == ["quarantined", "accepted"]
    assert told[0]["code"] == "phone_invalid"
    door.quarantined, door.accepted, door.stripped = door.quarantined + 1, door.accepted + 1, door.stripped + 2


def test_a_name_that_a_sender_made_up_stands_nowhere_in_clear(door: Door) -> None:
    """Sealed with the rest, but not among the reasons, which everybody who tends the quarantine reads."""
    named = {"kind": "behaviour", "behaviour": {"name": KEPT, "properties": {f"{KEPT}-as-name": 10**30}}}

    [told] = door.send(QUARANTINE, {"submissions": [named]}).json()["items"]

    assert told["status"] == "quarantined"
    door.quarantined += 1


def test_a_file_lists_its_bad_rows_by_number_strips_private_columns_and_goes_on(door: Door) -> None:
    rows = [f"{KEPT} one,13800138000,{CANARY}-chess,x", f"{KEPT} two,123,,x", f"{KEPT} three,13900139000,,x", f"{KEPT} four,13900139000"]

    report = door.send_file(
        "name,phone,hobby,other\n" + "\n".join(rows) + "\n", {"name": "fields.name", "phone": "fields.phone", "hobby": "fields.hobbies"}
    )

    assert (report["rows"], report["accepted"], report["rejected"]) == (4, 3, 1)
    assert [(each["row"], each["code"], each["field"]) for each in report["rejects"]] == [(3, "phone_invalid", "fields.phone")]
    assert report["stripped"] == {"fields.hobbies": 1}
    assert report["unmapped_columns"] == ["other"]
    door.accepted, door.stripped = door.accepted + 3, door.stripped + 1


def submit(door: Door, file: Path) -> Result:
    environment = {"KEHU_DATA_FOLDER": str(door.stack.places.root), "KEHU_KAFKA_BOOTSTRAP_SERVERS": None, "KEHU_MONGODB_URI": None}
    return CliRunner().invoke(app, ["submit", str(file), "--channel", "lines"], env=environment)


def test_a_file_of_json_lines_lists_its_bad_rows_goes_on_and_can_be_sent_again(door: Door, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    large = [json.dumps(person(note=f"{KEPT} " + "x" * 4_000)) for _ in range(600)]  # 2.4 MB: more than the door takes at once
    lines = [json.dumps(person()), "{no JSON", json.dumps(private()), json.dumps(person() | {"message_id": "own"}), *large]
    file.write_text("\n".join(lines) + "\n", "utf-8")

    first, again = submit(door, file), submit(door, file)
    file.write_text(json.dumps(person() | {"message_id": "own"}) + "\n", "utf-8")
    changed = submit(door, file)

    assert "accepted 602, duplicate 0, quarantined 0, refused 2" in first.stdout, first.output
    assert "row 2: malformed_json" in first.stdout
    assert "row 3: forbidden_field fields.hobbies" in first.stdout
    assert "accepted 0, duplicate 602, quarantined 0, refused 2" in again.stdout, again.output
    assert "row 1: payload_differs" in changed.stdout, changed.output
    assert [each.exit_code for each in (first, again, changed)] == [1, 1, 1]
    door.accepted, door.forbidden = door.accepted + 602, door.forbidden + 2


def test_afterwards_only_what_was_let_in_is_kept_refusals_are_counted_and_no_private_value_is_anywhere(door: Door) -> None:
    settings, places = settings_of(door.stack), door.stack.places

    report = asyncio.run(sweep([CANARY, KEPT], settings, Places({"mongodb": places.mongodb, "kafka": places.kafka, "logs": places.logs})))

    assert {hit for hit in report.hits if hit.canary == 0} == set()
    assert report.found("raw") == report.found("clear") == set()
    assert {hit.store for hit in report.found("unsealed")} == {"mongodb", "kafka"}
    assert asyncio.run(ledger_states(settings)) == {"accepted": door.accepted, "quarantined": door.quarantined}
    counted = forbidden_counts(door)
    assert (counted["refused"], counted["stripped"]) == (door.forbidden, door.stripped)


def test_the_figures_tell_routes_and_statuses_but_nothing_that_strangers_tried(door: Door) -> None:
    door.client.get(f"/{CANARY}")

    told = door.client.get("/metrics").text

    samples = [sample for family in text_string_to_metric_families(told) for sample in family.samples]
    requests = {(each.labels["route"], each.labels["status"]) for each in samples if each.name == "kehu_http_request_duration_seconds_count"}
    assert {("/v1/submissions", "422"), ("/v1/submissions", "401"), ("/v1/submissions:batch", "202"), ("unknown", "404")} <= requests
    assert {"kehu_outbox_documents", "kehu_outbox_oldest_age_seconds", "kehu_dead_letters"} <= {each.name for each in samples}
    assert CANARY not in told


def settings_of(stack: Stack) -> Settings:
    return Settings(
        kafka_bootstrap_servers=stack.kafka_bootstrap_servers,
        mongodb_uri=stack.mongodb_uri("operator"),
        data_folder=stack.places.root,
        key_folder=stack.places.keys,
        namespace=stack.namespace,
    )


async def ledger_states(settings: Settings) -> dict[str, int]:
    store = await Store.connect(settings.mongodb_uri, database="intake", namespace=settings.namespace)
    try:
        groups = await store.collection("ledger").aggregate([{"$group": {"_id": "$state", "n": {"$sum": 1}}}])
        return {each["_id"]: each["n"] for each in groups}
    finally:
        store.close()


def forbidden_counts(door: Door) -> dict[str, float]:
    """By outcome, how often a private-life field was met, as Prometheus is told."""
    counts: dict[str, float] = {}
    for family in text_string_to_metric_families(door.client.get("/metrics").text):
        for sample in family.samples:
            if sample.name == "kehu_submissions_total" and sample.labels.get("reason") == "forbidden_field":
                outcome = sample.labels["outcome"]
                counts[outcome] = counts.get(outcome, 0) + sample.value
    return counts

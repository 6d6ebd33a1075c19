"""What the door takes at most, and what becomes of files, on the real application."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.contracts.topics import SUBMISSIONS
from shared.hosting import Settings
from tests.intake_service import QUIET, RunningIntake, running_intake

pytestmark = [pytest.mark.servers, QUIET]

MAPPING = """
kind: profile
columns: {姓名: fields.name, 手机: fields.phone, 爱好: fields.hobbies, 编号: identifiers.external_id@shop}
message_id: ""
"""
FILE = "姓名,手机,爱好,编号,杂项\n王芳,13800138000,canary-chess,C1,x\n李娜,123,,C2,x\n赵敏,13900139000,,C3,x\n"


@pytest.fixture
async def intake(settings: Settings) -> AsyncIterator[RunningIntake]:
    async with running_intake(settings) as running:
        yield running


async def test_what_is_too_large_too_deep_or_no_json_is_refused_in_the_one_error_shape(intake: RunningIntake) -> None:
    wanted = [
        ("/v1/submissions", b'{"kind":"profile","message_id":"' + b"x" * 1_100_000 + b'"}', "application/json", 413),
        ("/v1/submissions:batch", json.dumps({"submissions": [{"kind": "profile"}] * 1_001}).encode(), "application/json", 413),
        ("/v1/submissions", b"[" * 100_000, "application/json", 422),
        ("/v1/submissions", b'{"kind":"profile"}', "text/plain", 415),
        ("/v1/submissions:batch", b"{}", "application/json", 422),
        ("/v1/submissions:batch?on_error=ignore", b'{"submissions":[{}]}', "application/json", 422),
    ]
    for path, body, content_type, status in wanted:
        answer = await intake.client.post(path, content=body, headers=intake.auth | {"Content-Type": content_type})
        assert (path, answer.status_code) == (path, status), answer.text[:200]
        assert set(answer.json()["message"]) == {"en", "zh"}


async def test_a_file_goes_in_and_its_bad_rows_are_listed_by_number(intake: RunningIntake) -> None:
    answer = await _send(intake, FILE.encode("gb18030"))

    report = answer.json()
    assert answer.status_code == 200, answer.text
    assert (report["state"], report["rows"], report["accepted"], report["rejected"]) == ("done", 3, 2, 1)
    assert [(each["row"], each["code"], each["field"]) for each in report["rejects"]] == [(3, "phone_invalid", "fields.phone")]
    assert report["stripped"] == {"fields.hobbies": 1}
    assert report["unmapped_columns"] == ["杂项"]
    assert "canary-chess" not in answer.text
    assert len(await intake.records(SUBMISSIONS, 2)) == 2


async def test_the_same_import_again_has_no_second_effect(intake: RunningIntake) -> None:
    first = (await _send(intake, FILE.encode(), import_id="may")).json()

    again = (await _send(intake, FILE.encode(), import_id="may")).json()

    assert (first["accepted"], again["accepted"], again["duplicate"]) == (2, 0, 2)
    kept = await intake.client.get("/v1/imports/may", headers=intake.auth)
    assert kept.json() == again


async def test_a_plain_csv_body_takes_its_mapping_from_the_query(intake: RunningIntake) -> None:
    answer = await intake.client.post(
        "/v1/imports",
        params={"mapping": json.dumps({"columns": {"n": "fields.name"}})},
        content=b"n\nAnna\n",
        headers=intake.auth | {"Content-Type": "text/csv"},
    )

    assert answer.json()["accepted"] == 1


@pytest.mark.parametrize(
    ("mapping", "content", "code"),
    [
        ("columns: {a: fields.name}", b"b\nx\n", "missing_column"),
        ("columns: {a: fields.name}", b"", "empty_file"),
        ("columns: {a: fields.shoe}", b"a\nx\n", "unknown_field"),
        ("[unclosed", b"a\nx\n", "invalid_mapping"),
        ("", b"a\nx\n", "missing_field"),
    ],
)
async def test_a_file_that_cannot_be_read_lets_no_row_in(intake: RunningIntake, mapping: str, content: bytes, code: str) -> None:
    answer = await _send(intake, content, mapping=mapping)

    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def _send(intake: RunningIntake, content: bytes, mapping: str = MAPPING, import_id: str = "") -> Any:
    parts: Any = {"mapping": (None, mapping), "file": ("people.csv", content, "text/csv")}
    return await intake.client.post("/v1/imports", params={"import_id": import_id}, files=parts, headers=intake.auth)

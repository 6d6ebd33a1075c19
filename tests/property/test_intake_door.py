"""Laws of the door: whatever JSON comes, the answer is an outcome; and what was normalised once stays as it is."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.intake.domain.channels import Channel
from services.intake.domain.decoding import decode_draft, nesting_depth
from services.intake.domain.findings import Refused
from services.intake.domain.validation import check
from services.intake.micro_batches import MicroBatches
from services.intake.policy import rules_of
from services.intake.use_cases import AcceptSubmissions, Outcome
from shared.policy import load_catalogue
from shared.sealing import BlindIndex, MemoryKeyProvider
from tests.intake_memory import MemoryLedger

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SHOP = Channel("shop", "Shop", "store", 80, "2026-01", NOW)
RULES = rules_of(load_catalogue())
PROVIDER = MemoryKeyProvider()

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4), max_leaves=12)
names = st.sampled_from([*RULES.fields, "hobbies", "gender", "$gt", "a.b", "unknown"]) | st.text(max_size=8)
plausible = st.fixed_dictionaries(
    {"kind": st.sampled_from(["profile", "transaction", "contact", "feedback", "behaviour"]) | anything},
    optional={
        "message_id": st.text(max_size=20) | anything,
        "occurred_at": st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat) | anything,
        "fields": st.dictionaries(names, scalars, max_size=5) | anything,
        "identifiers": st.lists(st.fixed_dictionaries({"type": st.sampled_from([*RULES.identifiers]), "value": st.text(max_size=20)}), max_size=3)
        | anything,
        "order": st.fixed_dictionaries(
            {
                "order_id": st.text(max_size=5),
                "currency": st.sampled_from(["CNY", "JPY", "KWD", "XXX"]),
                "lines": st.lists(
                    st.fixed_dictionaries({"product_code": st.text(max_size=5), "amount": st.floats() | st.decimals().map(str)}), max_size=2
                ),
            }
        )
        | anything,
        "behaviour": st.fixed_dictionaries({"name": st.text(max_size=5), "properties": st.dictionaries(names, scalars, max_size=3)}) | anything,
        "feedback": anything,
        "contact": anything,
        "consents": anything,
    },
)


def outcomes(raws: list[bytes], *, set_aside: bool) -> list[Outcome] | Refused:
    async def run() -> list[Outcome] | Refused:
        writer = MicroBatches(MemoryLedger())
        task = asyncio.create_task(writer.run())
        await asyncio.sleep(0)
        try:
            accept = AcceptSubmissions(RULES, PROVIDER, BlindIndex(PROVIDER), writer)
            return await accept.batch(b'{"submissions":[' + b",".join(raws) + b"]}", SHOP, set_aside=set_aside)
        except Refused as refused:
            return refused
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return asyncio.run(run())


@given(st.lists(plausible | anything, min_size=1, max_size=3), st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_json_gets_an_outcome_and_none_holds_a_forbidden_value(values: list[Any], set_aside: bool) -> None:
    raws = [json.dumps(value).encode() for value in values]

    told = outcomes(raws, set_aside=set_aside)

    if not isinstance(told, Refused):
        assert len(told) == len(values)
        assert {each.status for each in told} <= {"accepted", "duplicate", "conflict", "quarantined", "refused"}


@given(st.binary(max_size=200))
def test_any_bytes_are_a_draft_or_refused(raw: bytes) -> None:
    try:
        decode_draft(raw)
    except Refused as refused:
        assert refused.first.code  # noqa: PT017 - both ends are right


@given(plausible)
@settings(max_examples=200)
def test_checking_canonical_values_again_changes_nothing(value: dict[str, Any]) -> None:
    try:
        first = check(decode_draft(json.dumps(value).encode()), RULES, default_notice="2026-01", now=NOW)
    except Refused:
        return
    again = dict(value, fields=dict(first.body.fields), occurred_at=first.body.occurred_at.isoformat())

    second = check(decode_draft(json.dumps(again).encode()), RULES, default_notice="2026-01", now=NOW)

    assert second.body.fields == first.body.fields
    assert set(second.body.identifiers) == set(first.body.identifiers)


words = st.text(alphabet="abcXYZ王芳李 　ｗａｎｇ·-", min_size=1, max_size=12).filter(str.strip)
spellings = st.fixed_dictionaries(
    {"name": words},
    optional={
        "phone": st.sampled_from(["138 0013 8000", "+86-138-0013-8000", "１３８００１３８０００", "+8613800138000"]),
        "email": st.sampled_from(["A.Li@Example.COM", "li@example.com"]),
        "city": words,
        "note": words,
        "country": st.sampled_from(["CN", "cn", "China", "中国"]),
    },
)


@given(spellings)
@settings(max_examples=200, deadline=None)
def test_what_was_sent_can_be_told_from_the_sealed_body(fields: dict[str, str]) -> None:
    try:
        body = check(decode_draft(json.dumps({"kind": "profile", "fields": fields}).encode()), RULES, default_notice="2026-01", now=NOW).body
    except Refused:
        assume(False)

    assert {name: body.raw_fields.get(name, clean) for name, clean in body.fields.items()} == fields


@given(st.integers(0, 60), st.sampled_from([b"[", b'{"a":']))
def test_nesting_is_counted_outside_of_texts(depth: int, opening: bytes) -> None:
    assert nesting_depth(opening * depth + b'"[[[{{{\\"[["') == depth

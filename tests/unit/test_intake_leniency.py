"""The door for senders that cannot resend a part: nothing forbidden is ever set aside, and nothing that can be read is lost."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from services.intake.domain.channels import Channel
from services.intake.domain.leniency import strip
from services.intake.micro_batches import MicroBatches
from services.intake.policy import rules_of
from services.intake.use_cases import AcceptSubmissions, Outcome
from shared.policy import load_catalogue
from shared.sealing import BlindIndex, MemoryKeyProvider
from tests.intake_memory import MemoryLedger

SHOP = Channel("shop", "Shop", "store", 80, "2026-01", datetime(2026, 1, 1, tzinfo=UTC))
RULES = rules_of(load_catalogue())


async def sent(*raws: bytes) -> tuple[list[Outcome], MemoryLedger]:
    ledger, provider = MemoryLedger(), MemoryKeyProvider()
    writer = MicroBatches(ledger)
    task = asyncio.create_task(writer.run())
    await asyncio.sleep(0)
    accept = AcceptSubmissions(RULES, provider, BlindIndex(provider), writer)
    outcomes = await accept.batch(b'{"submissions":[' + b",".join(raws) + b"]}", SHOP, set_aside=True)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return outcomes, ledger


async def test_what_is_forbidden_or_unknown_is_stripped_and_the_rest_accepted() -> None:
    [outcome], ledger = await sent(b'{"kind":"profile","surprise":1,"fields":{"name":"Anna","hobbies":"canary","shoe":44}}')

    assert outcome.status == "accepted"
    [entry] = ledger.entries.values()
    assert b"canary" not in entry.plain
    assert b"Anna" in entry.plain


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b'{"kind":"profile","fields":{"phone":"1","hobbies":"canary"}}', "phone_invalid"),
        (b'{"kind":"profile","fields":[{"deep":{"hobby":"canary"}}]}', "wrong_type"),
        (b'{"kind":"party","fields":{"name":{"religion":"canary"}}}', "unknown_kind"),
        (b"[" * 500 + b'"canary"' + b"]" * 500, "too_deep"),
        (b'"text"', "wrong_type"),
    ],
)
async def test_what_stays_invalid_is_set_aside_without_what_is_forbidden(raw: bytes, code: str) -> None:
    [outcome], ledger = await sent(raw)

    assert (outcome.status, outcome.findings[0].code) == ("quarantined", code)
    assert all(b"canary" not in entry.plain for entry in ledger.entries.values())


def test_names_are_counted_never_values() -> None:
    stripped = strip({"kind": "profile", "fields": {"婚姻状况": "x", "name": "y"}, "more": {"sport": "z"}}, RULES.fields, RULES.is_forbidden)

    assert stripped.value == {"kind": "profile", "fields": {"name": "y"}}
    assert stripped.forbidden == ["婚姻状况", "sport"]
    assert stripped.unknown == 1

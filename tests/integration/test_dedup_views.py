"""What the doors show: ids, types and times, never a value or a token."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from services.dedup.migrations import MIGRATIONS
from services.dedup.mongo import MongoViews, current_customers
from shared.storage import Store, migrate
from tests.dedup_world import signature, submission_id, token
from tests.integration.test_dedup_races import Desk

pytestmark = pytest.mark.servers


@pytest.fixture
async def desk(mongodb_uri: str, namespace: str) -> AsyncIterator[Desk]:
    store = await Store.connect(mongodb_uri, database="dedup", namespace=namespace)
    await migrate(store, MIGRATIONS)
    made = Desk(store)
    await made.take((1, signature("phone:a", name="anna")), (2, signature("email:a")), (3, signature("email:a")))
    await made.take((4, signature("phone:a", "email:a")))
    yield made
    store.close()


async def test_a_customer_shows_its_records_aliases_and_merges_under_any_id_it_had(desk: Desk) -> None:
    views, holder = MongoViews(desk.store), (await current_customers(desk.store))[submission_id(4)]
    entities = await desk.store.collection("entities").find({"state": "alias"})
    [alias] = [UUID(bytes=each["_id"]) for each in entities]

    by_alias, by_holder = await views.resolution(alias), await views.resolution(holder)

    assert by_alias is not None
    assert by_holder is not None
    assert by_alias | {"asked_for": ""} == by_holder | {"asked_for": ""}
    assert by_holder["aliases"] == [str(alias)]
    assert {each["submission_id"] for each in by_holder["source_records"]} == {str(submission_id(number)) for number in (1, 2, 3, 4)}
    assert by_holder["submissions"] == 4
    assert [each["values"] for each in by_holder["identifiers"]] == [1, 1]
    assert [each["cause_submission_id"] for each in by_holder["merges"]] == [str(submission_id(4))]
    shown = json.dumps(by_holder)
    assert token("phone:a").hex() not in shown
    assert token("anna").hex() not in shown


async def test_a_trace_tells_to_whom_why_and_every_move(desk: Desk) -> None:
    views, held = MongoViews(desk.store), await current_customers(desk.store)

    founding, joining = await views.trace(submission_id(1)), await views.trace(submission_id(4))

    assert [each["step"] for each in founding] == ["resolved", "moved"]
    assert founding[0]["detail"]["matched_on"] == []
    assert founding[1]["detail"]["customer_id"] == str(held[submission_id(1)])
    assert joining[0]["detail"]["matched_on"] == ["email", "phone"]
    assert await views.trace(uuid4()) == []


async def test_merges_are_listed_newest_first_and_unknown_customers_are_unknown(desk: Desk) -> None:
    views = MongoViews(desk.store)

    [merge] = await views.merges(10, None)

    assert merge["gained_from"][0]["absorbed"]
    assert not merge["open"]
    assert await views.resolution(uuid4()) is None

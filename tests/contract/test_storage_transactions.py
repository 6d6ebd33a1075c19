"""What services may rely on from `shared.storage`, on a real MongoDB."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from shared.storage import (
    DuplicateKey,
    InsertOne,
    Migration,
    StorageError,
    Store,
    Transaction,
    TransientStorageError,
    UpdateOne,
    migrate,
)

pytestmark = pytest.mark.servers


@pytest.fixture
async def store(mongodb_uri: str, namespace: str) -> AsyncIterator[Store]:
    made = await Store.connect(mongodb_uri, database="storage", namespace=namespace)
    await made.create_collection("things")
    yield made
    made.close()


async def test_a_transaction_changes_all_or_nothing(store: Store) -> None:
    things = store.collection("things")

    async def fail_late(transaction: Transaction) -> None:
        await things.insert_many([{"_id": 1}, {"_id": 2}], transaction=transaction)
        assert await things.count({}, transaction=transaction) == 2
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - raised four lines above
        await store.transaction(fail_late)
    assert await things.find({}) == []


async def test_a_taken_id_is_told_apart_from_what_may_heal(store: Store) -> None:
    things = store.collection("things")
    await things.insert_one({"_id": b"a"})
    with pytest.raises(DuplicateKey):
        await things.bulk([InsertOne({"_id": b"a"}), InsertOne({"_id": b"b"})])
    assert set(await things.find_by_ids([b"a", b"b", b"c"])) == {b"a", b"b"}
    with pytest.raises(DuplicateKey):
        await store.transaction(lambda transaction: things.insert_many([{"_id": b"c"}, {"_id": b"a"}], transaction=transaction))
    assert await things.find_one({"_id": b"c"}) is None


async def test_two_transactions_on_one_document_both_take_effect(store: Store) -> None:
    things = store.collection("things")
    await things.insert_one({"_id": 1, "n": 0})

    async def add(transaction: Transaction) -> None:
        found = await things.find_one({"_id": 1}, transaction=transaction)
        assert found is not None
        await asyncio.sleep(0)
        await things.update_one({"_id": 1}, {"$set": {"n": found["n"] + 1}}, transaction=transaction)

    await asyncio.gather(*(store.transaction(add) for _ in range(8)))
    assert (await things.find_one({"_id": 1})) == {"_id": 1, "n": 8}


async def test_a_successor_ends_the_open_transaction_of_a_dead_owner(store: Store) -> None:
    things, owner = store.collection("things"), await store.session()

    async def die_inside(transaction: Transaction) -> None:
        await things.bulk([UpdateOne({"_id": 1}, {"$set": {"by": "owner"}}, upsert=True)], transaction=transaction)
        await store.kill_sessions([owner.id])
        await things.update_one({"_id": 1}, {"$set": {"by": "successor"}}, upsert=True)  # does not wait for the dead owner's lock

    with pytest.raises(TransientStorageError):
        await owner.run_once(die_inside)
    assert await things.find({}) == [{"_id": 1, "by": "successor"}]
    await owner.end()


async def test_transactions_span_databases_and_times_come_back_in_utc(store: Store) -> None:
    other = store.other("elsewhere")
    await other.create_collection("keys")
    noon = datetime(2026, 1, 2, 12, tzinfo=UTC)

    async def write_both(transaction: Transaction) -> None:
        await store.collection("things").insert_one({"_id": 1}, transaction=transaction)
        await other.collection("keys").insert_one({"_id": 1, "at": noon}, transaction=transaction)

    await store.transaction(write_both)
    assert await other.collection("keys").find({}) == [{"_id": 1, "at": noon}]


async def test_migrations_run_once_in_order_and_survive_two_processes(store: Store) -> None:
    steps: list[int] = []

    def step(number: int) -> Migration:
        async def apply(target: Store) -> None:
            await target.create_collection(f"made{number}")
            steps.append(number)

        return Migration(number, "make", apply)

    assert await migrate(store, [step(2), step(1)]) == ("0001-make", "0002-make")
    assert await migrate(store, [step(1), step(2)]) == ()
    assert steps == [1, 2]
    await asyncio.gather(migrate(store, [step(3)]), migrate(store, [step(3)]))
    assert "made3" in await store.collection_names()


async def test_a_server_that_is_away_is_transient_and_a_wrong_command_is_not(store: Store) -> None:
    nowhere = await Store.connect("mongodb://127.0.0.1:1/?directConnection=true", database="none", timeout_ms=200)
    with pytest.raises(TransientStorageError):
        await nowhere.collection("things").find_one({})
    nowhere.close()
    with pytest.raises(StorageError):
        await store.collection("things").aggregate([{"$nonsense": 1}])

"""The batch worker on a real Kafka and MongoDB: one effect per record, whatever happens around it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid5

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from msgspec.structs import replace as replace_struct

from shared.contracts.dedup import SubmissionsErased
from shared.contracts.topics import DEAD_LETTERS, IDENTITIES, SUBMISSIONS
from shared.messaging import Batch, Broker, DeadLetters, Effects, OutboxRelay, Record, carrying_out, consumed_positions, enqueue
from shared.messaging.assignment import RecordsLost
from shared.messaging.outbox import BODY_BYTES_MAX, Message, MessageTooLarge, messages_of
from shared.messaging.partitioner import partition_of
from shared.messaging.producer import PublishFailed, PublishRefused
from shared.messaging.share_limit import TooManyDeadLetters
from shared.storage import Collection, InsertOne, Store, Transaction, UpdateOne
from tests.integration.messaging_rig import (
    GROUP,
    Proxy,
    Rig,
    Servers,
    count_and_pass_on,
    create_topics,
    delete_topics,
    repeats,
    resolved,
    rig,
    submission,
    until,
)

pytestmark = pytest.mark.servers
KEY_A, KEY_B = UUID(int=1).bytes, UUID(int=2).bytes


@pytest.fixture
def servers(kafka_bootstrap: str, mongodb_uri: str, namespace: str) -> Servers:
    return Servers(kafka_bootstrap, namespace, mongodb_uri)


@pytest.fixture
async def one(servers: Servers) -> AsyncIterator[Rig]:
    async with rig(servers) as made:
        yield made


async def test_every_record_has_one_effect_and_one_event(one: Rig) -> None:
    await one.broker.publish([submission(number) for number in range(500)])
    async with one.running(one.worker()) as worker:
        await until(lambda: one.settled(500))
        await one.assert_exactly_once(500)
        assert repeats(await one.published(IDENTITIES)) == 0
        assert worker.positions() == await consumed_positions(one.store, GROUP, SUBMISSIONS) == await one.broker.end_offsets(SUBMISSIONS)
        assert [each.lag_records for each in worker.progress()] == [0, 0]


async def test_a_group_offset_set_back_changes_nothing(one: Rig, servers: Servers) -> None:
    await one.broker.publish([submission(number) for number in range(100)])
    async with one.running(one.worker()) as worker:
        await until(lambda: one.settled(100))
    consumer = AIOKafkaConsumer(bootstrap_servers=servers.kafka_bootstrap_servers, group_id=worker.consumer_group, enable_auto_commit=False)
    await consumer.start()
    places = [TopicPartition(servers.namespace + SUBMISSIONS.name, each) for each in (0, 1)]
    consumer.assign(places)
    assert sum([await consumer.committed(each) for each in places]) == 100
    await consumer.commit(dict.fromkeys(places, 0))
    await consumer.stop()
    await one.broker.publish([submission(100)])

    async with one.running(one.worker()):
        await until(lambda: one.settled(101))

    await one.assert_exactly_once(101)


async def test_a_worker_waits_for_its_topic_to_be_made(servers: Servers) -> None:
    async with rig(servers, topics=(IDENTITIES, DEAD_LETTERS)) as one:
        worker = one.worker()
        starting = asyncio.create_task(worker.start())
        await until(lambda: one.asked_for(SUBMISSIONS))
        assert not worker.ready()

        await create_topics(servers, [SUBMISSIONS], partitions=2)
        await starting
        try:
            await until(worker.ready)
            assert sorted(worker.positions()) == [0, 1]
        finally:
            await worker.stop()
            await delete_topics(servers, [SUBMISSIONS])


async def test_what_was_fetched_before_the_partition_was_fenced_again_is_dropped(one: Rig) -> None:
    """Goal: a batch held between fetch and handler, while its partition turns unready and ready, is not applied twice nor skipped."""
    held, go_on = asyncio.Event(), asyncio.Event()
    worker = one.worker()
    consume = worker._consume_polled

    async def hold_once(polled: Any) -> None:
        if not held.is_set():
            held.set()
            await go_on.wait()
        await consume(polled)

    worker._consume_polled = hold_once  # type: ignore[method-assign]
    async with one.running(worker):
        await until(worker.ready)
        await one.broker.publish([submission(number) for number in range(50)])
        await held.wait()
        worker.assignment.changed()
        await until(worker.ready)
        go_on.set()
        await until(lambda: one.settled(50))
    await one.assert_exactly_once(50)


async def test_a_zombie_whose_partition_was_taken_commits_nothing(one: Rig) -> None:
    """Goal: an owner that another process fenced out in the middle of its transaction leaves no effect; the work is done once."""
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def slow(batch: Batch, transaction: Transaction) -> Effects:
        if not inside.is_set():
            inside.set()
            await go_on.wait()
        return await count_and_pass_on(batch, transaction)

    await one.broker.publish([submission(number) for number in range(20)])
    async with one.running(one.worker(slow)) as worker:
        await inside.wait()
        for row in await one.store.collection("offsets").find({}):
            await one.store.kill_sessions(row["sessions"])
            await one.store.collection("offsets").update_one({"_id": row["_id"]}, {"$inc": {"epoch": 1}})
        go_on.set()
        await until(lambda: one.settled(20))
        assert await consumed_positions(one.store, GROUP, SUBMISSIONS) == worker.positions()
    await one.assert_exactly_once(20)
    assert {dict(each.headers)["kehu_epoch"] for each in await one.published(IDENTITIES)} <= {b"3", b"1", b"2"}


async def test_a_write_conflict_or_a_taken_id_runs_the_handler_again(one: Rig) -> None:
    runs = 0

    async def colliding(batch: Batch, transaction: Transaction) -> Effects:
        nonlocal runs
        runs += 1
        if runs == 1:
            await one.store.collection("counters").insert_one({"_id": b"taken", "n": 1})
        effects = Effects()
        if runs == 1:
            effects.write("counters", InsertOne({"_id": b"taken", "n": 1}))
        for record in batch:
            effects.write("counters", UpdateOne({"_id": record.event_id.bytes}, {"$inc": {"n": 1}}, upsert=True))
        return effects

    await one.broker.publish([submission(0)])
    async with one.running(one.worker(colliding)):
        await until(lambda: one.settled(2))
    assert runs == 2
    assert set((await one.counters()).values()) == {1}


async def test_what_one_poll_brought_of_several_partitions_shares_a_transaction(one: Rig) -> None:
    seen: list[frozenset[int]] = []

    async def noting(batch: Batch, transaction: Transaction) -> Effects:
        seen.append(batch.partitions)
        return await count_and_pass_on(batch, transaction)

    await one.broker.publish([submission(number) for number in range(200)])
    async with one.running(one.worker(noting)) as worker:
        await until(lambda: one.settled(200))
        assert worker.positions() == await consumed_positions(one.store, GROUP, SUBMISSIONS)
    assert frozenset({0, 1}) in seen
    await one.assert_exactly_once(200)


async def test_partitions_that_cannot_share_a_transaction_are_done_one_by_one(one: Rig) -> None:
    """Goal: whatever goes wrong in the shared transaction, before or at its end, leaves nothing, and no partition waits for another."""
    tries: list[frozenset[int]] = []

    async def unlucky(batch: Batch, transaction: Transaction) -> Effects:
        tries.append(batch.partitions)
        effects = await count_and_pass_on(batch, transaction)
        if len(batch.partitions) > 1:
            await one.store.collection("counters").update_one({"_id": b"hot"}, {"$inc": {"n": 1}}, upsert=True)
            effects.write("counters", UpdateOne({"_id": b"hot"}, {"$inc": {"n": 1}}))
        return effects

    await one.store.collection("counters").insert_one({"_id": b"hot", "n": 0})
    await one.broker.publish([submission(number) for number in range(200)])
    async with one.running(one.worker(unlucky)):
        await until(lambda: one.settled(201))
    await one.store.collection("counters").delete_one({"_id": b"hot"})
    joined = [each for each in tries if len(each) > 1]
    assert joined
    assert {*tries} == {frozenset({0, 1}), frozenset({0}), frozenset({1})}
    await one.assert_exactly_once(200)


async def test_a_batch_that_is_taken_for_new_and_is_not_comes_again(one: Rig) -> None:
    looked: list[bool] = []

    async def guarded(batch: Batch, transaction: Transaction) -> Effects:
        ids, counters = [record.event_id.bytes for record in batch], one.store.collection("counters")
        looked.append(not batch.assume_new)
        known = {} if batch.assume_new else await counters.find_by_ids(ids, transaction=transaction)
        effects = Effects()
        effects.write("counters", *(InsertOne({"_id": each, "n": 1}) for each in dict.fromkeys(ids) if each not in known))
        return effects

    await one.broker.publish([submission(number) for number in range(100)])
    async with one.running(one.worker(guarded)):
        await until(lambda: one.settled(100))
        assert False in looked
        await one.broker.publish([submission(number) for number in range(50, 150)])
        await until(lambda: one.settled(150))
        assert True in looked
    assert set((await one.counters()).values()) == {1}


async def test_a_shared_transaction_whose_events_could_not_be_sent_keeps_them_by_partition(one: Rig) -> None:
    """Goal: after a failed send each partition's own outbox holds its keys' events, so that whoever owns it next publishes them in order."""
    await one.broker.publish([submission(number) for number in range(200)])
    publish, waiting = one.broker.publish_messages, list[dict[str, Any]]()

    async def fail_once(messages: Any) -> None:
        if not waiting:
            waiting.extend(await one.store.collection("outbox").find({}))
            raise PublishFailed("TimeoutError")
        await publish(messages)

    one.broker.publish_messages = fail_once  # type: ignore[method-assign]
    async with one.running(one.worker(topic=replace(SUBMISSIONS, partitions=2))):
        await until(lambda: one.settled(200))
    assert sorted(row["partition"] for row in waiting) == [0, 1]
    for row in waiting:
        assert {partition_of(message.key or b"", 2) for message in messages_of(row)} == {row["partition"]}
    await one.assert_exactly_once(200)


async def test_a_bad_record_is_set_aside_and_stops_no_other(one: Rig) -> None:
    bad = [Message(SUBMISSIONS.name, b"kk", value, [("ce_id", b"1"), *headers]) for value, headers in _POISON]
    await one.broker.publish_messages(bad)
    await one.broker.publish([submission(number) for number in range(30)])
    async with one.running(one.worker()):
        await until(lambda: one.settled(30))
    await one.assert_exactly_once(30)
    kept = await DeadLetters(one.store).list()
    assert sorted(each.reason for each in kept) == ["body_does_not_fit"] * 4 + ["headers_do_not_fit", "unknown_event", "unknown_event"]
    announced = await one.published(DEAD_LETTERS)
    assert {dict(each.headers)["dead_letter_id"].decode() for each in announced} == {each.id for each in kept}
    assert {each.value for each in announced} == {each.value for each in kept} == {value for value, _ in _POISON}


_ACCEPTED = ("ce_type", b"intake.submission-accepted.v1")
_POISON: list[tuple[bytes, list[tuple[str, bytes]]]] = [
    (b"{", [_ACCEPTED]),
    (b"[]", [_ACCEPTED]),
    (b"\xff\xfe", [_ACCEPTED]),
    (b"[" * 100_000, [_ACCEPTED]),
    (b'{"a": NaN}', [("ce_type", b"unheard.of.v1")]),
    (b"{}", [("note", b"\xff")]),
    (b'{"submission":{"submission_id":"00000000-0000-0000-0000-000000000001","kind":"profile","channel_id":"c","channel_kind":"w","channel_trust":1,'
     b'"received_on":"2026-01-01","occurred_on":"2026-01-01","sealed":""}}', [_ACCEPTED]),
]  # fmt: skip


class Ledger:
    """A handler that writes down the order in which records of a key were applied, and rejects what it is told to."""

    def __init__(self) -> None:
        self.rejected: set[tuple[bytes, int]] = set()

    async def __call__(self, batch: Batch, transaction: Transaction) -> Effects:
        effects = Effects()
        for record in batch:
            number = record.event.assignment  # type: ignore[attr-defined]
            if (record.key, number) in self.rejected:
                effects.reject(record, "refused_by_test")
            else:
                effects.write("counters", UpdateOne({"_id": record.key + bytes([number])}, {"$inc": {"n": 1}}, upsert=True))
                effects.write("order", UpdateOne({"_id": record.key}, {"$push": {"numbers": number}}, upsert=True))
        return effects


async def _order(one: Rig, key: bytes) -> list[int]:
    found = await one.store.collection("order").find_one({"_id": key})
    return [] if found is None else list(found["numbers"])


async def test_records_behind_a_bad_one_of_their_key_wait_and_come_back_in_order(one: Rig) -> None:
    await one.store.create_collection("order")
    ledger, letters = Ledger(), DeadLetters(one.store)
    ledger.rejected = {(KEY_A, 2)}
    await one.broker.publish([resolved(number, KEY_A) for number in range(1, 5)] + [resolved(number, KEY_B) for number in range(1, 5)])
    async with one.running(one.worker(ledger, IDENTITIES)):
        await until(lambda: one.settled(5))
        await one.broker.publish([resolved(5, KEY_A)])  # in a later batch
        await until(lambda: _counted(letters, {"dead": 1, "parked": 3}))
        assert await _order(one, KEY_A) == [1]
        assert await _order(one, KEY_B) == [1, 2, 3, 4]

        await letters.redrive((await letters.list(state="dead"))[0].id)  # still rejected
        await until(lambda: _attempts(letters, 2))
        assert await letters.count() == {"dead": 1, "parked": 3}

        ledger.rejected = set()
        assert await letters.redrive((await letters.list(state="dead"))[0].id) == 4
        await until(lambda: _counted(letters, {}))
        await one.broker.publish([resolved(6, KEY_A)])
        await until(lambda: one.settled(10))
    assert await _order(one, KEY_A) == [1, 2, 3, 4, 5, 6]
    assert set((await one.counters()).values()) == {1}


async def test_discarding_a_dead_letter_releases_what_waits_behind_it(one: Rig) -> None:
    await one.store.create_collection("order")
    ledger, letters = Ledger(), DeadLetters(one.store)
    ledger.rejected = {(KEY_A, 1)}
    await one.broker.publish([resolved(number, KEY_A) for number in range(1, 4)])
    async with one.running(one.worker(ledger, IDENTITIES)):
        await until(lambda: _counted(letters, {"dead": 1, "parked": 2}))
        assert await letters.discard((await letters.list(state="dead"))[0].id, by="somebody")
        await until(lambda: _counted(letters, {}))
    [act] = await one.store.collection("dead_letter_acts").find({})
    assert (act["act"], act["by"], act["reason"]) == ("discard", "somebody", "refused_by_test")
    assert await _order(one, KEY_A) == [2, 3]


async def test_what_was_parked_while_a_redrive_was_asked_for_does_not_stay_behind(one: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one pass takes, so that the last of them meet neither a dead letter nor a redriven one that would bring them along."""
    monkeypatch.setattr(carrying_out, "REDRIVE_RECORDS_MAX", 2)
    await one.store.create_collection("order")
    ledger, letters = Ledger(), DeadLetters(one.store)
    ledger.rejected = {(KEY_A, 1)}
    await one.broker.publish([resolved(number, KEY_A) for number in range(1, 6)])
    async with one.running(one.worker(ledger, IDENTITIES)):
        await until(lambda: _counted(letters, {"dead": 1, "parked": 4}))
        ledger.rejected = set()
        await one.store.collection("dead_letters").update_one({"state": "dead"}, {"$set": {"state": "redrive"}})
        await until(lambda: _counted(letters, {}))
    assert await _order(one, KEY_A) == [1, 2, 3, 4, 5]


async def test_an_erasure_leaves_no_record_parked_behind_nothing(one: Rig) -> None:
    """A submission that lies behind the erased customer's dead letter, but is another's by now, goes on."""
    ledger, letters = Ledger(), DeadLetters(one.store)
    await one.store.create_collection("order")
    erased, moved = (replace(resolved(number, KEY_A), key_id=submission(number).key_id) for number in (1, 2))
    ledger.rejected = {(KEY_A, 1)}
    await one.broker.publish([erased, moved])
    async with one.running(one.worker(ledger, IDENTITIES)):
        await until(lambda: _counted(letters, {"dead": 1, "parked": 1}))
        assert erased.key_id is not None
        event = SubmissionsErased(request_id=UUID(int=9), customer_id=UUID(bytes=KEY_A), submission_ids=(erased.key_id,), part=1, parts=1)
        record = Record(event, KEY_A, 7, UUID(int=7), None, None, 0)
        forgotten = await one.store.transaction(lambda transaction: letters.forget_erased([record], transaction))
        await until(lambda: _counted(letters, {}))
    assert forgotten == {UUID(int=7): 1}
    assert await _order(one, KEY_A) == [2]


async def _counted(letters: DeadLetters, expected: dict[str, int]) -> bool:
    return await letters.count() == expected


async def _attempts(letters: DeadLetters, expected: int) -> bool:
    return [each.attempts for each in await letters.list(state="dead")] == [expected]


async def refuse(batch: Batch, transaction: Transaction) -> Effects:
    effects = Effects()
    for record in batch:
        effects.reject(record, "refused_by_test")
    return effects


async def test_mostly_bad_input_stops_the_consumer_and_commits_nothing_nor_does_a_restart_set_more_aside(one: Rig, servers: Servers) -> None:
    # given fewer bad records than say anything
    letters, key = one.store.collection("dead_letters"), b"same-partition"
    await one.broker.publish([submission(number, key) for number in range(900)])
    async with one.running(one.worker(refuse)):
        await until(lambda: _holds(letters, 900))
    await one.broker.publish([submission(number, key) for number in range(900, 1_200)])
    for _ in range(2):  # when it is started again and again, as a supervisor does
        async with fresh_broker(servers) as broker:
            again = Rig(servers, one.store, broker)
            async with again.running(again.worker(refuse)):
                assert isinstance(await asyncio.wait_for(broker.wait_for_failure(), 20), TooManyDeadLetters)
        assert await letters.count({}) == 900
    # when the code is mended
    async with fresh_broker(servers) as broker:
        mended = Rig(servers, one.store, broker)
        async with mended.running(mended.worker()):
            await until(lambda: mended.settled(300))


async def _holds(collection: Collection, count: int) -> bool:
    return await collection.count({}) == count


@asynccontextmanager
async def fresh_broker(servers: Servers) -> AsyncIterator[Broker]:
    broker = Broker(servers)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


async def test_an_unknown_error_stops_loudly_and_commits_nothing(one: Rig) -> None:
    async def broken(batch: Batch, transaction: Transaction) -> Effects:
        raise ZeroDivisionError

    await one.broker.publish([submission(0)])
    async with one.running(one.worker(broken)):
        assert isinstance(await asyncio.wait_for(one.broker.wait_for_failure(), 20), ZeroDivisionError)
    assert set((await consumed_positions(one.store, GROUP, SUBMISSIONS)).values()) == {0}


async def test_records_that_expired_unread_stop_loudly(one: Rig, servers: Servers) -> None:
    await one.broker.publish([submission(number, b"same") for number in range(10)])
    async with one.running(one.worker()):
        await until(lambda: one.settled(10))
    await one.broker.publish([submission(number, b"same") for number in range(10, 20)])
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka_bootstrap_servers)
    await admin.start()
    ends = await one.broker.end_offsets(SUBMISSIONS)
    gone = {TopicPartition(servers.namespace + SUBMISSIONS.name, each): RecordsToDelete(before_offset=end) for each, end in ends.items() if end}
    await admin.delete_records(gone)
    await admin.close()
    async with one.running(one.worker()):
        assert isinstance(await asyncio.wait_for(one.broker.wait_for_failure(), 20), RecordsLost)
    await one.assert_exactly_once(10)


async def test_an_assignment_waits_for_a_database_that_is_away(one: Rig, servers: Servers, caplog: pytest.LogCaptureFixture) -> None:
    host, _, _ = servers.mongodb_uri.removeprefix("mongodb://").partition("/")
    name, _, port = host.rpartition("@")[2].partition(":")
    async with Proxy(name, int(port)).serving() as door:
        behind = await Store.connect(
            f"mongodb://127.0.0.1:{door.port}/?directConnection=true", database="dedup", namespace=servers.namespace, timeout_ms=1_000
        )
        door.close()
        await one.broker.publish([submission(number) for number in range(40)])
        async with one.running(one.worker(store=behind)) as worker:
            await until(lambda: bool(worker.assignment.partitions()))
            await until(lambda: "waits" in caplog.text)
            assert not worker.ready()
            door.open()
            await until(lambda: one.settled(40))
        await asyncio.to_thread(behind.close)  # it says goodbye through the door that this loop serves
    await one.assert_exactly_once(40)


async def test_a_start_waits_for_a_kafka_that_is_away(servers: Servers) -> None:
    host, _, port = servers.kafka_bootstrap_servers.split(",")[0].partition(":")
    async with Proxy(host, int(port)).serving() as door:
        door.close()
        broker = Broker(Servers(f"127.0.0.1:{door.port}", servers.namespace, servers.mongodb_uri))
        starting = asyncio.create_task(broker.start())
        done, _ = await asyncio.wait([starting], timeout=1.0)
        assert not done
        door.open()
        await asyncio.wait_for(starting, 20)
        await broker.stop()


async def test_a_failed_send_replaces_the_producer_and_the_outbox_is_sent_again(one: Rig) -> None:
    await one.broker.publish([submission(number) for number in range(60)])
    native = await one.broker.producer._current()

    async def refuse(*args: object, **kwargs: object) -> None:
        raise TimeoutError

    native.send_batch = refuse
    async with one.running(one.worker()):
        await until(lambda: one.settled(60))
    assert await one.broker.producer._current() is not native
    await one.assert_exactly_once(60)


async def test_an_oversized_batch_of_events_is_split_over_several_outbox_documents(one: Rig) -> None:
    async def verbose(batch: Batch, transaction: Transaction) -> Effects:
        effects = await count_and_pass_on(batch, transaction)
        for record in batch:
            for _ in range(3):
                effects.publish(submission_of_megabyte(record.event_id))
        return effects

    await one.broker.publish([submission(number) for number in range(8)])
    async with one.running(one.worker(verbose)):
        await until(lambda: one.settled(8))
    assert len(await one.published(DEAD_LETTERS)) == 24


def submission_of_megabyte(cause: UUID) -> Any:
    outgoing = submission(1)
    event = outgoing.event
    large = replace_struct(event, submission=replace_struct(event.submission, sealed=b"x" * 1_000_000))  # type: ignore[union-attr,type-var]
    return replace(outgoing, topic=DEAD_LETTERS.name, event=large, event_id=uuid5(cause, "large"))


async def test_a_mark_pass_runs_without_records_and_is_fenced_like_a_batch(one: Rig) -> None:
    await one.store.create_collection("marks")
    marks = one.store.collection("marks")

    async def pass_marks(partition: int, transaction: Transaction) -> Effects | None:
        found = await marks.find({"partition": partition}, transaction=transaction)
        effects = Effects()
        for mark in found:
            effects.write("marks", UpdateOne({"_id": mark["_id"]}, {"$set": {"partition": -1}, "$inc": {"passes": 1}}))
            effects.publish(submission(mark["_id"]))
        return effects if found else None

    async def due() -> list[int]:
        return await marks.distinct("partition", {"partition": {"$gte": 0}})

    async with one.running(one.worker(idle=pass_marks, idle_due=due)) as worker:
        await until(lambda: len(worker.positions()) == 2)
        before = {row["partition"]: row["sequence"] for row in await one.store.collection("offsets").find({})}
        await marks.insert_many([{"_id": number, "partition": number % 2, "passes": 0} for number in range(4)])
        await until(lambda: one.settled(4))
        rows = await one.store.collection("offsets").find({})
        assert all(row["sequence"] > before[row["partition"]] for row in rows)
    assert [each["passes"] for each in await marks.find({})] == [1, 1, 1, 1]


async def test_a_mark_pass_gets_its_turn_while_records_never_stop_coming(one: Rig) -> None:
    """Goal: a worker that is never idle, and so always holds every partition, still works off marks."""
    await one.store.create_collection("marks")
    marks, passed, batches = one.store.collection("marks"), asyncio.Event(), 0

    async def pass_marks(partition: int, transaction: Transaction) -> Effects | None:
        if await marks.find_one({"partition": partition}, transaction=transaction) is None:
            return None
        passed.set()
        effects = Effects()
        effects.write("marks", UpdateOne({"partition": partition}, {"$set": {"partition": -1}}))
        return effects

    async def slow(batch: Batch, transaction: Transaction) -> Effects:
        nonlocal batches
        batches += 1
        effects = await count_and_pass_on(batch, transaction)
        if not passed.is_set():
            await one.broker.publish([submission(1_000 * batches + number) for number in range(20)])  # the next poll finds records at once
            await asyncio.sleep(0.3)  # longer than the worker rests between two polls
        return effects

    async def due() -> list[int]:
        return await marks.distinct("partition", {"partition": {"$gte": 0}})

    await marks.insert_one({"_id": 0, "partition": 1})
    await one.broker.publish([submission(number) for number in range(20)])
    async with one.running(one.worker(slow, idle=pass_marks, idle_due=due)):
        await asyncio.wait_for(passed.wait(), 10)


async def test_an_event_that_kafka_would_never_take_is_refused_before_anything_is_stored(one: Rig) -> None:
    async def bloated(batch: Batch, transaction: Transaction) -> Effects:
        effects, event = await count_and_pass_on(batch, transaction), submission(1).event
        huge = replace_struct(event, submission=replace_struct(event.submission, sealed=b"x" * BODY_BYTES_MAX))  # type: ignore[union-attr,type-var]
        effects.publish(replace(submission(1), event=huge))
        return effects

    await one.broker.publish([submission(0)])
    async with one.running(one.worker(bloated)):
        assert isinstance(await asyncio.wait_for(one.broker.wait_for_failure(), 20), MessageTooLarge)
    assert await one.counters() == {}
    assert await one.store.collection("outbox").count({}) == 0


async def test_what_kafka_refuses_for_good_is_not_sent_again_and_again(one: Rig) -> None:
    native = await one.broker.producer._current()
    with pytest.raises(PublishRefused):
        await one.broker.publish_messages([Message(SUBMISSIONS.name, b"k", os.urandom(9 * 1024 * 1024), [])])
    assert await one.broker.producer._current() is native


async def test_what_a_door_enqueues_is_published_by_its_relay_in_one_transaction_with_its_state(one: Rig) -> None:
    published: list[str] = []

    async def note(documents: Any) -> None:
        published.extend(each["_id"] for each in documents)

    relay = OutboxRelay(one.store, one.broker, "door-1", note)
    await relay.start()

    async def accept(transaction: Transaction) -> tuple[str, ...]:
        await one.store.collection("counters").insert_one({"_id": b"ledger", "n": 1}, transaction=transaction)
        return await enqueue(transaction, one.store, [submission(number) for number in range(5)])

    ids = await one.store.transaction(accept)
    relay.wake()
    await asyncio.wait_for(relay.drain(), 10)
    await until(lambda: tuple(published) == ids)  # told after the document is gone
    assert len(await one.published(SUBMISSIONS)) == 5
    assert await relay.live_instances() == ("door-1",)
    await relay.stop()


async def test_the_outbox_of_a_door_whose_lease_lapsed_is_taken_over(one: Rig) -> None:
    one.store.writer = "gone"
    await one.store.transaction(lambda transaction: enqueue(transaction, one.store, [submission(0)]))
    relay = OutboxRelay(one.store, one.broker, "heir")
    await relay.start()
    await until(lambda: _empty(one), 10)
    assert len(await one.published(SUBMISSIONS)) == 1
    await relay.stop()


async def _empty(one: Rig) -> bool:
    return await one.store.collection("outbox").count({}) == 0

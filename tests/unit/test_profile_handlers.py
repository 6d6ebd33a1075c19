"""Batches in, changes out, without servers: guards, their mutants, marks, epochs."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from services.profile.domain.customer import CustomerState
from services.profile.use_cases import ledger
from shared.contracts.privacy import EntityKeysClosed, ErasureReceipt
from tests.profile_world import PARTITIONS, World, erased, moved, partition_of, resolved, uid


def customer_of(partition: int) -> UUID:
    """A customer that lives in this partition."""
    return next(uid(f"c{n}") for n in range(100) if partition_of(uid(f"c{n}").bytes) == partition)


A, B = customer_of(0), customer_of(1)


@pytest.fixture
def world() -> World:
    return World()


async def test_a_repeat_delivery_changes_nothing_and_publishes_nothing(world: World) -> None:
    event = resolved(A, world.submission("s", fields={"name": "Li"}))
    await world.deliver(event)
    known, published = world.store.people[A], len(world.published)
    await world.deliver(event)
    assert (world.store.people[A], len(world.published)) == (known, published)


async def test_without_the_id_guard_a_repeat_is_counted_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "mutant", lambda name: name == "no_id_guard")
    event = resolved(A, world.submission("s", amount=100))
    await world.deliver(event)
    await world.deliver(event)
    assert world.store.people[A].tally.order_count == 2


async def test_with_mere_existence_as_guard_a_body_behind_its_move_is_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    submission = world.submission("s", amount=100)
    await world.deliver(moved(B, A, [submission.submission_id], 5)[1])
    monkeypatch.setattr(ledger, "mutant", lambda name: name == "existence_as_guard")
    await world.deliver(resolved(B, submission))
    await world.settle()
    assert A not in world.store.people


async def test_bodies_that_say_nothing_of_the_person_are_not_opened(world: World) -> None:
    submission = world.submission("s", amount=100)
    del world.keys.known[submission.submission_id]
    event = resolved(A, submission)
    await world.deliver(type(event)(customer_id=A, assignment=1, new_identifiers=False, submission=submission))
    assert world.store.people[A].tally.revenue_minor == {"CNY": 100}
    assert world.store.people[A].key_id is None


async def test_an_epoch_lasts_while_nobody_joins_or_leaves(world: World) -> None:
    await world.deliver(resolved(A, world.submission("s1", fields={"name": "Li"})))
    key_id = world.store.people[A].key_id
    await world.deliver(resolved(A, world.submission("s2", trust=90, fields={"name": "Wang"})))
    assert world.store.people[A].key_id == key_id
    assert world.golden(A)["name"] == ("Wang", uid("s2"), 1)


async def test_a_merge_begins_a_new_epoch_and_the_old_keys_are_reported(world: World) -> None:
    await world.deliver(
        resolved(A, world.submission("s1", fields={"name": "Li"})), resolved(B, world.submission("s2", fields={"phone": "+8613800138000"}))
    )
    old = {world.store.people[each].key_id for each in (A, B)}
    await world.deliver(*moved(B, A, [uid("s2")], 5))
    await world.settle()
    reported = [one.event for one in world.published if isinstance(one.event, EntityKeysClosed)]
    assert {key for event in reported for key in event.key_ids} == old
    assert world.store.people[A].key_id not in old
    assert world.store.people[B].state is CustomerState.ALIAS


async def test_a_foreign_row_leaves_a_mark_and_its_customer_alone(world: World) -> None:
    submission = world.submission("s", fields={"name": "Li"})
    await world.deliver(moved(B, A, [submission.submission_id], 5)[1])
    await world.deliver(resolved(B, submission))
    assert A not in world.store.people
    assert [(mark.customer, mark.gained) for mark in world.store.dirty.values()] == [(A, submission.submission_id)]
    await world.settle()
    assert world.golden(A)["name"] == ("Li", submission.submission_id, 0)
    assert not world.store.dirty


async def test_a_destroyed_entity_key_is_healed_by_folding_from_the_rows(world: World) -> None:
    await world.deliver(resolved(A, world.submission("s1", fields={"name": "Li", "phone": "+8613800138000"})))
    key_id = world.store.people[A].key_id
    assert key_id is not None
    world.keys.destroy(key_id)
    await world.deliver(resolved(A, world.submission("s2", fields={"name": "Wang"})))
    await world.settle()
    assert {name: value[0] for name, value in world.golden(A).items()} == {
        "name": "Li" if uid("s1") > uid("s2") else "Wang",
        "phone": "+8613800138000",
    }
    assert world.store.people[A].tally.kinds == {"profile": 2}


async def test_a_destroyed_submission_key_is_counted_and_says_nothing(world: World) -> None:
    submission = world.submission("s", fields={"name": "Li"})
    world.keys.destroy(submission.submission_id)
    await world.deliver(resolved(A, submission))
    assert world.store.people[A].tally.kinds == {"profile": 1}
    assert world.golden(A) == {}


async def test_an_erasure_answers_for_the_customer_and_for_each_alias_with_every_open_key(world: World) -> None:
    await world.deliver(resolved(A, world.submission("s1", fields={"name": "Li"})), resolved(B, world.submission("s2", fields={"name": "Lei"})))
    first = {world.store.people[each].key_id for each in (A, B)}
    await world.deliver(*moved(B, A, [uid("s2")], 5))
    last = world.store.people[A].key_id
    await world.deliver(erased(A, [uid("s1"), uid("s2"), uid("never seen")], [B]))
    await world.settle()
    receipts = [one.event for one in world.published if isinstance(one.event, ErasureReceipt)]
    assert sorted((receipt.part, receipt.parts) for receipt in receipts) == [(1, 2), (2, 2)]
    assert {key for receipt in receipts for key in receipt.key_ids} >= {*first, last}
    gone = [one.key for one in world.published if one.event is None]
    assert set(gone) == {A.bytes, B.bytes}


async def test_an_hour_after_an_erasure_a_filler_closes_the_tombstones_segment(world: World) -> None:
    await world.deliver(resolved(A, world.submission("s1", fields={"name": "Li"})))
    await world.deliver(erased(A, [uid("s1")]))
    await world.settle()
    assert [one.key for one in world.published if one.event is None] == [A.bytes]
    world.now += timedelta(hours=2)
    await world.settle()
    assert [one.key for one in world.published if one.event is None] == [A.bytes, A.bytes]
    assert not world.store.waiting


async def test_a_repeated_erasure_gives_the_same_keys_again(world: World) -> None:
    await world.deliver(resolved(A, world.submission("s1", fields={"name": "Li"})))
    event = erased(A, [uid("s1")])
    await world.deliver(event)
    await world.deliver(event)
    one, other = [each.event.key_ids for each in world.published if isinstance(each.event, ErasureReceipt)]
    assert one == other
    assert len(one) == 1


def test_the_two_customers_live_apart() -> None:
    assert PARTITIONS > 1
    assert partition_of(A.bytes) != partition_of(B.bytes)

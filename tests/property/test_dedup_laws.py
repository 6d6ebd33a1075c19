"""Laws of resolution: who is one person is a function of the set of records."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.dedup.domain.model import Signature
from shared.contracts.dedup import SubmissionResolved, SubmissionsMoved
from tests.dedup_world import World, grouped, oracle, signature

KEYS = [f"{kind}:{value}" for kind in ("member_number", "external_id", "external_id/shop", "phone", "email") for value in "abc"]
Record = tuple[int, Signature]


@st.composite
def some_records(draw: st.DrawFn) -> list[Record]:
    size = draw(st.integers(1, 12))
    return [
        (
            number,
            signature(
                *draw(st.lists(st.sampled_from(KEYS), max_size=3)),
                name=draw(st.sampled_from(["", "", "anna", "ben", "carl"])),
                birth=draw(st.sampled_from(["", "", "1990", "1991"])),
                number=number,
            ),
        )
        for number in range(size)
    ]


def resolved(batches: Sequence[Sequence[Record]]) -> World:
    async def run() -> World:
        world = World()
        for batch in batches:
            await world.take(batch)
        return world

    return asyncio.run(run())


def cut(records: Sequence[Record], rnd: random.Random) -> list[list[Record]]:
    batches: list[list[Record]] = [[]]
    for each in records:
        if rnd.random() < 0.4:
            batches.append([])
        batches[-1].append(each)
    return [each for each in batches if each]


@settings(max_examples=300, deadline=None)
@given(records=some_records(), seed=st.integers(0, 2**16))
def test_any_order_and_any_cut_into_batches_give_the_partition_of_the_independent_oracle(records: list[Record], seed: int) -> None:
    rnd = random.Random(seed)
    shuffled = rnd.sample(records, len(records))

    assert resolved(cut(shuffled, rnd)).partition() == oracle(records)


@settings(max_examples=100, deadline=None)
@given(records=some_records(), seed=st.integers(0, 2**16))
def test_repeats_change_nothing(records: list[Record], seed: int) -> None:
    rnd = random.Random(seed)
    repeated = records + rnd.sample(records, rnd.randint(0, len(records)))

    world = resolved(cut(repeated, rnd))

    assert world.partition() == oracle(records)
    assert Counter(type(each) for each in world.published)[SubmissionResolved] == len(records)


def in_any_order(events: Sequence[Any], rnd: random.Random) -> dict[Any, Any]:
    """A consumer that hears everything in some order and believes the highest assignment number."""
    belief: dict[Any, tuple[int, Any]] = {}
    for event in rnd.sample(list(events), len(events)):
        if isinstance(event, SubmissionResolved):
            claims = [(event.submission.submission_id, event.assignment, event.customer_id)]
        elif isinstance(event, SubmissionsMoved):
            owner = event.customer_id if event.direction == "gained" else event.counterpart_id
            claims = [(each, event.assignment, owner) for each in event.submission_ids]
        else:
            claims = []
        for submission, assignment, customer in claims:
            if assignment > belief.get(submission, (-1, None))[0]:
                belief[submission] = (assignment, customer)
    return {submission: customer for submission, (_, customer) in belief.items()}


@settings(max_examples=200, deadline=None)
@given(records=some_records(), seed=st.integers(0, 2**16))
def test_consumers_that_believe_the_highest_number_end_where_dedup_stands_in_any_order_of_events(records: list[Record], seed: int) -> None:
    rnd = random.Random(seed)
    world = resolved(cut(records, rnd))

    belief = in_any_order(world.published, rnd)

    assert belief == {each: world.store.customer_of(each) for each in world.store.records}


@settings(max_examples=200, deadline=None)
@given(records=some_records(), seed=st.integers(0, 2**16))
def test_counts_and_aliases_stay_true(records: list[Record], seed: int) -> None:
    store = resolved(cut(records, random.Random(seed))).store

    held = Counter(store.customer_of(each) for each in store.records)

    assert {customer: entity.submissions for customer, entity in store.customers.items() if entity.submissions} == dict(held)
    for alias in store.aliases:
        seen, at = {alias}, alias
        while at in store.aliases:
            at = store.aliases[at]
            assert at not in seen
            seen.add(at)
        assert at in held


def test_twenty_shuffles_of_a_household_stream_give_equal_partitions() -> None:
    rnd = random.Random(7)
    records: list[Record] = []
    for number in range(150):
        person = rnd.randrange(40)
        keys = rnd.sample([f"phone:{person // 3}", f"email:{person}", f"external_id/shop:{person}", f"member_number:{person}"], rnd.randint(1, 2))
        records.append((number, signature(*keys, name=rnd.choice(["", f"name {person}"]), number=number)))
    want = oracle(records)

    partitions = [resolved(cut(rnd.sample(records, len(records)), rnd)).partition() for _ in range(20)]

    assert all(each == want for each in partitions)
    assert len(want) >= 40
    assert grouped([], lambda each: each) == set()

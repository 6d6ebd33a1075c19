"""Laws of the fold: order, batches and repeats change nothing; a merge equals never having been apart; erased stays erased."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from services.profile.domain.customer import CustomerState
from shared.contracts.event import Event
from tests.profile_world import World, erased, moved, resolved, uid

CUSTOMERS = [uid(f"customer-{n}") for n in range(4)]
A, B = CUSTOMERS[0], CUSTOMERS[1]


@dataclass(frozen=True)
class Said:
    """One submission as a test draws it."""

    customer: int
    trust: int
    day: int
    name: str | None
    phone: str | None
    amount: int | None


said = st.builds(
    Said,
    customer=st.integers(0, 3),
    trust=st.sampled_from([10, 50, 90]),
    day=st.integers(0, 3),
    name=st.sampled_from([None, "Li", "Wang"]),
    phone=st.sampled_from([None, "+8613800138000", "+8613900139000"]),
    amount=st.sampled_from([None, 100, -40]),
)


def events_of(world: World, stories: list[Said]) -> list[Event]:
    events: list[Event] = []
    for number, story in enumerate(stories):
        fields = {name: value for name, value in (("name", story.name), ("phone", story.phone)) if value}
        submission = world.submission(f"s{number}", trust=story.trust, day=story.day, fields=fields, amount=None if fields else story.amount)
        events.append(resolved(CUSTOMERS[story.customer], submission))
    return events


async def run(world: World, events: list[Event], cuts: random.Random | None, settle_between: bool = False) -> World:
    while events:
        size = len(events) if cuts is None else cuts.randint(1, 3)
        joined = cuts is not None and cuts.random() < 0.5
        await (world.deliver_joined if joined else world.deliver)(*events[:size])
        events = events[size:]
        if settle_between and cuts is not None and cuts.random() < 0.5:
            await world.settle()
    await world.settle()
    return world


def portraits(world: World) -> dict[object, object]:
    return {customer: world.portrait(customer) for customer in CUSTOMERS if customer in world.store.people}


@given(stories=st.lists(said, min_size=1, max_size=8), seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_other_batches_another_order_and_repeats_give_the_same_customers(stories, seed):
    async def check() -> None:
        one, other, rnd = World(), World(), random.Random(seed)
        straight, shuffled = events_of(one, stories), events_of(other, stories)
        shuffled += rnd.sample(shuffled, rnd.randint(0, len(shuffled)))
        rnd.shuffle(shuffled)
        await run(one, straight, None)
        await run(other, shuffled, rnd, settle_between=True)
        assert tokenless(portraits(one)) == tokenless(portraits(other))

    asyncio.run(check())


@given(stories=st.lists(said, min_size=2, max_size=8), seed=st.integers(0, 10_000))
@settings(max_examples=80, deadline=None)
def test_a_merge_in_any_order_equals_never_having_been_apart(stories, seed):
    async def check() -> None:
        apart, together, rnd = World(), World(), random.Random(seed)
        events = events_of(apart, stories)
        lost = [event.submission.submission_id for event in events if event.customer_id == B]
        history = [*events, *moved(B, A, lost, 5)]
        rnd.shuffle(history)
        await run(apart, history, rnd, settle_between=True)
        joined = [resolved(A if event.customer_id == B else event.customer_id, event.submission) for event in events_of(together, stories)]
        await run(together, joined, None)
        mine, baseline = tokenless(portraits(apart)), tokenless(portraits(together))
        assert apart.store.people[B].state is CustomerState.ALIAS
        assert apart.store.people[B].alias_of == A
        if any(story.customer in (0, 1) for story in stories):
            assert mine.pop(A) == baseline.pop(A)
        mine.pop(A, None)
        mine.pop(B)
        assert mine == baseline

    asyncio.run(check())


@given(stories=st.lists(said, min_size=2, max_size=8), seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_after_an_erasure_in_any_order_nothing_of_the_person_is_left(stories, seed):
    async def check() -> None:
        world, rnd = World(), random.Random(seed)
        events = events_of(world, stories)
        theirs = [event.submission.submission_id for event in events if event.customer_id in (A, B)]
        lost = [event.submission.submission_id for event in events if event.customer_id == B]
        history = [*events, *moved(B, A, lost, 5), erased(A, theirs, [B])]
        rnd.shuffle(history)
        await run(world, history, rnd, settle_between=True)
        assert {world.store.people[customer].state for customer in (A, B)} == {CustomerState.ERASED}
        assert all(not world.store.people[customer].tokens and not world.golden_bytes(customer) for customer in (A, B))
        assert all(world.store.rows[submission].content is None for submission in theirs)
        assert not world.store.dirty

    asyncio.run(check())


@given(stories=st.lists(said, min_size=2, max_size=8), seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_rows_erased_from_a_living_customer_leave_no_trace_in_it(stories, seed):
    async def check() -> None:
        world, without, rnd = World(), World(), random.Random(seed)
        events = events_of(world, stories)
        gone = {event.submission.submission_id for event in events if rnd.random() < 0.5}
        history = [*events, erased(uid("somebody else"), sorted(gone))]
        rnd.shuffle(history)
        await run(world, history, rnd, settle_between=True)
        kept = [event for event in events_of(without, stories) if event.submission.submission_id not in gone]
        await run(without, kept, None)
        mine, baseline = tokenless(portraits(world)), tokenless(portraits(without))
        assert {customer: mine[customer] for customer in baseline} == baseline
        assert all(world.store.people[customer].tally.kinds == {} for customer in mine.keys() - baseline.keys())

    asyncio.run(check())


def tokenless(portraits: dict[object, tuple]) -> dict[object, tuple]:
    """Two worlds have two peppers: tokens are compared by number."""
    return {customer: (*each[:3], len(each[3]), *each[4:]) for customer, each in portraits.items()}

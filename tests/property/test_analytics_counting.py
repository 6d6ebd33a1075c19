"""Whatever the order, the repeats and the batches: the counters equal a recomputation, and both equal what is true."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from services.analytics.domain.cells import Cell, Count
from tests.analytics_world import History, MemoryWorld, play

PARTITIONS = 3


@st.composite
def histories(draw: st.DrawFn) -> History:
    """What dedup may have decided: submissions, merges and erasures in some order."""
    history = History()
    for _ in range(draw(st.integers(1, 14))):
        deed = draw(st.sampled_from(["submit", "submit", "submit", "order", "merge", "erase"]))
        if deed == "submit":
            history.submit(draw(st.integers(0, 4)), draw(st.integers(1, 3)))
        elif deed == "order":
            history.submit(draw(st.integers(0, 4)), draw(st.integers(1, 3)), amount_minor=draw(st.integers(-300, 900)))
        elif deed == "merge":
            history.merge(draw(st.integers(0, 4)), draw(st.integers(0, 4)))
        else:
            history.erase(draw(st.integers(0, 4)))
    return history


@settings(max_examples=200, deadline=None)
@given(history=histories(), data=st.data())
async def test_any_order_and_any_repeat_gives_the_same_figures(history: History, data: st.DataObject) -> None:
    events = data.draw(st.permutations(history.events + data.draw(st.lists(st.sampled_from(history.events), max_size=5)))) if history.events else []
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    passes, joined = data.draw(st.booleans()), data.draw(st.booleans())
    world = MemoryWorld(PARTITIONS)
    await play(world, events, sizes, mark_passes_between=passes, joined=joined)
    assert await world.counted() == history.truth()
    assert await world.recomputed() == history.truth()


async def test_an_absorbed_customer_is_no_longer_counted() -> None:
    history = History()
    history.submit(0, 1, amount_minor=500)
    history.submit(1, 2, amount_minor=700)
    history.merge(0, 1)
    world = MemoryWorld(PARTITIONS)
    await play(world, history.events, [1])
    counted = await world.counted()
    assert counted[Cell("customers")] == Count(1)
    assert counted[Cell("repeat_buyers")] == Count(1)
    assert counted[Cell("merges")] == Count(1)


async def test_after_an_erasure_nothing_is_left_of_the_customer() -> None:
    history = History()
    history.submit(0, 1, amount_minor=500)
    history.erase(0)
    world = MemoryWorld(PARTITIONS)
    await play(world, history.events, [1])
    assert await world.counted() == {}


async def test_a_submission_that_comes_after_its_erasure_counts_nothing() -> None:
    history = History()
    history.submit(0, 1, amount_minor=500)
    history.erase(0)
    world = MemoryWorld(PARTITIONS)
    await play(world, list(reversed(history.events)), [1])
    assert await world.counted() == {}

"""The erasure saga: any order, repeats and crashes lead to the same end, and nothing is destroyed too early."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from services.privacy.domain.erasure import (
    CACHES_EMPTY_AFTER,
    CACHING,
    ERASING_HOLDERS,
    REPEAT_AFTER,
    AskAgain,
    Certify,
    DestroyKeys,
    Drained,
    Erasure,
    Received,
    SeeAllErased,
    SetBarrier,
    Stage,
    next_step,
    pending,
    stage_after,
)
from services.privacy.domain.requests import Receipt, received

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DRAINED = {"a": Drained(frozenset("ab"), {"0": 5, "1": 2}), "b": Drained(frozenset("ab"), {"0": 4, "1": 7})}
PARTS = {"dedup": 2, "profile": 3, "analytics": 2, "privacy": 1}
EVICTED = {service: {"1": frozenset("1")} for service in CACHING}
RECEIPTS = [("drained", name, 0) for name in DRAINED] + [("erased", holder, part) for holder, parts in PARTS.items() for part in range(1, parts + 1)]


def add(received, receipt):
    stage, name, part = receipt
    if stage == "drained":
        return replace(received, drained={**received.drained, name: DRAINED[name]})
    fresh = part not in received.erased.get(name, frozenset())
    return replace(
        received,
        erased={**received.erased, name: received.erased.get(name, frozenset()) | {part}},
        parts={**received.parts, name: PARTS[name]},
        unspent=received.unspent + (fresh and name in ("dedup", "profile")),
    )


def advance(erasure, received, log, crashes):
    """Take every step that can be taken; a crash loses the step's effects as a whole."""
    while (step := next_step(erasure, received, NOW)) is not None:
        if next(crashes, False):
            continue
        log.append(step)
        if isinstance(step, DestroyKeys):
            received = replace(received, unspent=received.unspent - 1, spent=received.spent + 1, evicted=EVICTED)
        erasure = replace(erasure, stage=stage_after(step, erasure.stage))
    return erasure, received


@given(st.permutations(RECEIPTS), st.lists(st.sampled_from(RECEIPTS), max_size=6), st.lists(st.booleans(), max_size=12))
def test_every_order_of_receipts_with_repeats_and_crashes_closes_once(order, repeats, crashing):
    # given
    erasure, received, log, crashes = Erasure(Stage.DRAINING, NOW), Received(), [], iter(crashing)
    # when
    for arrived, receipt in enumerate([*order, *repeats]):
        received = add(received, receipt)
        erasure, received = advance(erasure, received, log, crashes)
        if arrived < len(RECEIPTS) - 1:
            # then: no key goes while anybody still owes an answer
            assert not any(isinstance(step, DestroyKeys | Certify) for step in log)
    # then
    assert erasure.stage is Stage.CLOSED
    assert [type(step) for step in log] == [SetBarrier, SeeAllErased, *[DestroyKeys] * 5, Certify]
    assert log[0] == SetBarrier({"0": 5, "1": 7})
    assert pending(erasure, received) == []


@given(st.sets(st.sampled_from(RECEIPTS), max_size=len(RECEIPTS) - 1))
def test_a_missing_receipt_is_named_and_never_a_silent_wait(arrived):
    erasure, received = Erasure(Stage.DRAINING, NOW), Received()
    for receipt in arrived:
        received = add(received, receipt)
    erasure, received = advance(erasure, received, [], iter(()))
    assert erasure.stage in (Stage.DRAINING, Stage.ERASING)
    assert pending(erasure, received)


def test_intake_is_asked_again_when_a_named_process_stays_silent():
    erasure, received = Erasure(Stage.DRAINING, NOW), Received(drained={"a": DRAINED["a"]})
    assert next_step(erasure, received, NOW) is None
    assert next_step(erasure, received, NOW + REPEAT_AFTER) == AskAgain(2)
    assert pending(erasure, received) == ["intake b: drain"]


def test_a_process_that_died_is_no_longer_awaited_once_the_living_answer_again():
    alone = Received(drained={"a": Drained(frozenset("a"), {"0": 9})})
    assert next_step(Erasure(Stage.DRAINING, NOW, 2), alone, NOW) == SetBarrier({"0": 9})


def test_processes_that_died_one_after_another_hold_no_erasure_up():
    """P1 dies unanswered; P2 starts within its lease, names it, answers and dies; P3 alone goes on."""
    died = Drained(frozenset({"P1", "P2"}), {"0": 5}, attempt=1)
    received = Received(drained={"P2": died})
    assert next_step(Erasure(Stage.DRAINING, NOW), received, NOW + REPEAT_AFTER) == AskAgain(2)
    answered = replace(received, drained={"P2": died, "P3": Drained(frozenset({"P3"}), {"0": 7}, attempt=2)})
    assert answered.undrained == []
    assert next_step(Erasure(Stage.DRAINING, NOW, 2), answered, NOW) == SetBarrier({"0": 7})


def test_an_answer_to_an_earlier_asking_is_not_taken_for_one_to_the_last():
    """Who is named alive by the last asking must have drained for it."""
    received = Received(drained={"a": Drained(frozenset("ab"), {"0": 5}, attempt=2), "b": Drained(frozenset("b"), {"0": 4}, attempt=1)})
    assert received.undrained == ["b"]
    assert next_step(Erasure(Stage.DRAINING, NOW, 2), received, NOW) is None


def test_no_answer_at_all_is_asked_for_again():
    assert next_step(Erasure(Stage.DRAINING, NOW), Received(), NOW + timedelta(minutes=1)) == AskAgain(2)


def test_parts_that_name_fewer_keys_than_were_announced_destroy_nothing_and_say_so():
    """All parts may be there and still be the wrong ones; then living keys must not be certified as gone."""
    request = uuid4()
    keys = tuple(uuid4() for _ in range(3))
    others = [Receipt(request, holder, "erased", "0001") for holder in ("profile", "analytics", "privacy")]
    empty = Receipt(request, "dedup", "erased", "0001", keys_in_all=3)
    first = Receipt(request, "dedup", "erased", "0001", 1, 2, key_ids=keys[:2], key_count=2, keys_in_all=3)
    second = Receipt(request, "dedup", "erased", "0002", 2, 2, key_ids=keys[2:], key_count=1, keys_in_all=3)
    erasing = Erasure(Stage.ERASING, NOW)

    assert next_step(erasing, received([empty, *others]), NOW) is None
    assert pending(erasing, received([empty, *others])) == ["dedup: 3 key ids"]
    assert pending(erasing, received([first, *others])) == ["dedup: part 2 of 2", "dedup: 1 key ids"]
    assert next_step(erasing, received([first, second, *others]), NOW) == SeeAllErased()


def test_nothing_is_certified_while_a_live_process_may_hold_a_destroyed_key_until_its_cache_has_run_out():
    destroyed = Erasure(Stage.DESTROYING, NOW, waiting_since=NOW)
    nobody = Received(spent=1)
    one_silent = Received(spent=1, evicted={**EVICTED, "dedup": {"1": frozenset({"1", "2"})}})

    assert next_step(destroyed, nobody, NOW) is None
    assert pending(destroyed, nobody) == [f"{service}: drop destroyed keys from memory" for service in sorted(CACHING)]
    assert next_step(destroyed, one_silent, NOW) is None
    assert pending(destroyed, one_silent) == ["dedup 2: drop destroyed keys from memory"]
    assert next_step(destroyed, one_silent, NOW + CACHES_EMPTY_AFTER) == Certify()
    assert next_step(destroyed, Received(spent=1, evicted=EVICTED), NOW) == Certify()


def test_an_erasure_that_destroyed_no_key_waits_for_no_memory():
    assert next_step(Erasure(Stage.DESTROYING, NOW, waiting_since=NOW), Received(), NOW) == Certify()


def test_all_holders_that_keep_rows_are_awaited():
    assert set(ERASING_HOLDERS) == set(PARTS)

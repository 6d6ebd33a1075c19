from __future__ import annotations

from uuid import UUID

from shared.sealing.slots import SLOTS, SlotTable, bundles_of, contiguous, slot_of, slot_range


def test_a_slot_is_a_range_of_ids() -> None:
    low, high = slot_range(0xABC, 0xABC)
    assert slot_of(UUID(bytes=low)) == slot_of(UUID(bytes=high)) == 0xABC
    assert slot_of(UUID(int=UUID(bytes=high).int + 1)) == 0xABD


def test_slot_keys_are_all_different() -> None:
    assert len({each.key for each in SlotTable.generate().current}) == SLOTS


def test_a_rotation_replaces_the_named_slots_only_and_keeps_their_old_keys_open() -> None:
    before = SlotTable.generate()
    during = before.with_new_epoch(1, [7])
    assert during.find(7, 0) == before.current[7].key
    assert during.find(7, 1) == during.current[7].key != before.current[7].key
    assert during.current[8] == before.current[8]


def test_after_a_rotation_the_old_key_is_gone() -> None:
    after = SlotTable.generate().with_new_epoch(1, [7]).without_older(1, [7])
    assert after.find(7, 0) is None
    assert after.find(7, 1) is not None


def test_beginning_the_same_rotation_again_changes_nothing() -> None:
    once = SlotTable.generate().with_new_epoch(1, [7])
    assert once.with_new_epoch(1, [7]) is once


def test_ending_an_earlier_rotation_again_leaves_a_later_one_open() -> None:
    later = SlotTable.generate().with_new_epoch(1, [7]).without_older(1, [7]).with_new_epoch(2, [7])
    assert later.without_older(1, [7]).find(7, 1) is not None


def test_neighbouring_slots_make_one_range() -> None:
    assert contiguous([5, 3, 4, 9, 9]) == [(3, 5), (9, 9)]
    assert contiguous(range(SLOTS)) == [(0, SLOTS - 1)]
    assert bundles_of([0, 63, 64, 4095]) == [0, 1, 63]


def test_a_slot_table_shows_its_keys_to_nobody() -> None:
    assert SlotTable.generate().current[0].key.hex() not in repr(SlotTable.generate())

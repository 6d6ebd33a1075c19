"""A copy of a person is cut by size: the largest bodies that the door lets in must not make a part that no broker takes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.access_parts import PART_BYTES, cut


@given(st.lists(st.binary(max_size=40), max_size=30), st.integers(1, 60))
def test_parts_hold_everything_in_order_and_are_small_unless_one_item_is_large(items: list[bytes], bytes_max: int) -> None:
    parts = list(cut(items, bytes_max))

    assert [item for part in parts for item in part] == items
    assert all(parts)
    assert all(len(part) == 1 or sum(map(len, part)) <= bytes_max for part in parts)


def test_two_hundred_long_conversations_make_several_parts() -> None:
    assert len(list(cut([b"x" * 60_000] * 200))) == 200 // (PART_BYTES // 60_000)

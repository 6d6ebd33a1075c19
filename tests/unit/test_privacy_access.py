"""Access exports are complete or say what is missing."""

from datetime import UTC, date, datetime

from services.privacy.domain.access import due_on, in_order, pending


def test_every_holder_owes_at_least_one_part():
    assert pending({}) == [f"{holder}: part 1 of 1" for holder in ("dedup", "profile", "analytics", "privacy")]


def test_a_missing_part_in_the_middle_is_named():
    whole = {1: 1}
    assert pending({"dedup": {1: 3, 3: 3}, "profile": whole, "analytics": whole, "privacy": whole}) == ["dedup: part 2 of 3"]


def test_parts_stand_in_order_whatever_order_they_came_in():
    assert in_order([("dedup", 2), ("profile", 1), ("dedup", 10), ("dedup", 1)]) == {
        "dedup": [1, 2, 10],
        "profile": [1],
        "analytics": [],
        "privacy": [],
    }


def test_a_request_is_due_after_thirty_days():
    assert due_on(datetime(2026, 1, 31, 23, 59, tzinfo=UTC)) == date(2026, 3, 2)

"""What a choice covers."""

from datetime import UTC, datetime
from uuid import UUID

from services.privacy.domain.consents import Choice, LedgerRow, in_force


def row(number, day, state, notice="2"):
    return LedgerRow(
        UUID(int=number),
        UUID(int=9),
        1,
        datetime(2026, 1, day, tzinfo=UTC),
        datetime(2026, 1, day, tzinfo=UTC),
        "web",
        (Choice("marketing", state, notice),),
    )


def test_the_latest_choice_counts_whatever_arrived_last():
    assert in_force([row(1, 2, "withdrawn"), row(2, 1, "granted")])["marketing"].choice.state == "withdrawn"


def test_of_choices_at_one_instant_the_one_that_asks_for_less_stands():
    for careful, careless in [("withdrawn", "denied"), ("withdrawn", "granted"), ("denied", "granted")]:
        for first, second in [(1, 2), (2, 1)]:
            assert in_force([row(first, 1, careful), row(second, 1, careless)])["marketing"].choice.state == careful


def test_equal_choices_at_one_instant_go_by_submission_id():
    assert in_force([row(2, 1, "granted", "2"), row(1, 1, "granted", "1")])["marketing"].choice.notice_version == "2"


def test_a_grant_under_an_older_notice_asks_again():
    assert in_force([row(1, 1, "granted", "1")], {"marketing": "2"})["marketing"].ask_again
    assert not in_force([row(1, 1, "granted", "2")], {"marketing": "2"})["marketing"].ask_again


def test_a_refusal_stands_under_every_notice():
    assert not in_force([row(1, 1, "withdrawn", "1")], {"marketing": "2"})["marketing"].ask_again

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


def test_a_tie_goes_to_the_higher_submission_id():
    assert in_force([row(2, 1, "denied"), row(1, 1, "granted")])["marketing"].choice.state == "denied"


def test_a_grant_under_an_older_notice_asks_again():
    assert in_force([row(1, 1, "granted", "1")], {"marketing": "2"})["marketing"].ask_again
    assert not in_force([row(1, 1, "granted", "2")], {"marketing": "2"})["marketing"].ask_again


def test_a_refusal_stands_under_every_notice():
    assert not in_force([row(1, 1, "withdrawn", "1")], {"marketing": "2"})["marketing"].ask_again

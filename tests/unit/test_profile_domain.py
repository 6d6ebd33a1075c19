from datetime import UTC, date, datetime, timedelta

import pytest

from services.profile.domain.contribution import Content, OrderLine, State, erase, move, receive
from services.profile.domain.customer import Customer, CustomerState, absorb, forget, revive
from services.profile.domain.golden import Claim, choose, combine_all, standing
from services.profile.domain.portrait import tally_of
from tests.profile_world import uid

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def content(day: int = 1, **changes: object) -> Content:
    on = date(2026, 1, day)
    said = {"kind": "contact", "channel_id": "web", "channel_kind": "form", "channel_trust": 50, "received_on": on, "occurred_on": on}
    rest = {"has_fields": False, "new_identifiers": False, "order_lines": (), "body_version": 1, "sealed": b"s"}
    return Content(**(said | rest | changes))


def standings(*claims: Claim) -> dict:
    together: dict = {}
    for claim in claims:
        together = dict(combine_all(together, {claim.value: standing(claim)}))
    return together


def claim(value: str, name: str, trust: int = 50, hour: int = 0) -> Claim:
    return Claim(value, uid(name), "web", trust, NOON + timedelta(hours=hour))


def test_a_move_before_its_submission_waits_in_the_submissions_own_row():
    stub = move(None, uid("s"), uid("b"), 5)
    row = receive(stub, uid("s"), uid("a"), 1, content())
    assert stub.state is State.STUB
    assert not stub.is_final
    assert (row.customer, row.assignment, row.state) == (uid("b"), 5, State.PRESENT)


def test_the_highest_assignment_wins_in_any_order():
    row = receive(None, uid("s"), uid("a"), 1, content())
    late = move(move(row, uid("s"), uid("c"), 7), uid("s"), uid("b"), 5)
    early = move(move(row, uid("s"), uid("b"), 5), uid("s"), uid("c"), 7)
    assert late == early
    assert late.customer == uid("c")


def test_a_repeat_of_a_present_submission_changes_nothing():
    row = receive(None, uid("s"), uid("a"), 1, content())
    assert receive(row, uid("s"), uid("a"), 1, content()) is row


@pytest.mark.parametrize("before", [None, "present", "stub"])
def test_an_erased_row_keeps_only_its_id_and_never_comes_back(before):
    row = {"present": receive(None, uid("s"), uid("a"), 1, content()), "stub": move(None, uid("s"), uid("a"), 3)}.get(before)
    gone = erase(row, uid("s"))
    assert (gone.customer, gone.content) == (None, None)
    assert receive(gone, uid("s"), uid("a"), 9, content()) is gone
    assert move(gone, uid("s"), uid("a"), 9) is gone


def test_trust_decides_before_time_and_the_submission_id_breaks_a_tie():
    seen = standings(claim("old", "1", trust=90), claim("new", "2", trust=10, hour=5))
    assert choose(seen, "most_trusted").claim.value == "old"
    assert choose(seen, "most_recent").claim.value == "new"
    tie = standings(claim("x", "1"), claim("y", "2"))
    assert choose(tie, "most_trusted").claim.submission_id == max(uid("1"), uid("2"))


def test_the_most_frequent_value_outlives_a_later_single_one():
    seen = standings(claim("a", "1"), claim("a", "2"), claim("b", "3", hour=9))
    assert choose(seen, "most_frequent").claim.value == "a"
    assert choose(seen, "most_frequent").alternatives == 1


def test_the_most_complete_value_is_the_longest():
    assert choose(standings(claim("Pudong, Shanghai", "1"), claim("Shanghai", "2", hour=1)), "most_complete").claim.value == "Pudong, Shanghai"


def test_orders_and_revenue_are_counted_from_the_clear_envelope():
    tally = tally_of([
        content(3, kind="transaction", order_lines=(OrderLine("p", 1, 500, "CNY"), OrderLine("q", 2, -100, "CNY"))),
        content(1, kind="transaction", order_lines=(OrderLine("p", 1, 7, "USD"),)),
        content(9),
    ])  # fmt: skip
    assert tally.kinds == {"transaction": 2, "contact": 1}
    assert (tally.order_count, tally.revenue_minor) == (2, {"CNY": 400, "USD": 7})
    assert (tally.first_on, tally.last_on) == (date(2026, 1, 1), date(2026, 1, 9))


def test_a_later_gain_revives_an_alias_and_an_earlier_one_does_not():
    alias = absorb(Customer(uid("a"), 3), uid("b"), 5)
    assert alias.state is CustomerState.ALIAS
    assert revive(alias, 4) is alias
    assert revive(alias, 6).state is CustomerState.ACTIVE


def test_nothing_brings_an_erased_customer_back():
    gone = forget(Customer(uid("a"), 3, key_id=uid("k"), fields=("name",), tokens=frozenset({b"t"})))
    assert (gone.fields, gone.tokens, gone.key_id) == ((), frozenset(), uid("k"))
    assert revive(absorb(gone, uid("b"), 9), 10) is gone

"""Laws of the consent ledger: order, repeats and splits change nothing; erased stays erased."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.privacy.domain.consents import Choice, LedgerRow, erase, in_force, move, record

START = datetime(2026, 1, 1, tzinfo=UTC)
identifiers = st.integers(0, 5).map(lambda number: UUID(int=number))
choices = st.lists(
    st.builds(Choice, st.sampled_from(["marketing", "service"]), st.sampled_from(["granted", "denied", "withdrawn"]), st.sampled_from(["1", "2"])),
    max_size=2,
).map(tuple)
rows = st.lists(
    st.builds(
        LedgerRow,
        submission_id=identifiers,
        customer_id=st.just(UUID(int=9)),
        occurred_at=st.integers(0, 3).map(lambda days: START + timedelta(days=days)),
        choices=choices,
    ),
    max_size=6,
    unique_by=lambda row: row.submission_id,
)


@given(rows, st.randoms())
def test_the_state_in_force_does_not_depend_on_order_or_repeats(ledger, random):
    again = [*ledger, *ledger]
    random.shuffle(again)
    assert in_force(again) == in_force(ledger)


@given(rows, st.integers(0, 6))
def test_a_split_and_a_later_merge_give_the_same_state_as_never_splitting(ledger, cut):
    assert in_force([*ledger[cut:], *ledger[:cut]]) == in_force(ledger)


@given(rows)
def test_every_state_in_force_was_chosen_by_somebody_at_that_time(ledger):
    for purpose, now in in_force(ledger).items():
        assert any(now.choice in row.choices and row.occurred_at == now.since for row in ledger)
        assert all(row.occurred_at <= now.since for row in ledger if any(choice.purpose == purpose for choice in row.choices))


changes = st.lists(
    st.one_of(
        st.tuples(st.just("record"), st.integers(0, 4)),
        st.tuples(st.just("move"), st.integers(0, 4)),
        st.tuples(st.just("erase"), st.just(0)),
    ),
    max_size=8,
)


def apply(row, change):
    """Customer and assignment belong together, so one number stands for both."""
    kind, number = change
    customer = UUID(int=number)
    if kind == "erase":
        return erase(row)
    if kind == "move":
        return move(row, customer=customer, assignment=number)
    return record(
        row,
        customer=customer,
        assignment=number,
        occurred_at=START,
        recorded_at=START,
        channel_id="web",
        choices=(Choice("marketing", "granted", "1"),),
    )


@given(changes, st.randoms())
def test_moves_bodies_and_erasures_give_the_same_row_in_any_order_and_repeated(arriving, random):
    shuffled = [*arriving, *random.sample(arriving, len(arriving))]
    random.shuffle(shuffled)
    first = second = LedgerRow(UUID(int=1))
    for change in arriving:
        first = apply(first, change)
    for change in shuffled:
        second = apply(second, change)
    assert first == second


@given(changes)
def test_erased_stays_erased_and_holds_nothing(arriving):
    row = erase(LedgerRow(UUID(int=1)))
    for change in arriving:
        row = apply(row, change)
    assert row == LedgerRow(UUID(int=1), erased=True)

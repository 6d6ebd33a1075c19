"""The cells of the figures, and what a contribution or a customer adds to each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from services.analytics.domain.contribution import Facts
from services.analytics.domain.customer import Customer


class Cell(NamedTuple):
    """One count.

    Attributes:
        metric: `submissions` by day, channel and kind; `orders` and `refunds` by day; `sales` by day, product and currency;
            `new_buyers` and `returning_buyers` by month; `customers`, `buyers`, `repeat_buyers`, `merges` in all.
        period: day or month, ISO 8601; empty for a count in all.
    """

    metric: str
    period: str = ""
    first: str = ""
    second: str = ""


class Count(NamedTuple):
    """What is added to a cell: a number of things, and for sales also pieces and money."""

    n: int = 0
    quantity: int = 0
    amount_minor: int = 0

    def times(self, factor: int) -> Count:
        """Multiplied, to take away what was added."""
        return Count(self.n * factor, self.quantity * factor, self.amount_minor * factor)

    def plus(self, other: Count) -> Count:
        """The sum."""
        return Count(self.n + other.n, self.quantity + other.quantity, self.amount_minor + other.amount_minor)


SALES = "sales"
"""The one metric whose cells hold words of the senders: product codes."""
NOTHING = Count()
ONE = Count(1)


class Tally:
    """Sums by cell; cells whose sum is nothing are left out."""

    def __init__(self) -> None:
        self._sums: dict[Cell, Count] = {}

    def add(self, cells: Iterator[tuple[Cell, Count]], factor: int = 1) -> None:
        """Adds each count, `factor` times."""
        for cell, count in cells:
            self._sums[cell] = self._sums.get(cell, NOTHING).plus(count.times(factor))

    def sums(self) -> dict[Cell, Count]:
        """What there is to book."""
        return {cell: count for cell, count in self._sums.items() if count != NOTHING}


def cells_of(facts: Facts) -> Iterator[tuple[Cell, Count]]:
    """What a present contribution is counted in."""
    yield Cell("submissions", facts.day, facts.channel, facts.kind), ONE
    if facts.lines:
        yield Cell("orders" if facts.is_order else "refunds", facts.day), ONE
    for line in facts.lines:
        yield Cell(SALES, facts.day, line.product, line.currency), Count(1, line.quantity, line.amount_minor)


def cells_of_customer(customer: Customer) -> Iterator[tuple[Cell, Count]]:
    """What a customer is counted in: living, buying, and by month new (the first with an order) or returning (every later one)."""
    if customer.is_living:
        yield Cell("customers"), ONE
    if customer.merges:
        yield Cell("merges"), Count(customer.merges)
    days = customer.order_days
    if not days:
        return
    yield Cell("buyers"), ONE
    if sum(customer.orders.values()) > 1:
        yield Cell("repeat_buyers"), ONE
    first, *later = Counter(day[:7] for day in days)
    yield Cell("new_buyers", first), ONE
    for month in later:
        yield Cell("returning_buyers", month), ONE

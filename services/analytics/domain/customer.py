"""A customer as the figures see it: how many submissions it holds and on which days it ordered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from services.analytics.domain.contribution import Facts


@dataclass(frozen=True, slots=True)
class Customer:
    """A fold of the present contributions of one customer. Written by the worker that owns its partition only.

    A fold may be behind by what other workers changed; their dirty marks make the owner fold again. Until then a count can
    even be negative, which counts as none.

    Attributes:
        rows: submissions held.
        orders: number of orders by day.
        merges: merges in which it survived.
        erased: its merges no longer count, whenever they are heard of.
    """

    customer_id: UUID
    rows: int = 0
    orders: Mapping[str, int] = field(default_factory=dict)
    merges: int = 0
    erased: bool = False

    @property
    def is_living(self) -> bool:
        """Whether it holds anything; an absorbed customer holds nothing."""
        return self.rows > 0

    @property
    def is_trivial(self) -> bool:
        """Whether there is nothing to keep."""
        return not (self.rows or self.orders or self.merges or self.erased)

    @property
    def order_days(self) -> list[str]:
        """Days with at least one order, in order."""
        return sorted(day for day, count in self.orders.items() if count > 0)

    def changed(self, facts: Facts, times: int) -> Customer:
        """With a contribution of these facts added (`times` 1) or taken away (-1)."""
        orders = self.orders if facts.order_day is None else _added(self.orders, facts.order_day, times)
        return Customer(self.customer_id, self.rows + times, orders, self.merges, self.erased)

    def merged(self) -> Customer:
        """After one more merge that it survived."""
        return self if self.erased else Customer(self.customer_id, self.rows, self.orders, self.merges + 1)

    def forgotten(self) -> Customer:
        """After its erasure; the rows leave by their own erasure."""
        return Customer(self.customer_id, self.rows, self.orders, erased=True)

    def folded(self, days: Iterable[tuple[str | None, int]]) -> Customer:
        """Anew from all its present contributions, given as (order day or None, how many)."""
        counts = list(days)
        orders = {day: count for day, count in counts if day is not None}
        return Customer(self.customer_id, sum(count for _, count in counts), orders, self.merges, self.erased)


def _added(orders: Mapping[str, int], day: str, times: int) -> dict[str, int]:
    count = orders.get(day, 0) + times
    return {**{other: n for other, n in orders.items() if other != day}, **({day: count} if count else {})}

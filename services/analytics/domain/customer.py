"""A customer as the figures see it: whether it holds anything and on which days it ordered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

from services.analytics.domain.contribution import Facts


@dataclass(frozen=True, slots=True)
class Customer:
    """A fold of the present contributions of one customer. Written by the worker that owns its partition only.

    What arrives is added at once; what leaves, or was changed by another worker, waits for the owner to fold anew. So most
    submissions of a known customer change nothing here, which spares a write.

    Attributes:
        is_living: whether it holds a submission; an absorbed customer holds none.
        orders: number of orders by day.
        merges: merges in which it survived.
        erased: its merges no longer count, whenever they are heard of.
    """

    customer_id: UUID
    is_living: bool = False
    orders: Mapping[str, int] = field(default_factory=dict)
    merges: int = 0
    erased: bool = False

    @property
    def is_trivial(self) -> bool:
        """Whether there is nothing to keep."""
        return not (self.is_living or self.orders or self.merges or self.erased)

    @property
    def order_days(self) -> list[str]:
        """Days with at least one order, in order."""
        return sorted(self.orders)

    def gained(self, facts: Facts) -> Customer:
        """With one more contribution of these facts."""
        day = facts.order_day
        if day is None:
            return self if self.is_living else replace(self, is_living=True)
        return replace(self, is_living=True, orders={**self.orders, day: self.orders.get(day, 0) + 1})

    def merged(self) -> Customer:
        """After one more merge that it survived."""
        return self if self.erased else replace(self, merges=self.merges + 1)

    def forgotten(self) -> Customer:
        """After its erasure; the rows leave by their own erasure."""
        return replace(self, merges=0, erased=True)

    def folded(self, days: Iterable[tuple[str | None, int]]) -> Customer:
        """Anew from all its present contributions, given as (order day or None, how many)."""
        counts = dict(days)
        return replace(self, is_living=bool(counts), orders={day: count for day, count in counts.items() if day is not None})

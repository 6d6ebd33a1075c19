"""What two sweeps and a certificate prove together: plain rules over plain values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from deploy.local.sweep import Hit, Report

SEARCHED = ("mongodb", "kafka")
"""Where a person who is known must be found before, or the sweep looks in the wrong place."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the person is gone, and why not.

    Attributes:
        alone: numbers of the values that stood under the person's own keys only; they must be nowhere now.
        shared: numbers of those that other people's records hold as well, such as a city; only there may they still stand.
        unfound: numbers of those that were found nowhere before, so that not finding them says nothing.
        unseen: stores in which nothing of the person was found before.
        left: what is still found and may not be.
    """

    alone: frozenset[int] = frozenset()
    shared: frozenset[int] = frozenset()
    unfound: frozenset[int] = frozenset()
    unseen: tuple[str, ...] = ()
    left: tuple[Hit, ...] = ()

    @property
    def proved(self) -> bool:
        """Nothing is left, and the same search did find the person before."""
        return bool(self.alone) and not (self.left or self.unseen or self.unfound)


def judge(count: int, before: Report, after: Report, living: Collection[UUID]) -> Verdict:
    """Compares the sweeps before and after.

    Args:
        count: how many values were looked for.
        living: which of the keys that opened something before still open it.
    """
    others = _keys_of_others(before.hits, living)
    found = {hit.canary for hit in before.hits}
    left = [hit for hit in after.hits if hit.how != "unsealed" or hit.key not in others.get(hit.canary, ())]
    own_stores = {hit.store for hit in before.hits if hit.key is not None and hit.key not in living}
    return Verdict(
        alone=frozenset(found - others.keys()),
        shared=frozenset(others),
        unfound=frozenset(range(count)) - found,
        unseen=tuple(store for store in SEARCHED if store not in own_stores),
        left=tuple(sorted(left, key=lambda hit: (hit.store, hit.place, hit.canary))),
    )


def keys_in(report: Report) -> set[UUID]:
    """The keys that opened something."""
    return {hit.key for hit in report.hits if hit.key is not None}


def _keys_of_others(hits: Iterable[Hit], living: Collection[UUID]) -> dict[int, set[UUID]]:
    """By value, the keys it stood under that live on: somebody else's records say the same."""
    keys: defaultdict[int, set[UUID]] = defaultdict(set)
    for hit in hits:
        if hit.key is not None and hit.key in living:
            keys[hit.canary].add(hit.key)
    return dict(keys)

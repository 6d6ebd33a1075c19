"""How well the customers found agree with the people there are: pairwise precision and recall."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PairwiseQuality:
    """Agreement over all pairs of records.

    Attributes:
        precision: of the pairs put together, the share that is one person.
        recall: of the pairs that are one person, the share put together.
    """

    precision: float
    recall: float


def _pairs(counts: Iterable[int]) -> int:
    return sum(count * (count - 1) // 2 for count in counts)


def pairwise_quality(assignments: Iterable[tuple[str, str]]) -> PairwiseQuality:
    """From (true person, customer found) of every record. A share of nothing counts as 1."""
    pairs = list(assignments)
    both = _pairs(Counter(pairs).values())
    found = _pairs(Counter(customer for _, customer in pairs).values())
    true = _pairs(Counter(person for person, _ in pairs).values())
    return PairwiseQuality(both / found if found else 1.0, both / true if true else 1.0)

"""What is held against what must be, and the digest by which two runs are compared."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tests.chaos.observe import Observed
from tests.chaos.oracle import Expected, Name

_SHOWN_CHARACTERS_MAX = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as it must be."""

    what: str
    expected: object
    found: object

    @property
    def surplus(self) -> int:
        """How much too much was found; negative for what is lost."""
        return _size(self.found) - _size(self.expected)

    def __str__(self) -> str:
        return f"{self.what}: expected {_short(self.expected)}, found {_short(self.found)} ({self.surplus:+d})"


def differences(expected: Expected, observed: Observed, certified: int = 0) -> list[Difference]:
    """Everything that is not as it must be; empty means exact.

    Args:
        certified: source records that the certificates of erasure name.
    """
    total, gone = sum(expected.submissions_by_kind.values()), len(expected.gone)
    members = _members(observed)
    consents = {frozenset(names): observed.consents[customer] for customer, names in members.items()}
    rows = {"source records": total, "contributions, profile": total, "contributions, analytics": total}
    checks: list[tuple[str, object, object]] = [
        ("partition of submissions", expected.clusters, {frozenset(names) for names in members.values()}),
        ("submissions that nobody holds", expected.gone, {name for name, customer in observed.customer_of.items() if customer is None}),
        ("submissions whose key is destroyed", expected.gone, observed.destroyed),
        ("submissions that certificates name", gone, certified),
        *((what, wanted, observed.rows[what]) for what, wanted in rows.items()),
        *((f"{what}, erased", gone, observed.rows[f"{what}, erased"]) for what in rows),
        *((what, 0, count) for what, count in observed.rows.items() if what.endswith("stubs")),
        ("timeline items by kind", expected.submissions_by_kind, observed.profile_kinds),
        ("customers, profile", len(expected.clusters), observed.customers_active),
        ("customers, analytics", len(expected.clusters), observed.kpis["customers"]),
        ("submissions, analytics", total, observed.kpis["submissions"]),
        ("orders", expected.orders, observed.kpis["orders"]),
        ("submissions by channel and day", expected.submissions_by_channel_day, observed.channel_days),
        ("revenue by product", expected.revenue_minor, observed.revenue),
        ("quantity by product", expected.quantity, observed.quantity),
        ("new buyers by month", expected.new_buyers, observed.new_buyers),
        ("returning buyers by month", expected.returning_buyers, observed.returning_buyers),
        ("consents in force", expected.consents, consents),
        ("outbox documents left", 0, observed.outbox),
        ("dead letters", 0, observed.dead_letters),
    ]
    return [Difference(what, wanted, found) for what, wanted, found in checks if wanted != found]


def digest(observed: Observed, golden: Mapping[str, Any]) -> str:
    """Hash of the final state; each customer is named by its submissions, since ids and versions may differ between runs.

    Args:
        golden: by customer id, what profile believes (opened), without ids and times of arrival.
    """
    state = {
        "customers": sorted(
            (sorted(names), golden.get(customer), observed.timeline.get(customer), sorted(observed.consents[customer].items()))
            for customer, names in _members(observed).items()
        ),
        "counters": [
            sorted(counter.items())
            for counter in (observed.channel_days, observed.revenue, observed.quantity, observed.new_buyers, observed.returning_buyers)
        ],
    }
    return hashlib.sha256(json.dumps(state, sort_keys=True, default=str).encode()).hexdigest()


def _members(observed: Observed) -> Mapping[str, set[Name]]:
    members: defaultdict[str, set[Name]] = defaultdict(set)
    for name, customer in observed.customer_of.items():
        if customer is not None:
            members[customer].add(name)
    return members


def _size(value: object) -> int:
    if isinstance(value, int):
        return value
    if isinstance(value, Counter):
        return sum(value.values())
    return len(value) if isinstance(value, Collection) else 0


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS_MAX else f"{text[:_SHOWN_CHARACTERS_MAX]}..."

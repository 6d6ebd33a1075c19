"""The workload "cdp-mix": what a customer data platform is sent, seeded, so that two runs see the same bytes."""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

Submission = dict[str, Any]

ZIPF = 0.99
_START = datetime(2026, 1, 1, tzinfo=UTC)
_KINDS = ("track", "page", "identify", "alias", "group", "consent", "malformed")
_WEIGHTS = (70, 14, 12, 2, 1, 0.9, 0.1)
RETRIED, RESPELLED = 0.10, 0.15
_PADDING = "kehu " * 200


class Customers:
    """Draws customers by Zipf's law: the first is the busiest."""

    def __init__(self, count: int, rnd: random.Random) -> None:
        self._cumulated = list(itertools.accumulate(1 / (rank + 1) ** ZIPF for rank in range(count)))
        self._random = rnd

    def draw(self) -> int:
        """One customer's number."""
        return bisect.bisect(self._cumulated, self._random.random() * self._cumulated[-1])


class Draws(Protocol):
    """Says which customer the next submission is about."""

    def draw(self) -> int: ...  # noqa: D102


def cdp_mix(events: int, customers: int, seed: int = 11, *, people: Callable[[int, random.Random], Draws] = Customers) -> Iterator[Submission]:
    """`events` submissions about `customers` people, whom `people` draws.

    Of all, 10 % are the same message sent again and 15 % tell of the same person in another spelling. The mix's 0.1 % of
    erasures are requests, not submissions, and are left out here.
    """
    rnd = random.Random(seed)
    drawn = people(customers, rnd)
    recent: list[Submission] = []
    for number in range(events):
        if recent and rnd.random() < RETRIED:
            yield rnd.choice(recent)
            continue
        submission = _submission(number, drawn.draw(), rnd)
        recent.append(submission)
        if len(recent) > 500:
            recent.pop(0)
        yield submission


def _submission(number: int, customer: int, rnd: random.Random) -> Submission:
    kind = rnd.choices(_KINDS, _WEIGHTS)[0]
    late = timedelta(minutes=rnd.random() * 60) if rnd.random() < 0.05 else timedelta()
    moment = _START + timedelta(seconds=number / 50) - late
    base: Submission = {"message_id": f"m{number}", "occurred_at": moment.isoformat(), "identifiers": [_external_id(customer)]}
    if kind in ("track", "page"):
        return base | _behaviour(kind, rnd)
    if kind == "alias":
        return base | {"kind": "profile", "identifiers": [_external_id(customer), {"type": "member_number", "value": f"M{customer:08d}"}]}
    if kind == "group":
        return base | {"kind": "profile", "fields": {"company": f"公司{customer % 500}"}}
    if kind == "consent":
        consent = {"purpose": "marketing", "state": rnd.choice(("granted", "denied")), "notice_version": "2026-01"}
        return base | {"kind": "profile", "consents": [consent]}
    if kind == "malformed":
        return base | {"kind": "profile", "fields": {"email": "not an address"}}
    return base | {"kind": "profile", "fields": _person(customer, rnd)}


def _external_id(customer: int) -> dict[str, str]:
    return {"type": "external_id", "namespace": "crm", "value": f"u{customer}"}


def _behaviour(kind: str, rnd: random.Random) -> Submission:
    """Sizes are log-normal around 1 KB, between 0.3 and 8 KB."""
    size = int(min(max(rnd.lognormvariate(6.4, 0.6), 80), 7_500))
    padding = (_PADDING * (size // len(_PADDING) + 1))[:size]
    chunks = {f"text{index}": padding[start : start + 500] for index, start in enumerate(range(0, size, 500))}
    properties = {"path": f"/p/{rnd.randrange(2_000)}", "amount": rnd.randrange(1_000), **chunks}
    return {"kind": "behaviour", "behaviour": {"name": "page_viewed" if kind == "page" else "product_viewed", "properties": properties}}


def _person(customer: int, rnd: random.Random) -> Submission:
    phone, email = f"138{customer:08d}", f"user{customer}@example.com"
    if rnd.random() < RESPELLED / 0.12:
        phone, email = f"+86 {phone[:3]} {phone[3:7]} {phone[7:]}", email.upper()
    return {"name": f"客户{customer}", "phone": phone, "email": email}

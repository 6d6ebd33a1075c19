"""A seeded stream of submissions for crash tests. What it says is all the oracle is ever told."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

CHANNELS = ("chaos-web", "chaos-store", "chaos-call")
PRODUCTS = ("tea", "cup", "pot", "tray", "box")
LEAVERS_FROM = 9_000
"""Numbers of people that `stream` stays below."""
_START = datetime(2026, 1, 1, tzinfo=UTC)

Submission = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sent:
    """One submission and the channel it goes to; (channel, message id) names it."""

    channel: str
    body: Submission

    @property
    def name(self) -> tuple[str, str]:
        """What tells it from all others."""
        return self.channel, self.body["message_id"]


def stream(count: int, persons: int, seed: int) -> Iterator[Sent]:
    """`count` different submissions about `persons` people.

    Each person has a member number, an e-mail and a phone; a submission shows one or two of them, so customers are found
    apart first and merge when a submission joins them. Every submission has a time of its own, so no rule meets a tie.
    """
    rnd = random.Random(seed)
    for number in range(count):
        yield _sent(f"m{number}", number, int(persons * rnd.random() ** 2), rnd)


def leavers(count: int, persons: int, seed: int) -> Iterator[Sent]:
    """The same about people who are to be erased; they share no identifier with those of `stream`."""
    rnd = random.Random(-seed)
    for number in range(count):
        yield _sent(f"leaver{number}", number, LEAVERS_FROM + number % persons, rnd)


def _sent(message_id: str, number: int, person: int, rnd: random.Random) -> Sent:
    moment = _START + timedelta(minutes=7 * rnd.randrange(20_000), microseconds=number)
    return Sent(rnd.choice(CHANNELS), _body(message_id, number, person, rnd, moment))


def _body(message_id: str, number: int, person: int, rnd: random.Random, moment: datetime) -> Submission:
    kind = rnd.choices(("behaviour", "transaction", "profile", "contact", "feedback"), (50, 20, 20, 5, 5))[0]
    body: Submission = {"message_id": message_id, "kind": kind, "occurred_at": moment.isoformat()}
    known = rnd.sample(("member", "email", "phone"), 1 if rnd.random() < 0.8 else 2)
    fields: dict[str, str] = {}
    if "member" in known:
        body["identifiers"] = [{"type": "member_number", "value": f"C{person:06d}"}]
    if "email" in known:
        fields["email"] = f"person{person}@example.com"
    if "phone" in known:
        fields["phone"] = f"139{(17 * person + 1234) % 10**4:04d}{person % 10**4:04d}"
    if kind == "profile":
        fields["city"] = rnd.choice(("上海", "北京", "成都", "广州"))
        if rnd.random() < 0.3:
            state = rnd.choice(("granted", "denied", "withdrawn"))
            body["consents"] = [{"purpose": "marketing", "state": state, "notice_version": "2026-01"}]
    if fields:
        body["fields"] = fields
    return body | _part(kind, number, rnd)


def _part(kind: str, number: int, rnd: random.Random) -> Submission:
    if kind == "transaction":
        lines = [
            {"product_code": product, "quantity": rnd.randint(1, 3), "amount": f"{rnd.randint(100, 99_999) / 100:.2f}"}
            for product in rnd.sample(PRODUCTS, rnd.randint(1, 2))
        ]
        return {"order": {"order_id": f"o{number}", "currency": "CNY", "lines": lines}}
    if kind == "contact":
        return {"contact": {"medium": "call", "subject": "delivery"}}
    if kind == "feedback":
        return {"feedback": {"text": "好用", "rating": rnd.randint(0, 10)}}
    if kind == "behaviour":
        return {"behaviour": {"name": "page_viewed", "properties": {"page": f"/p/{rnd.randrange(99)}"}}}
    return {}

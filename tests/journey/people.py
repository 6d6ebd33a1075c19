"""Invented people, each of whose values occurs nowhere else, so that finding one proves where it came from."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field
from typing import Any

Submission = dict[str, Any]


def _letters(count: int = 12) -> str:
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(count))


def _mobile() -> str:
    """A Chinese mobile number; its end is none of those that stand for "no number"."""
    return f"139{secrets.randbelow(10**6):06d}47"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whose every value is a canary.

    Attributes:
        phone: eleven digits, as they stand in every canonical spelling.
        mailbox: the part of the e-mail address before the @.
    """

    name: str = field(default_factory=lambda: f"Wang {_letters()}")
    phone: str = field(default_factory=_mobile)
    mailbox: str = field(default_factory=_letters)
    member_number: str = field(default_factory=lambda: f"M-{_letters().upper()}")
    address: str = field(default_factory=lambda: f"Nanjing Lu {_letters()}")
    note: str = field(default_factory=lambda: f"王{_letters()}喜欢绿茶")
    review: str = field(default_factory=lambda: f"好用 {_letters()}")
    talk: str = field(default_factory=lambda: f"asked about {_letters()}")
    order_id: str = field(default_factory=lambda: f"o-{_letters()}")

    @property
    def email(self) -> str:
        """The address."""
        return f"{self.mailbox}@example.com"

    @property
    def canaries(self) -> tuple[str, ...]:
        """All values, in the form that is in each of their spellings."""
        return (self.name, self.phone, self.mailbox, self.member_number, self.address, self.note, self.review, self.talk, self.order_id)

    @property
    def spaced_phone(self) -> str:
        """As people write it."""
        return f"{self.phone[:3]} {self.phone[3:7]} {self.phone[7:]}"

    @property
    def international_phone(self) -> str:
        """As an address book writes it."""
        return f"+86-{self.phone[:3]}-{self.phone[3:7]}-{self.phone[7:]}"

    @property
    def full_width_phone(self) -> str:
        """As a Chinese keyboard may write it."""
        return "".join(chr(ord(digit) + 0xFEE0) for digit in self.phone)

    def profile(self) -> Submission:
        """Everything about the person, with a choice about marketing."""
        fields = {"name": self.name, "phone": self.spaced_phone, "email": self.email, "address": self.address, "note": self.note}
        return _submission("profile", fields, consents=[{"purpose": "marketing", "state": "granted", "notice_version": "2026-01"}])

    def order(self) -> Submission:
        """Two cups for 119.80, by phone and member number."""
        order = {"order_id": self.order_id, "currency": "CNY", "lines": [{"product_code": "cup", "quantity": 2, "amount": "119.80"}]}
        member = [{"type": "member_number", "value": self.member_number}]
        return _submission("transaction", {"phone": self.international_phone}, order=order, identifiers=member)

    def feedback(self) -> Submission:
        """A review, by e-mail."""
        return _submission("feedback", {"email": self.email.upper()}, feedback={"text": self.review, "rating": 9})

    def call(self) -> Submission:
        """A call, by phone."""
        return _submission("contact", {"phone": self.full_width_phone}, contact={"medium": "call", "text": self.talk})

    def private_life(self) -> Submission:
        """What nobody may collect."""
        return _submission("profile", {"name": self.name, "phone": self.phone, "note": self.note, "religion": self.review})

    def broken_email(self) -> Submission:
        """Allowed, but not valid."""
        return _submission("profile", {"name": self.name, "address": self.address, "email": self.mailbox})

    def life(self) -> list[Submission]:
        """Submissions that hold all canaries and lead to one customer."""
        return [self.profile(), self.order(), self.feedback(), self.call()]


def _submission(kind: str, fields: dict[str, str], **parts: Any) -> Submission:
    return {"kind": kind, "message_id": f"m-{_letters()}", "fields": fields, **parts}

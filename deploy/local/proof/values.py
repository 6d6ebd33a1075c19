"""What can be looked for of a person: the values in what the sources said, as long as they cannot be met by chance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.contracts.submission import SubmissionBody

LETTERS_MIN = 6
"""A shorter word of plain letters stands in many a log line."""
DIGITS_MIN = 9
"""Shorter runs of digits stand in times, sizes and counts."""


@dataclass(frozen=True, slots=True)
class Said:
    """One value that a source said about the person.

    Attributes:
        what: where it stood, e.g. `fields.phone`; may be shown, `value` may not.
    """

    what: str
    value: str


def said_in(body: SubmissionBody) -> Iterator[Said]:
    """Every personal value of a body. Purposes, product codes, kinds and times are nobody's own and left out."""
    yield from (Said(f"fields.{name}", str(value)) for name, value in body.fields.items())
    yield from (Said(f"fields.{name} as sent", value) for name, value in body.raw_fields.items())
    yield from (Said(f"identifiers.{each.type}", each.value) for each in body.identifiers)
    yield from (Said("message_id", body.message_id), Said("order_id", body.order_id))
    if body.contact is not None:
        yield from (Said("contact.subject", body.contact.subject), Said("contact.text", body.contact.text))
    if body.feedback is not None:
        yield Said("feedback.text", body.feedback.text)
    if body.behaviour is not None:
        yield from (Said(f"behaviour.{name}", value) for name, value in body.behaviour.properties.items() if isinstance(value, str))


def telling(value: str) -> bool:
    """Whether finding this value says something: it is long enough, or of letters that no log is written in."""
    if not value.isascii():
        return True
    return len(value) >= (LETTERS_MIN if any(sign.isalpha() for sign in value) else DIGITS_MIN)


def to_look_for(bodies: Iterable[SubmissionBody]) -> tuple[list[Said], int]:
    """The telling values, each once whatever its case, in order; and how many others there are."""
    distinct = {each.value.lower(): each for body in bodies for each in said_in(body) if each.value}
    chosen = [each for each in distinct.values() if telling(each.value)]
    return chosen, len(distinct) - len(chosen)

"""For doors whose senders cannot resend a part: what may not or need not be kept is stripped, the rest is read, and what still fails is set aside."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import msgspec

from services.intake.domain.draft import Draft, DraftBehaviour, DraftConsent, DraftContact, DraftFeedback, DraftIdentifier, DraftLine, DraftOrder

_MEMBERS: dict[str, frozenset[str]] = {
    "": frozenset(Draft.__struct_fields__),
    "identifiers": frozenset(DraftIdentifier.__struct_fields__),
    "consents": frozenset(DraftConsent.__struct_fields__),
    "order": frozenset(DraftOrder.__struct_fields__),
    "lines": frozenset(DraftLine.__struct_fields__),
    "contact": frozenset(DraftContact.__struct_fields__),
    "feedback": frozenset(DraftFeedback.__struct_fields__),
    "behaviour": frozenset(DraftBehaviour.__struct_fields__),
}


@dataclass(slots=True)
class Stripped:
    """A submission without what may not be kept.

    Attributes:
        value: plain JSON values.
        forbidden: names of private-life fields that were dropped, once each time.
        unknown: how many members nobody knows were dropped.
    """

    value: Any
    forbidden: list[str] = field(default_factory=list)
    unknown: int = 0

    def encoded(self) -> bytes:
        """The stripped submission as JSON."""
        return msgspec.json.encode(self.value)


def strip(value: Any, known_fields: Collection[str], is_forbidden: Callable[[str], bool]) -> Stripped:
    """Drops private-life fields at any depth and members that nobody knows; says what was dropped, never its value."""
    stripped = Stripped(None)
    without_forbidden = _without(value, is_forbidden, stripped.forbidden)
    stripped.value = _without_unknown(without_forbidden, "", frozenset(known_fields), stripped)
    return stripped


def _without(value: Any, is_forbidden: Callable[[str], bool], dropped: list[str]) -> Any:
    if isinstance(value, list):
        return [_without(each, is_forbidden, dropped) for each in value]
    if not isinstance(value, dict):
        return value
    dropped += [name for name in value if is_forbidden(name)]
    return {name: _without(each, is_forbidden, dropped) for name, each in value.items() if not is_forbidden(name)}


def _without_unknown(value: Any, place: str, known_fields: frozenset[str], stripped: Stripped) -> Any:
    if isinstance(value, list) and place in _MEMBERS:
        return [_without_unknown(each, place, known_fields, stripped) for each in value]
    known = known_fields if place == "fields" else _MEMBERS.get(place)
    if known is None or not isinstance(value, dict):
        return value
    stripped.unknown += sum(name not in known for name in value)
    return {name: _without_unknown(each, name, known_fields, stripped) for name, each in value.items() if name in known}

"""How a value looks to a role that may see only part of it."""

from __future__ import annotations

from shared.policy.declarations import Visibility

HIDDEN = "***"


def masked(value: str, visibility: Visibility) -> str | None:
    """The value, enough of it to recognise, or None when nothing may be seen.

    An e-mail keeps its first letter and domain, a number its last four digits, a name its first character.
    """
    if visibility == "clear":
        return value
    return _part_of(value) if visibility == "partial" else None


def _part_of(value: str) -> str:
    local, at, domain = value.rpartition("@")
    if at:
        return f"{local[:1]}{HIDDEN}@{domain}"
    if sum(character.isdigit() for character in value) >= 7:
        return HIDDEN + value[-4:]
    return value[:1] + HIDDEN

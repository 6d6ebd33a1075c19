"""Access: a copy of all that is held about a person, put together from the parts of every holder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta

HOLDERS = ("dedup", "profile", "analytics", "privacy")
FRESH_DAYS = 7
"""How long an export can be fetched. It is a copy of a whole person, so it should not lie about."""
DUE_DAYS = 30
"""GDPR 12(3): one month."""


def due_on(opened_at: datetime) -> date:
    """The last day to answer a request."""
    return (opened_at + timedelta(days=DUE_DAYS)).date()


def fresh_until(opened_at: datetime) -> datetime:
    """When the export and its key are destroyed."""
    return opened_at + timedelta(days=FRESH_DAYS)


def pending(parts: Mapping[str, Mapping[int, int]]) -> list[str]:
    """Parts still owed. `parts` maps holder -> part number -> announced number of parts."""
    return [f"{holder}: part {part} of {total}" for holder in HOLDERS for part, total in _missing(parts.get(holder, {}))]


def _missing(received: Mapping[int, int]) -> list[tuple[int, int]]:
    total = max(received.values(), default=1)
    return [(part, total) for part in range(1, total + 1) if part not in received]


def in_order(parts: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    """The order of an export: holder -> the numbers of its parts, also of holders that sent none."""
    order: dict[str, list[int]] = {holder: [] for holder in HOLDERS}
    for holder, part in sorted(parts):
        order.setdefault(holder, []).append(part)
    return order

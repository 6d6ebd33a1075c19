"""Access: a copy of all that is held about a person, put together from the parts of every holder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

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


def export(parts: Iterable[tuple[str, int, Any]]) -> dict[str, list[Any]]:
    """Opened parts as one document: holder -> its parts in order."""
    document: dict[str, list[Any]] = {holder: [] for holder in HOLDERS}
    for holder, _, content in sorted(parts, key=lambda part: part[:2]):
        document.setdefault(holder, []).append(content)
    return document

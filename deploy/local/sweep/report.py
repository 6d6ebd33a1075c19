"""What a sweep found, and how much it looked at: a sweep that looked at nothing proves nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

How = Literal["raw", "clear", "unsealed"]


@dataclass(frozen=True, slots=True)
class Hit:
    """A canary was found. Names the place, never the value.

    Attributes:
        store: `mongodb`, `kafka`, `logs`, `traces`, or what the caller calls its folder.
        how: `raw` in the bytes of a file, `clear` in a document or record as it stands, `unsealed` after opening with a key that is left.
        place: file, collection, or topic and offset.
        canary: which one, counted from 0 in the order given.
        key: what opened it, if `unsealed`: the id of a submission, or of a customer's membership epoch.
    """

    store: str
    how: How
    place: str
    canary: int
    key: UUID | None = None


@dataclass(slots=True)
class Report:
    """All hits, and by store what was visited: bytes of files, documents, records, sealed values, values opened."""

    hits: set[Hit] = field(default_factory=set)
    visited: dict[str, Counter[str]] = field(default_factory=dict)

    def count(self, store: str, what: str, number: int = 1) -> None:
        """Adds to what was visited."""
        self.visited.setdefault(store, Counter())[what] += number

    def found(self, how: How, store: str | None = None) -> set[Hit]:
        """Hits of one kind, of all stores or of one."""
        return {hit for hit in self.hits if hit.how == how and store in (None, hit.store)}

    @property
    def clean(self) -> bool:
        """Nothing was found at all."""
        return not self.hits

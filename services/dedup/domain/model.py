"""What the rules of identity speak of: matching keys, signatures, and the limits of each kind of identifier."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID


class MatchingKey(NamedTuple):
    """A blind token of one identifier value.

    Attributes:
        token: keyed hash of type, namespace and value; equal for equal values only.
        kind: identifier type, followed by `/namespace` where the type has namespaces.
    """

    token: bytes
    kind: str

    @property
    def type(self) -> str:
        """The identifier type without its namespace."""
        return self.kind.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Rule:
    """How far one kind of identifier is trusted.

    Attributes:
        rank: 1 is strongest; a stronger kind links first, and so outranks what comes later.
        personal: names one person (a member number, an account), so a misspelt name does not matter. Others are contacts, which may be shared.
        holders_max: a value that more differently named people give is generic and links nobody. For a personal one this is no rule of
            life but a fuse: it was made up ("N/A") where a system had none.
        values_max: values of this kind that one customer may hold; 1 where two values contradict each other.
    """

    rank: int
    personal: bool
    holders_max: int
    values_max: int


Rules = Mapping[str, Rule]
"""Rules by identifier type."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Everything about a source record that matters to resolution; records with equal signatures always belong together.

    Attributes:
        id: 16 bytes derived from the rest, or the submission's own id where there is nothing to match on.
        keys: sorted, without repeats.
        name: blind token of the full name, if told.
        birth: blind token of the birth date, if told.
    """

    id: bytes
    keys: tuple[MatchingKey, ...]
    name: bytes | None = None
    birth: bytes | None = None

    def holder(self, of: MatchingKey, rules: Rules) -> bytes | None:
        """Who claims `of` in this signature: its name, else the strongest other key that can tell people apart, else nobody in particular.

        A contact is claimed by personal identifiers alone, since the contacts beside it may be shared as well.
        """
        if self.name:
            return self.name
        others = [key for key in self.keys if key != of and (rules[key.type].personal or rules[of.type].personal)]
        best = min(others, key=lambda key: (rules[key.type].rank, key.token), default=None)
        return best.token if best else None


def signature_of(submission: bytes, keys: Iterable[MatchingKey], name: bytes | None, birth: bytes | None) -> Signature:
    """The signature of a source record. Without any key it is the submission's alone, so that it founds its own customer."""
    ordered = tuple(sorted(set(keys)))
    if not ordered:
        return Signature(submission, (), name, birth)
    # Tokens have one length, so no other keys, name and birth date give the same bytes.
    content = bytes([name is not None, birth is not None]) + b"".join(key.token for key in ordered) + (name or b"") + (birth or b"")
    return Signature(hashlib.blake2b(content, digest_size=16, person=b"kehu-signature").digest(), ordered, name, birth)


@dataclass(frozen=True, slots=True)
class Entity:
    """A customer as dedup keeps it.

    Attributes:
        version: highest assignment number given out with it.
        submissions: how many living submissions it holds.
    """

    id: UUID
    version: int
    submissions: int


@dataclass(frozen=True, slots=True)
class Placed:
    """A stored signature: which customer holds it, and the submission that brought it first."""

    signature: Signature
    customer: UUID
    founder: UUID
    assignment: int


def generic_tokens(signatures: Iterable[Signature], rules: Rules) -> frozenset[bytes]:
    """Tokens that more people claim than their limit allows. More signatures can only add to the result."""
    holders: dict[MatchingKey, set[bytes]] = {}
    for signature in signatures:
        for key in signature.keys:
            if holder := signature.holder(key, rules):
                holders.setdefault(key, set()).add(holder)
    return frozenset(key.token for key, found in holders.items() if len(found) > rules[key.type].holders_max)

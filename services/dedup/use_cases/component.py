"""Everything stored that a batch's new signatures hang together with."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from services.dedup.domain.model import Placed, Signature
from services.dedup.ports import Identities
from shared.storage import Transaction


@dataclass(slots=True)
class Component:
    """Stored signatures reachable from the new ones through keys that are not generic, and the generic keys met on the way."""

    placed: dict[bytes, Placed] = field(default_factory=dict)
    generic: set[bytes] = field(default_factory=set)


async def load_component(new: Collection[Signature], store: Identities, transaction: Transaction) -> Component:
    """Follows shared keys until nothing new is found: a round or two as a rule. Limits on shared values keep it small."""
    component, seen = Component(), set[bytes]()
    frontier = {key.token for signature in new for key in signature.keys}
    while frontier:
        seen |= frontier
        component.generic |= await store.generic(frontier, transaction)
        found = await store.bearers(frontier - component.generic, transaction)
        component.placed |= {each.signature.id: each for each in found}
        frontier = {key.token for each in found for key in each.signature.keys} - seen
    return component

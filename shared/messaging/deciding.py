"""From raw records to effects: decode each on its own, set bad ones aside, park what must wait behind them."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field

from shared.messaging.effects import Effects
from shared.messaging.record import Batch, Handler, RawRecord, Record
from shared.storage import Transaction


@dataclass(slots=True)
class Sorted:
    """Records of a batch by what becomes of them."""

    good: list[Record] = field(default_factory=list)
    dead: list[tuple[RawRecord, str]] = field(default_factory=list)
    parked: list[RawRecord] = field(default_factory=list)


Decoded = Sequence[tuple[RawRecord, Record | str]]
"""Raw records, each with its decoded form or the reason code why there is none."""


def sort_out(decoded: Decoded, rejections: dict[int, str], blocked_keys: Set[bytes], *, park: bool) -> Sorted:
    """Bad records are dead; with `park`, every later record of a bad or already blocked key is parked, unless an event of the key overtakes."""
    free = {raw.key or b"" for raw, record in decoded if isinstance(record, Record) and record.event.overtakes}
    blocked, result = set(blocked_keys), Sorted()
    for raw, record in decoded:
        reason = record if isinstance(record, str) else rejections.get(raw.offset)
        key = raw.key or b""
        if park and key in blocked and key not in free:
            result.parked.append(raw)
        elif reason is not None:
            result.dead.append((raw, reason))
            blocked.add(key)
        elif isinstance(record, Record):
            result.good.append(record)
    return result


async def decide(
    handle: Handler, source: tuple[str, int], decoded: Decoded, blocked_keys: Set[bytes], transaction: Transaction, *, park: bool
) -> tuple[Effects, Sorted]:
    """Runs the handler on the good records, and again without those it rejected while records of their keys must be parked."""
    (topic, partition), rejections = source, dict[int, str]()
    while True:
        result = sort_out(decoded, rejections, blocked_keys, park=park)
        effects = await handle(Batch(topic, frozenset({partition}), result.good), transaction) if result.good else Effects()
        if not effects.rejections:
            return effects, result
        rejections |= effects.rejections
        if not park:
            return effects, sort_out(decoded, rejections, blocked_keys, park=False)
        settled = sort_out(decoded, rejections, blocked_keys, park=True)
        if len(settled.parked) == len(result.parked):
            return effects, settled  # nothing the handler saw has to wait

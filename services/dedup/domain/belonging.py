"""Whether a record that could not be resolved says something about a customer: asked when the customer is erased."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from services.dedup.domain.model import Rules, Signature


def is_of(record: Signature, members: Iterable[Signature], shared: Collection[bytes], rules: Rules) -> bool:
    """Whether the record is the customer's.

    A personal identifier decides. A contact decides if the names agree, or if nobody else bears it and no other name is told with it.

    Args:
        record: what could be read of the record.
        members: the customer's signatures.
        shared: tokens that other customers bear as well.
    """
    theirs = list(members)
    keys, names = {key for each in theirs for key in each.keys}, {each.name for each in theirs if each.name}
    common = [key for key in record.keys if key in keys]
    if any(rules[key.type].personal for key in common):
        return True
    if record.name and names:
        return bool(common) and record.name in names
    return any(key.token not in shared for key in common)

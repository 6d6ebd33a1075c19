"""Which signatures are one person: a function of the set of signatures, never of the order in which they came.

Keys are taken by rank, then by token. Each joins the clusters that bear it unless that breaks a limit; a key that would is *contested*:

- a personal identifier that is contested joins nobody;
- a contact that clusters with different names, birth dates or member numbers bear joins only those that share a name.

So a member number always outranks a contact, and a household's phone never makes one person of a family.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from services.dedup.domain.model import MatchingKey, Rules, Signature


@dataclass(frozen=True, slots=True)
class Clustering:
    """The clusters, each sorted by signature id, and the keys that were contested on the way."""

    clusters: tuple[tuple[Signature, ...], ...]
    contested: frozenset[bytes]


def cluster(signatures: Iterable[Signature], rules: Rules, generic: Collection[bytes] = ()) -> Clustering:
    """Clusters all signatures of one or more components at once.

    Args:
        signatures: distinct, in any order.
        rules: by identifier type.
        generic: tokens of values over their limit of holders; they link nobody.
    """
    work = _Work(signatures, rules)
    for key in work.keys_in_order(generic):
        work.link(key)
    found = {id(each): each for each in work.at.values()}.values()
    groups = (tuple(sorted(each.members, key=lambda member: member.id)) for each in found)
    return Clustering(tuple(sorted(groups, key=lambda members: members[0].id)), frozenset(work.contested))


class _Cluster:
    """A cluster in the making, with the values, names and birth dates that its members give."""

    __slots__ = ("births", "members", "names", "values")

    def __init__(self, signature: Signature) -> None:
        self.members = [signature]
        self.values: dict[str, set[bytes]] = defaultdict(set)
        self.names = {signature.name} if signature.name else set()
        self.births = {signature.birth} if signature.birth else set()
        for key in signature.keys:
            self.values[key.kind].add(key.token)

    def absorb(self, other: _Cluster) -> None:
        self.members += other.members
        self.names |= other.names
        self.births |= other.births
        for kind, tokens in other.values.items():
            self.values[kind] |= tokens


class _Work:
    def __init__(self, signatures: Iterable[Signature], rules: Rules) -> None:
        self.rules = rules
        self.at = {each.id: _Cluster(each) for each in signatures}
        self.bearers: dict[MatchingKey, list[bytes]] = defaultdict(list)
        self.contested: set[bytes] = set()
        for cluster_ in self.at.values():
            for key in cluster_.members[0].keys:
                self.bearers[key].append(cluster_.members[0].id)

    def keys_in_order(self, generic: Collection[bytes]) -> list[MatchingKey]:
        usable = (key for key in self.bearers if key.token not in generic)
        return sorted(usable, key=lambda key: (self.rules[key.type].rank, key.token))

    def link(self, key: MatchingKey) -> None:
        """Joins the clusters that bear `key`, or as many of them as its limits allow."""
        bearers = self._clusters(key)
        if len(bearers) < 2:
            return
        personal = self.rules[key.type].personal
        if self._fit(bearers) and (personal or _agree(bearers)):
            self._join(bearers)
        else:
            self.contested.add(key.token)
            self._link_by_name(key)

    def _link_by_name(self, key: MatchingKey) -> None:
        if self.rules[key.type].personal:
            return
        for name in sorted({name for each in self._clusters(key) for name in each.names}):
            namesakes = [each for each in self._clusters(key) if name in each.names]
            if len(namesakes) > 1 and self._fit(namesakes) and _one_group([each.births for each in namesakes]):
                self._join(namesakes)

    def _clusters(self, key: MatchingKey) -> list[_Cluster]:
        found = {id(self.at[each]): self.at[each] for each in self.bearers[key]}
        return list(found.values())

    def _fit(self, clusters: Sequence[_Cluster]) -> bool:
        """Whether one customer may hold the values of all. A single record that breaks a limit by itself still may be joined by what it holds."""
        for kind in {kind for each in clusters for kind in each.values}:
            held = [each.values[kind] for each in clusters if each.values.get(kind)]
            limit = max(self.rules[kind.partition("/")[0]].values_max, *(len(values) for values in held), 0)
            if len(set().union(*held)) > limit:
                return False
        return True

    def _join(self, clusters: Sequence[_Cluster]) -> None:
        first, *others = clusters
        for other in others:
            first.absorb(other)
            for member in other.members:
                self.at[member.id] = first


def _agree(clusters: Sequence[_Cluster]) -> bool:
    """Whether nothing says that a contact is shared by several people."""
    return _one_group([each.names for each in clusters]) and _one_group([each.births for each in clusters])


def _one_group(told: Sequence[set[bytes]]) -> bool:
    """Whether the non-empty sets hang together through common values."""
    left = [each for each in told if each]
    if not left:
        return True
    reached, left = set(left[0]), left[1:]
    while near := [each for each in left if each & reached]:
        reached |= set().union(*near)
        left = [each for each in left if not each & reached]
    return not left

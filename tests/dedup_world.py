"""What the tests of dedup share: an in-memory store that passed the port's suite, made-up records, and an independent oracle."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any, cast
from uuid import UUID

from services.dedup.domain.model import Entity, MatchingKey, Placed, Rule, Rules, Signature, signature_of
from services.dedup.ports import Decision, MoveLog, SourceRecord
from services.dedup.use_cases.read_signatures import Opened, ReadSignatures
from services.dedup.use_cases.resolve_identities import ResolveIdentities
from shared.contracts.intake import SubmissionAccepted
from shared.contracts.submission import Submission
from shared.messaging import Batch, Effects, Record
from shared.storage import Transaction

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
NO_TRANSACTION = cast(Transaction, None)
RULES: Rules = {
    "member_number": Rule(rank=1, personal=True, holders_max=2, values_max=1),
    "external_id": Rule(rank=2, personal=True, holders_max=2, values_max=3),
    "phone": Rule(rank=5, personal=False, holders_max=2, values_max=3),
    "email": Rule(rank=6, personal=False, holders_max=2, values_max=3),
}


def token(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def submission_id(number: int) -> UUID:
    return UUID(bytes=token(f"submission {number}"))


def key(text: str) -> MatchingKey:
    """`phone:p1`, `external_id/shop:x`."""
    kind, _, _ = text.partition(":")
    return MatchingKey(token(text), kind)


def signature(*keys: str, name: str = "", birth: str = "", number: int = 0) -> Signature:
    return signature_of(submission_id(number).bytes, map(key, keys), token(name) if name else None, token(birth) if birth else None)


def envelope(number: int, sealed: bytes = b"") -> Submission:
    return Submission(
        submission_id=submission_id(number),
        kind="profile",
        channel_id="web",
        channel_kind="web",
        channel_trust=50,
        received_on=date(2026, 1, 2),
        occurred_on=date(2026, 1, 2),
        sealed=sealed,
    )


def record_of(submission: Submission, offset: int = 0) -> Record:
    return Record(SubmissionAccepted(submission=submission), b"", offset, submission.submission_id, submission.submission_id, None, 0)


def batch_of(submissions: Sequence[Submission]) -> Batch:
    return Batch("intake.submissions.v1", frozenset({0}), [record_of(each, offset) for offset, each in enumerate(submissions)])


class KnownSignatures:
    """Stands for the reader of sealed bodies: the signature of a submission is known."""

    def __init__(self) -> None:
        self.by_submission: dict[UUID, Signature] = {}

    async def __call__(self, records: Sequence[Record]) -> Opened:
        opened = Opened()
        for record in records:
            assert isinstance(record.event, SubmissionAccepted)
            submission = record.event.submission
            opened.signatures.append((record, submission, self.by_submission[submission.submission_id]))
        return opened


class MemoryIdentities:
    """`ports.Identities` in memory; writes take effect at once."""

    def __init__(self) -> None:
        self.records: dict[UUID, SourceRecord] = {}
        self.signatures: dict[bytes, Placed] = {}
        self.identifiers: dict[bytes, tuple[bool, bool]] = {}
        self.customers: dict[UUID, Entity] = {}
        self.aliases: dict[UUID, UUID] = {}
        self.logs: list[MoveLog] = []

    async def settled(self, submissions: Collection[UUID], transaction: Transaction) -> set[UUID]:
        return set(submissions) & self.records.keys()

    async def placed(self, signatures: Collection[bytes], transaction: Transaction) -> dict[bytes, Placed]:
        return {each: self.signatures[each] for each in signatures if each in self.signatures}

    async def bearers(self, tokens: Collection[bytes], transaction: Transaction) -> list[Placed]:
        return [each for each in self.signatures.values() if {one.token for one in each.signature.keys} & set(tokens)]

    async def generic(self, tokens: Collection[bytes], transaction: Transaction) -> set[bytes]:
        return {each for each in tokens if self.identifiers.get(each, (False, False))[0]}

    async def entities(self, customers: Collection[UUID], transaction: Transaction) -> dict[UUID, Entity]:
        return {each: self.customers[each] for each in customers if each in self.customers}

    def _of(self, founders: Iterable[UUID]) -> list[UUID]:
        wanted = set(founders)
        return sorted((each for each, row in self.records.items() if row.founder in wanted), key=lambda each: each.bytes)

    async def count_submissions(self, founders: Iterable[UUID], transaction: Transaction) -> int:
        return len(self._of(founders))

    async def submissions(self, founders: Iterable[UUID], before: int, after: UUID | None, limit: int, transaction: Transaction) -> Sequence[UUID]:
        found = [each for each in self._of(founders) if self.records[each].assignment < before and (after is None or each.bytes > after.bytes)]
        return found[:limit]

    def write(self, decision: Decision, effects: Effects) -> None:
        for each in decision.founded:
            assert each.customer not in self.customers
            self.customers[each.customer] = Entity(each.customer, each.version, each.submissions)
        for change in decision.decided:
            old = self.customers[change.customer]
            self.customers[change.customer] = replace(old, version=change.version, submissions=old.submissions + change.gained)
            if change.merged_into:
                self.aliases[change.customer] = change.merged_into
        for one in (*decision.founded_signatures, *decision.moved_signatures):
            self.signatures[one.signature.id] = one
        for identifier, generic, contested in decision.identifiers:
            self.identifiers[identifier.token] = (generic, contested)
        self.records |= {each.submission.submission_id: each for each in decision.records}
        self.logs += decision.logs

    def customer_of(self, submission: UUID) -> UUID:
        founder = self.records[submission].founder
        return next(each.customer for each in self.signatures.values() if each.founder == founder)


class World:
    """Resolves made-up records in memory and remembers what was published."""

    def __init__(self, rules: Rules = RULES) -> None:
        self.store, self.known, self.published = MemoryIdentities(), KnownSignatures(), list[Any]()
        self.resolve = ResolveIdentities(self.store, cast(ReadSignatures, self.known), rules, lambda: NOON)

    async def take(self, batch: Sequence[tuple[int, Signature]]) -> None:
        self.known.by_submission |= {submission_id(number): each for number, each in batch}
        effects = await self.resolve(batch_of([envelope(number) for number, _ in batch]), NO_TRANSACTION)
        self.published += [each.event for each in effects.outgoing]

    def partition(self) -> set[frozenset[UUID]]:
        return grouped(self.store.records, self.store.customer_of)


def grouped(submissions: Iterable[UUID], customer_of: Callable[[UUID], UUID]) -> set[frozenset[UUID]]:
    groups: dict[UUID, set[UUID]] = {}
    for each in submissions:
        groups.setdefault(customer_of(each), set()).add(each)
    return {frozenset(each) for each in groups.values()}


def oracle(  # noqa: C901 - one function on purpose: the rules read from top to bottom, apart from the product
    records: Sequence[tuple[int, Signature]], rules: Rules = RULES
) -> set[frozenset[UUID]]:
    """The whole set of records at once, by plain union-find over submissions: written apart from the product and shares none of its code."""
    parent = {number: number for number, _ in records}
    known = dict(records)

    def root(number: int) -> int:
        while parent[number] != number:
            number = parent[number]
        return number

    def cluster(number: int) -> list[int]:
        return [each for each in parent if root(each) == root(number)]

    def told(numbers: Iterable[int], what: str) -> set[bytes]:
        return {getattr(known[each], what) for one in numbers for each in cluster(one)} - {None}

    def together(numbers: Sequence[int], what: str) -> bool:
        """Whether the clusters hang together by what they tell, those that tell nothing aside."""
        left = [told([each], what) for each in numbers]
        left = [each for each in left if each]
        joined = left[0] if left else set()
        for _ in left:
            for each in left:
                if each & joined:
                    joined = joined | each
        return all(each <= joined for each in left)

    def fits(numbers: Sequence[int]) -> bool:
        by_cluster = [[one for each in cluster(number) for one in known[each].keys] for number in numbers]
        for kind in {each.kind for keys in by_cluster for each in keys}:
            values = [{each.token for each in keys if each.kind == kind} for keys in by_cluster]
            limit = max([rules[kind.split("/")[0]].values_max, *map(len, values)])
            if len({one for each in values for one in each}) > limit:
                return False
        return True

    def join(numbers: Sequence[int]) -> None:
        for each in numbers[1:]:
            parent[root(each)] = root(numbers[0])

    for number, one in records:  # equal in everything that matters: one person
        same = [other for other, each in records if each == one and one.keys]
        join([number, *same])
    keys = {each for _, one in records for each in one.keys}
    for each in sorted(keys, key=lambda each: (rules[each.type].rank, each.token)):
        rule = rules[each.type]
        bearers = [number for number, one in records if each in one.keys]
        holders = {known[number].holder(each, rules) for number in bearers} - {None}
        if len(holders) > rule.holders_max:
            continue
        if fits(bearers) and (rule.personal or (together(bearers, "name") and together(bearers, "birth"))):
            join(bearers)
        elif not rule.personal:
            for name in sorted(told(bearers, "name")):
                namesakes = [number for number in bearers if name in told([number], "name")]
                if len(namesakes) > 1 and fits(namesakes) and together(namesakes, "birth"):
                    join(namesakes)
    return {frozenset(submission_id(each) for each in cluster(number)) for number, _ in records}

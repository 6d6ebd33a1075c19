"""Dead letters of a customer: accepted submissions that were never resolved, and still belong to somebody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from services.dedup.domain.belonging import is_of
from services.dedup.domain.model import Rules, Signature
from services.dedup.ports import Erasures, Identities, SetAsideRecord
from services.dedup.use_cases.read_signatures import ReadSignatures
from shared.sealing import KeyRing
from shared.storage import Transaction

RECORDS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Found:
    """What an erasure finds among the dead letters.

    Attributes:
        theirs: records of the customer.
        unreadable: records that nobody can read, so that nobody can tell whose they are.
    """

    theirs: tuple[SetAsideRecord, ...] = ()
    unreadable: int = 0


class FindSetAside:
    """Reads what was set aside and compares it with a customer's signatures. Costs one read while nothing is set aside."""

    def __init__(self, erasures: Erasures, identities: Identities, read: ReadSignatures, keyring: KeyRing, rules: Rules) -> None:
        self._erasures, self._identities, self._read = erasures, identities, read
        self._keyring, self._rules = keyring, rules

    async def __call__(self, holder: UUID, transaction: Transaction) -> Found:
        """Call it before the customer's signatures are deleted, in the same transaction.

        Raises:
            KeyStoreUnavailable: wait and try again.
        """
        found, last = Found(), ""
        while records := await self._erasures.set_aside(last, RECORDS_AT_ONCE, transaction):
            page, last = await self._of_page(records, holder, transaction), records[-1].letter
            found = Found(found.theirs + page.theirs, found.unreadable + page.unreadable)
        return found

    async def _of_page(self, records: Sequence[SetAsideRecord], holder: UUID, transaction: Transaction) -> Found:
        readable, unreadable = await self._readable(records, transaction)
        bearers = await self._identities.bearers({key.token for _, clues in readable for key in clues.keys}, transaction)
        members = [each.signature for each in bearers if each.customer == holder]
        shared = {key.token for each in bearers if each.customer != holder for key in each.signature.keys}
        return Found(tuple(record for record, clues in readable if is_of(clues, members, shared, self._rules)), unreadable)

    async def _readable(self, records: Sequence[SetAsideRecord], transaction: Transaction) -> tuple[list[tuple[SetAsideRecord, Signature]], int]:
        """What can be read, and how many records cannot. A record whose key is destroyed was erased already and is neither."""
        known = [(each, each.submission) for each in records if each.submission is not None]
        taken = await self._keyring.taken((submission.submission_id for _, submission in known), transaction)
        keys = await self._keyring.open(key_id for key_id, living in taken.items() if living)
        left = [(each, submission) for each, submission in known if taken.get(submission.submission_id) is not False]
        clues = [(each, self._read.clues(submission, keys.get(submission.submission_id))) for each, submission in left]
        readable = [(each, signature) for each, signature in clues if signature is not None]
        return readable, len(records) - len(known) + len(left) - len(readable)

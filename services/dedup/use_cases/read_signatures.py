"""Opens sealed bodies and takes from them what resolution needs: matching keys and blind tokens of name and birth date."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from services.dedup.domain.model import MatchingKey, Rule, Rules, Signature, signature_of
from shared.contracts.intake import SubmissionAccepted
from shared.contracts.submission import Identifier, Submission, SubmissionBody
from shared.messaging import Record
from shared.policy import Catalogue
from shared.sealing import BlindIndex, DataKey, KeyRing, SealBroken, body_aad

_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


class _Clues(msgspec.Struct):
    """What of a body says who somebody is."""

    identifiers: tuple[Identifier, ...] = ()
    fields: dict[str, str | int | float | bool] = {}


_body = msgspec.json.Decoder(SubmissionBody)
_clues = msgspec.json.Decoder(_Clues)


def rules_of(catalogue: Catalogue) -> Rules:
    """The catalogue's limits as resolution uses them; it knows no others."""
    return {
        name: Rule(
            rank=declared.trust_rank,
            personal=declared.customers_per_value_max == 1,
            holders_max=declared.holders_per_value_max if declared.customers_per_value_max == 1 else declared.customers_per_value_max,
            values_max=declared.values_per_customer_max,
        )
        for name, declared in catalogue.identifiers.items()
    }


@dataclass(slots=True)
class Opened:
    """What became of a batch's bodies.

    Attributes:
        signatures: of the records that could be opened, in their order.
        suppressed: how many had a destroyed key: their person was erased.
        broken: records whose body cannot be opened or read.
    """

    signatures: list[tuple[Record, Submission, Signature]] = field(default_factory=list)
    suppressed: int = 0
    broken: list[tuple[Record, str]] = field(default_factory=list)


class ReadSignatures:
    """Reads the signatures of a batch; opens all keys at once and keeps no personal value."""

    def __init__(self, keyring: KeyRing, index: BlindIndex, catalogue: Catalogue) -> None:
        self._keyring, self._index, self._catalogue = keyring, index, catalogue

    async def __call__(self, records: Sequence[Record]) -> Opened:
        """Opens what can be opened.

        Raises:
            KeyMissing: a key has no row at all: stop, or data would be lost.
            KeyStoreUnavailable: wait and try again.
        """
        accepted = [(record, record.event.submission) for record in records if isinstance(record.event, SubmissionAccepted)]
        keys = await self._keyring.open([submission.submission_id for _, submission in accepted])
        opened = Opened()
        for record, submission in accepted:
            self._open(record, submission, keys[submission.submission_id], opened)
        return opened

    def _open(self, record: Record, submission: Submission, key: DataKey | None, opened: Opened) -> None:
        if key is None:
            opened.suppressed += 1
            return
        try:
            plain = key.unseal(submission.sealed, body_aad(submission.submission_id, submission.body_version))
            opened.signatures.append((record, submission, self.signature(submission, _body.decode(plain))))
        except SealBroken:
            opened.broken.append((record, "seal_broken"))
        except msgspec.DecodeError:
            opened.broken.append((record, "body_does_not_fit"))

    def clues(self, submission: Submission, key: DataKey | None) -> Signature | None:
        """The signature as far as the body can be read, also when it does not fit its schema; None if it cannot be read at all."""
        if key is None:
            return None
        try:
            plain = key.unseal(submission.sealed, body_aad(submission.submission_id, submission.body_version))
            clues = _clues.decode(plain)
        except (SealBroken, msgspec.DecodeError):
            return None
        return self.signature(submission, SubmissionBody(occurred_at=_NO_TIME, identifiers=clues.identifiers, fields=clues.fields))

    def signature(self, submission: Submission, body: SubmissionBody) -> Signature:
        """The signature of one body. Shared mailboxes, made-up numbers and placeholders give no key; kinds that the catalogue lacks neither."""
        keys = [self._key(each) for each in self._usable(body.identifiers)]
        name, birth = full_name(body), str(body.fields.get("birth_date", ""))
        return signature_of(
            submission.submission_id.bytes,
            keys,
            self._index.token("full_name", name) if name else None,
            self._index.token("birth_date", birth) if birth else None,
        )

    def _usable(self, identifiers: Sequence[Identifier]) -> Iterator[Identifier]:
        return (each for each in identifiers if self._catalogue.is_deterministic(each.type, each.value))

    def _key(self, identifier: Identifier) -> MatchingKey:
        kind = f"{identifier.type}/{identifier.namespace}" if identifier.namespace else identifier.type
        return MatchingKey(self._index.token(identifier.type, identifier.value, identifier.namespace), kind)


def full_name(body: SubmissionBody) -> str:
    """The name in the form that is compared: case, spaces and the order of words do not matter. Empty unless a full name was told."""
    fields = body.fields
    if name := str(fields.get("name", "")):
        return _folded(name)
    given, family = str(fields.get("given_name", "")), str(fields.get("family_name", ""))
    if not given or not family:
        return ""
    return _folded(f"{family} {given}" if family.isascii() else f"{family}{given}")


def _folded(name: str) -> str:
    text = unicodedata.normalize("NFKC", name).casefold().replace(",", " ")
    return " ".join(sorted(text.split()))

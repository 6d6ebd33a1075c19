"""From sealed bytes to what a customer is like, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

import msgspec

from services.profile.domain.contribution import Contribution
from services.profile.domain.customer import Customer
from services.profile.domain.golden import Claim, Golden, Standing, Standings
from services.profile.domain.portrait import Likeness, golden_record, likeness_of
from shared.contracts.profile import GOLDEN_VERSION, GoldenField, GoldenRecord
from shared.contracts.submission import SubmissionBody
from shared.sealing import BlindIndex, DataKey, body_aad

STANDINGS_VERSION = 0x8001
"""Schema version of the sealed fold state; far from the golden record's, so that the two cannot be exchanged under one key."""

NOTHING = Likeness()

_body = msgspec.json.Decoder(SubmissionBody)
_golden = msgspec.json.Decoder(GoldenRecord)
_standings = msgspec.json.Decoder(dict[str, list[Standing]])
_encoder = msgspec.json.Encoder()


def open_body(row: Contribution, key: DataKey | None) -> SubmissionBody | None:
    """What the source said; None if its key was destroyed or the row holds no body.

    Raises:
        SealBroken: the bytes are not this submission's.
    """
    if key is None or row.content is None:
        return None
    return _body.decode(key.unseal(row.content.sealed, body_aad(row.submission_id, row.content.body_version)))


def open_golden(customer: Customer, key: DataKey | None) -> GoldenRecord | None:
    """The stored golden record; None if its key was destroyed."""
    if key is None or customer.key_id is None:
        return None
    return _golden.decode(key.unseal(customer.golden_sealed, body_aad(customer.key_id, GOLDEN_VERSION)))


def open_standings(customer: Customer, key: DataKey) -> dict[str, Standings]:
    """The stored fold state of the fields."""
    if customer.key_id is None or not customer.standings_sealed:
        return {}
    stored = _standings.decode(key.unseal(customer.standings_sealed, body_aad(customer.key_id, STANDINGS_VERSION)))
    return {name: {standing.recent.value: standing for standing in found} for name, found in stored.items()}


class LikenessReader:
    """Reads what a body says of the person.

    Args:
        index: makes the tokens that a customer is looked up by.
    """

    def __init__(self, index: BlindIndex) -> None:
        self._index = index

    def __call__(self, row: Contribution, key: DataKey | None) -> Likeness:
        """The row's likeness; nothing if its key was destroyed."""
        body = open_body(row, key)
        if body is None or row.content is None:
            return NOTHING
        tokens = frozenset(self._index.token(one.type, one.value, one.namespace) for one in body.identifiers)
        source = Claim("", row.submission_id, row.content.channel_id, row.content.channel_trust, body.occurred_at)
        return likeness_of(body.fields, source, tokens)


class LikenessSealer:
    """Seals fold state and golden record under a customer's entity key.

    Args:
        rules: survivorship rule by field name.
    """

    def __init__(self, rules: Mapping[str, str]) -> None:
        self._rules = rules

    def __call__(self, customer: Customer, standings: Mapping[str, Standings], key_id: UUID, key: DataKey) -> Customer:
        """The customer with these standings sealed in."""
        golden = golden_record(standings, self._rules)
        state = {name: list(found.values()) for name, found in standings.items()}
        return replace(
            customer,
            key_id=key_id,
            standings_sealed=key.seal(_encoder.encode(state), body_aad(key_id, STANDINGS_VERSION)),
            golden_sealed=key.seal(_encoder.encode(published(golden)), body_aad(key_id, GOLDEN_VERSION)),
            fields=tuple(golden),
        )


def published(golden: Mapping[str, Golden]) -> GoldenRecord:
    """The golden record as others see it: no value but the believed one."""
    return GoldenRecord(fields={name: _published_field(found) for name, found in golden.items()})


def _published_field(golden: Golden) -> GoldenField:
    claim = golden.claim
    return GoldenField(
        value=claim.value,
        submission_id=claim.submission_id,
        channel_id=claim.channel_id,
        trust=claim.trust,
        occurred_at=claim.occurred_at,
        alternatives=golden.alternatives,
    )

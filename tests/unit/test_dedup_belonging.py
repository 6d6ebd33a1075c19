"""Whose a record is that could not be resolved."""

from __future__ import annotations

import pytest

from services.dedup.domain.belonging import is_of
from services.dedup.domain.model import MatchingKey, Signature
from tests.dedup_world import RULES

PHONE, OTHER_PHONE, MEMBER = MatchingKey(b"p", "phone"), MatchingKey(b"q", "phone"), MatchingKey(b"m", "member_number")
ANNA, BERTA = b"anna", b"berta"


def signature(*keys: MatchingKey, name: bytes | None = None) -> Signature:
    return Signature(b"id", keys, name)


@pytest.mark.parametrize(
    ("record", "member", "shared", "belongs"),
    [
        pytest.param(signature(MEMBER, name=BERTA), signature(MEMBER, name=ANNA), [], True, id="a member number decides, whatever the name"),
        pytest.param(signature(PHONE, name=ANNA), signature(PHONE, name=ANNA), [b"p"], True, id="a shared phone with the same name"),
        pytest.param(signature(PHONE, name=BERTA), signature(PHONE, name=ANNA), [], False, id="a phone with another name"),
        pytest.param(signature(PHONE), signature(PHONE, name=ANNA), [], True, id="a phone alone that nobody else has"),
        pytest.param(signature(PHONE), signature(PHONE, name=ANNA), [b"p"], False, id="a phone alone that others have"),
        pytest.param(signature(OTHER_PHONE, name=ANNA), signature(PHONE, name=ANNA), [], False, id="a name alone"),
        pytest.param(signature(name=ANNA), signature(MEMBER, name=ANNA), [], False, id="nothing to go by"),
    ],
)
def test_a_record_belongs_to_whom_its_identifiers_name(record: Signature, member: Signature, shared: list[bytes], belongs: bool) -> None:
    assert is_of(record, [member], shared, RULES) is belongs

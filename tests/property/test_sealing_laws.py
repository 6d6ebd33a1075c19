from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.sealing import BlindIndex, DataKey, MemoryKeyProvider, SealBroken, body_aad, canonical_json, submission_id
from shared.sealing.slots import SLOTS, contiguous

PROVIDER = MemoryKeyProvider()
INDEX = BlindIndex(PROVIDER)
KEY = DataKey(bytes(range(32)))
TEXTS = st.text(max_size=20)


@given(plain=st.binary(max_size=2_000), key_id=st.uuids(), version=st.integers(0, 65_535))
def test_unsealing_undoes_sealing(plain: bytes, key_id: UUID, version: int) -> None:
    assert KEY.unseal(KEY.seal(plain, body_aad(key_id, version)), body_aad(key_id, version)) == plain


@given(plain=st.binary(max_size=100), at=st.integers(0), bit=st.integers(0, 7))
def test_any_flipped_bit_breaks_the_seal(plain: bytes, at: int, bit: int) -> None:
    sealed = bytearray(KEY.seal(plain, b"aad"))
    sealed[at % len(sealed)] ^= 1 << bit
    with pytest.raises(SealBroken):
        KEY.unseal(bytes(sealed), b"aad")


@given(first=st.tuples(st.uuids(), st.integers(0, 65_535)), second=st.tuples(st.uuids(), st.integers(0, 65_535)))
def test_different_places_have_different_associated_data(first: tuple[UUID, int], second: tuple[UUID, int]) -> None:
    assert (body_aad(*first) == body_aad(*second)) == (first == second)


@given(first=st.tuples(TEXTS, TEXTS, TEXTS), second=st.tuples(TEXTS, TEXTS, TEXTS))
def test_tokens_are_equal_exactly_when_type_value_and_namespace_are(first: tuple[str, str, str], second: tuple[str, str, str]) -> None:
    assert (INDEX.token(*first) == INDEX.token(*second)) == (first == second)


@given(first=st.tuples(TEXTS, TEXTS.filter(bool)), second=st.tuples(TEXTS, TEXTS.filter(bool)))
def test_submission_ids_are_equal_exactly_when_channel_and_message_are(first: tuple[str, str], second: tuple[str, str]) -> None:
    assert (submission_id(PROVIDER, *first) == submission_id(PROVIDER, *second)) == (first == second)


@given(slots=st.sets(st.integers(0, SLOTS - 1)))
def test_ranges_cover_exactly_the_slots(slots: set[int]) -> None:
    assert {slot for first, last in contiguous(slots) for slot in range(first, last + 1)} == slots


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="ascii"), max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(value=JSON)
def test_the_canonical_form_of_a_read_certificate_is_the_one_that_was_signed(value: object) -> None:
    import json

    written = canonical_json(value)  # type: ignore[arg-type]
    assert canonical_json(json.loads(written)) == written

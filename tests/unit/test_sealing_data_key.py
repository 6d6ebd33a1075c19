from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from shared.sealing import DataKey, SealBroken, body_aad
from shared.sealing.data_key import OVERHEAD_BYTES

KEY = DataKey(bytes(range(32)))
ID = UUID("5f0c0de5-0000-8000-8000-000000000001")


def test_what_was_sealed_comes_back() -> None:
    sealed = KEY.seal("张伟".encode(), body_aad(ID, 1))
    assert len(sealed) == len("张伟".encode()) + OVERHEAD_BYTES
    assert KEY.unseal(sealed, body_aad(ID, 1)).decode() == "张伟"


def test_the_same_text_never_seals_to_the_same_bytes() -> None:
    assert KEY.seal(b"same", b"") != KEY.seal(b"same", b"")


def test_a_body_cannot_be_passed_off_as_that_of_another_id() -> None:
    sealed = KEY.seal(b"body", body_aad(ID, 1))
    with pytest.raises(SealBroken):
        KEY.unseal(sealed, body_aad(uuid4(), 1))


def test_a_body_cannot_be_passed_off_as_another_schema_version() -> None:
    sealed = KEY.seal(b"body", body_aad(ID, 1))
    with pytest.raises(SealBroken):
        KEY.unseal(sealed, body_aad(ID, 2))


def test_another_key_opens_nothing() -> None:
    sealed = KEY.seal(b"body", b"")
    with pytest.raises(SealBroken):
        DataKey(bytes(32)).unseal(sealed, b"")


@pytest.mark.parametrize("length", [0, 1, OVERHEAD_BYTES - 1, OVERHEAD_BYTES])
def test_bytes_too_short_to_be_sealed_are_refused(length: int) -> None:
    with pytest.raises(SealBroken):
        KEY.unseal(bytes(length), b"")


def test_a_key_shows_its_bytes_to_nobody() -> None:
    assert bytes(range(32)).hex() not in repr(KEY)
    assert not hasattr(KEY, "__dict__")

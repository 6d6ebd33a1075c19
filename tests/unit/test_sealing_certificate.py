from __future__ import annotations

from typing import Any

import pytest

from shared.sealing import MemoryKeyProvider, canonical_json, public_key_pem, verify

PROVIDER = MemoryKeyProvider()
CERTIFICATE = {"request": "r-1", "counts": {"profile": 3}, "pending": [], "by": "张"}


def test_a_signed_certificate_verifies_with_the_public_key_alone() -> None:
    message = canonical_json(CERTIFICATE)
    assert verify(message, PROVIDER.sign(message), PROVIDER.public_key)
    assert public_key_pem(PROVIDER.public_key).startswith("-----BEGIN PUBLIC KEY-----")


def test_changing_any_byte_of_the_certificate_is_noticed() -> None:
    message = canonical_json(CERTIFICATE)
    signature = PROVIDER.sign(message)
    for at in range(len(message)):
        changed = message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :]
        assert not verify(changed, signature, PROVIDER.public_key)


@pytest.mark.parametrize("signature", [b"", b"short", bytes(64), bytes(65)])
def test_a_forged_signature_is_no_error_but_a_no(signature: bytes) -> None:
    assert not verify(b"message", signature, PROVIDER.public_key)


def test_a_key_that_is_none_verifies_nothing() -> None:
    assert not verify(b"message", PROVIDER.sign(b"message"), b"no key")


def test_the_order_of_members_does_not_matter() -> None:
    assert canonical_json({"b": 1, "a": [True, None]}) == canonical_json({"a": [True, None], "b": 1}) == b'{"a":[true,null],"b":1}'


@pytest.mark.parametrize("value", [1.5, float("nan"), 2**53, {"名": 1}, {1: 1}, {"a": b"x"}, {"a": [object()]}])
def test_what_has_no_single_form_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"canonical|ASCII|2\^53"):
        canonical_json(value)

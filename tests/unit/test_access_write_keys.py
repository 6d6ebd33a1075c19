from __future__ import annotations

import hashlib

import pytest

from shared.access import hash_write_key, is_write_key, new_write_key


def test_a_write_key_carries_256_random_bits_behind_its_prefix() -> None:
    shown, _ = new_write_key()
    assert shown.startswith("kehu_wk_")
    assert len(shown) == len("kehu_wk_") + 43
    assert is_write_key(shown)


def test_only_the_hash_is_stored() -> None:
    shown, stored = new_write_key()
    assert stored == hash_write_key(shown) == hashlib.sha256(shown.encode()).digest()
    assert shown.encode() not in stored


def test_no_two_write_keys_are_alike() -> None:
    assert len({new_write_key()[0] for _ in range(1_000)}) == 1_000


@pytest.mark.parametrize(
    "text", ["", "kehu_wk_", "kehu_wk_short", "wk_" + "a" * 48, "KEHU_WK_" + "a" * 43, "kehu_wk_" + "a" * 44, "eyJhbGciOiJFZERTQSJ9.e30.x"]
)
def test_other_credentials_are_not_taken_for_write_keys(text: str) -> None:
    assert not is_write_key(text)


def test_hostile_text_makes_no_error() -> None:
    assert len(hash_write_key("kehu_wk_\ud800")) == 32

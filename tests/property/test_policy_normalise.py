"""Laws of the canonical forms."""

from __future__ import annotations

import phonenumbers
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st

from shared.policy import InvalidValue, canonical
from shared.policy.email import email
from shared.policy.normalise import FIELD_TYPES


def library_verdict(text: str) -> str | None:
    try:
        number = phonenumbers.parse(text, "CN")
    except phonenumbers.NumberParseException:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) if phonenumbers.is_valid_number(number) else None


def our_verdict(field_type: str, text: str) -> str | None:
    try:
        return canonical(field_type, text)
    except InvalidValue:
        return None


@given(st.from_regex(r"(\+?86 ?)?1[0-9]{10}", fullmatch=True))
def test_the_short_way_for_chinese_mobiles_agrees_with_the_library(text: str) -> None:
    assert our_verdict("phone", text) == library_verdict(text)


@given(st.text(alphabet="0123456789+- ", min_size=5, max_size=16))
def test_any_number_gets_the_librarys_verdict(text: str) -> None:
    assert our_verdict("phone", text) == library_verdict(" ".join(text.split()))


@given(st.from_regex(r"[A-Za-z0-9._+-]{1,20}@([A-Za-z0-9-]{1,12}\.){1,3}[A-Za-z0-9]{1,8}", fullmatch=True))
def test_the_short_way_for_plain_addresses_agrees_with_the_library(text: str) -> None:
    try:
        expected = validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError:
        with pytest.raises(InvalidValue):
            email(text)
    else:
        assert email(text) == expected


@pytest.mark.parametrize("field_type", sorted(FIELD_TYPES))
@given(data=st.data())
def test_normalising_twice_equals_once(field_type: str, data: st.DataObject) -> None:
    samples = st.sampled_from(
        ["１３８００１３８０００", "A.b+c@Gmail.com", "ab+c+d@gmail.com", "1990/5/31", "rmb", "中国", "zh_cn", "ab 12", "oABC_-" * 5, " 张 三 "]
    )
    raw = data.draw(st.one_of(samples, st.text(max_size=30)))
    once = our_verdict(field_type, raw)
    assert once is None or our_verdict(field_type, once) == once

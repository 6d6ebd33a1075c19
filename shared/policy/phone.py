"""Phone numbers in E.164. A Chinese mobile is the default; every other country is judged by its own rule."""

from __future__ import annotations

import re
from functools import cache

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from shared.policy.invalid import InvalidValue
from shared.policy.text import folded

PHONE_CHARACTERS_MAX = 40
_CHINA = "+86"
_EXTENSION_WORDS = re.compile(r"\s*(?:转|轉|分机|分機)\s*")
_SEPARATORS = str.maketrans("", "", " -")
_REACHES_ONE_PERSON = frozenset({PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE, PhoneNumberType.PERSONAL_NUMBER})


@cache
def _chinese_mobile() -> re.Pattern[str]:
    """The library's own rule, so that the short way and the long way cannot disagree."""
    metadata = phonenumbers.PhoneMetadata.metadata_for_region("CN")
    if metadata is None or metadata.mobile is None or metadata.mobile.national_number_pattern is None:
        raise RuntimeError("phonenumbers knows no Chinese mobile numbers")
    return re.compile(metadata.mobile.national_number_pattern)


def phone(raw: str, country: str = "CN") -> str:
    """E.164 form.

    Args:
        raw: as written, full-width digits, spaces and prefixes included.
        country: ISO 3166 code that judges a number without a country prefix.

    Raises:
        InvalidValue: `phone_invalid`.
    """
    if len(raw) > PHONE_CHARACTERS_MAX:
        raise _refusal(country)
    text = folded(raw)
    return _short_way(text, country) or _long_way(text, country)


def reaches_one_person(e164: str) -> bool:
    """Whether the number is of a kind that one person carries: mobile, or not told apart from mobile in its country."""
    if e164.startswith(_CHINA):
        return _chinese_mobile().fullmatch(e164[3:]) is not None
    return phonenumbers.number_type(phonenumbers.parse(e164)) in _REACHES_ONE_PERSON


def _short_way(text: str, country: str) -> str | None:
    """Nearly every number here is a plain Chinese mobile; the library takes 40 microseconds to say so."""
    bare = text.translate(_SEPARATORS)
    national = bare[3:] if bare.startswith(_CHINA) else bare if country == "CN" else ""
    if len(national) == 11 and national.isascii() and _chinese_mobile().fullmatch(national):
        return _CHINA + national
    return None


def _long_way(text: str, country: str) -> str:
    try:
        number = phonenumbers.parse(_EXTENSION_WORDS.sub(" ext. ", text), country)
    except phonenumbers.NumberParseException:
        raise _refusal(country) from None
    if not phonenumbers.is_valid_number(number):
        raise _refusal(country)
    # An extension names a desk behind a switchboard; it is not part of E.164 and stays in the raw value.
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def _refusal(country: str) -> InvalidValue:
    if country == "CN":
        return InvalidValue(
            "phone_invalid",
            "Not a valid phone number: a Chinese mobile has 11 digits; write other numbers with area code or with + and country code.",
            "电话号码无效：中国手机号码应为 11 位数字；其他号码请填写区号，或以 + 和国家代码开头。",
        )
    return InvalidValue(
        "phone_invalid",
        f"Not a valid phone number in {country}; or write it with + and country code.",
        f"该号码在 {country} 无效；也可以 + 和国家代码开头填写。",
    )

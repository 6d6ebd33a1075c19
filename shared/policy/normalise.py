"""The canonical form of a value by its type. Normalising twice equals once.

`canonical` is the one door that intake (values), dedup and profile (look-ups) go through, so two spellings of one value meet.
"""

from __future__ import annotations

from collections.abc import Callable

import phonenumbers

from shared.policy import dates, text
from shared.policy.currency import currency
from shared.policy.email import email, email_match
from shared.policy.invalid import InvalidValue
from shared.policy.phone import phone

__all__ = ["FIELD_TYPES", "InvalidValue", "canonical"]

_COUNTRY_ALIASES = {"CHN": "CN", "CHINA": "CN", "中国": "CN", "中國": "CN", "UK": "GB"}


def country_code(raw: str) -> str:
    """ISO 3166-1 alpha-2 code.

    Raises:
        InvalidValue: `country_invalid`.
    """
    value = text.folded(raw).upper()
    value = _COUNTRY_ALIASES.get(value, value)
    if value not in phonenumbers.SUPPORTED_REGIONS:
        raise InvalidValue("country_invalid", "Not a country code such as CN or DE.", "国家代码无效，应如 CN 或 DE。")
    return value


_FORMS: dict[str, Callable[[str], str]] = {
    "text": text.line,
    "free_text": text.free_text,
    "name": text.name,
    "email": email,
    "email_match": email_match,
    "date": dates.day,
    "birth_date": dates.birth_date,
    "currency": currency,
    "country": country_code,
    "language": text.language,
    "postcode": text.postcode,
    "code": text.code,
    "product_code": text.product_code,
    "member_number": text.member_number,
    "external_id": text.external_id,
    "wechat_id": text.wechat_id,
}

FIELD_TYPES = frozenset(_FORMS) | {"phone"}


def canonical(field_type: str, raw: str, country: str = "CN") -> str:
    """The canonical form of `raw`.

    Args:
        field_type: one of `FIELD_TYPES`; `email` is the kept form, `email_match` the form that identifies.
        country: judges what is written without a country of its own (phones).

    Raises:
        InvalidValue: with a stable code and a text for people.
        KeyError: no such type; the catalogue is checked for this at start.
    """
    if field_type == "phone":
        return phone(raw, country)
    return _FORMS[field_type](raw)

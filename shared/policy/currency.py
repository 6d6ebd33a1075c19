"""Currencies by ISO 4217 and their smallest units."""

from __future__ import annotations

from shared.policy.invalid import InvalidValue
from shared.policy.text import folded

_TWO_DIGITS = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD "
    "EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL "
    "MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP "
    "SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD YER ZAR ZMW ZWG"
)
_NO_DIGITS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THREE_DIGITS = "BHD IQD JOD KWD LYD OMR TND"

MINOR_DIGITS: dict[str, int] = dict.fromkeys(_TWO_DIGITS.split(), 2) | dict.fromkeys(_NO_DIGITS.split(), 0) | dict.fromkeys(_THREE_DIGITS.split(), 3)
"""Decimal places of each currency's smallest unit: CNY 2 (fen), JPY 0, KWD 3."""

_ALIASES = {"RMB": "CNY", "¥": "CNY", "元": "CNY", "人民币": "CNY", "$": "USD", "€": "EUR", "£": "GBP"}


def currency(raw: str) -> str:
    """ISO 4217 code in upper case.

    Raises:
        InvalidValue: `currency_invalid`.
    """
    value = folded(raw).upper()
    value = _ALIASES.get(value, value)
    if value not in MINOR_DIGITS:
        raise InvalidValue("currency_invalid", "Not a currency code such as CNY or EUR.", "货币代码无效，应如 CNY 或 EUR。")
    return value

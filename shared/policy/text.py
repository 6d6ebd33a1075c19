"""Canonical forms of texts: names, free text, codes and choices."""

from __future__ import annotations

import re
import unicodedata

from shared.policy.invalid import InvalidValue

NAME_CHARACTERS_MAX = 100
LINE_CHARACTERS_MAX = 500
FREE_TEXT_CHARACTERS_MAX = 10_000
EXTERNAL_ID_CHARACTERS_MAX = 128
PRODUCT_CODE_CHARACTERS_MAX = 200

# Control characters (tab and line ends apart), lone surrogates and noncharacters have no place in a value;
# direction overrides let a text show as something else than it is.
_REFUSED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]")
# Characters without width hide differences between values that look alike.
_ZERO_WIDTH = re.compile("[\u200b-\u200d\u2060\ufeff\u00ad]")
_MEMBER_NUMBER = re.compile(r"[A-Z0-9][A-Z0-9._/-]{0,63}")
_CODE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
# A mailbox; a Chinese mobile as people write it; a number of any country with its prefix. Longer runs of digits are article numbers.
_PERSONAL = re.compile(r"@|(?<![0-9])1[3-9][0-9][ -]?[0-9]{4}[ -]?[0-9]{4}(?![0-9])|\+[0-9](?:[ -]?[0-9]){7}")
_POSTCODE = re.compile(r"[A-Z0-9](?:[A-Z0-9 -]{0,10}[A-Z0-9])?")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}")
# WeChat documents 28 characters for openid and unionid; other lengths were seen with older accounts.
_WECHAT_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")


def folded(raw: str) -> str:
    """NFKC without zero-width characters, one space between words, none at the ends.

    Raises:
        InvalidValue: `text_invalid`: control characters, lone surrogates or direction overrides.
    """
    if raw.isascii() and raw.isalnum():
        return raw
    if _REFUSED.search(raw):
        raise InvalidValue("text_invalid", "The text holds characters that cannot be shown.", "文本包含无法显示的字符。")
    return " ".join(_ZERO_WIDTH.sub("", unicodedata.normalize("NFKC", raw)).split())


def line(raw: str, characters_max: int = LINE_CHARACTERS_MAX) -> str:
    """One line of text, 1 to `characters_max` characters. Idempotent."""
    return _within(folded(raw), characters_max)


def name(raw: str) -> str:
    """A name of a person, company or place; case is kept."""
    value = line(raw, NAME_CHARACTERS_MAX)
    if not any(character.isalpha() for character in value):
        raise InvalidValue("name_invalid", "A name needs at least one letter.", "姓名至少需要一个文字。")
    return value


def free_text(raw: str) -> str:
    """Several lines: NFC only, since full-width punctuation is right in running Chinese text."""
    if _REFUSED.search(raw):
        raise InvalidValue("text_invalid", "The text holds characters that cannot be shown.", "文本包含无法显示的字符。")
    lines = unicodedata.normalize("NFC", raw).replace("\r\n", "\n").replace("\r", "\n").strip()
    return _within(lines, FREE_TEXT_CHARACTERS_MAX)


def external_id(raw: str) -> str:
    """Another system's id: case and inner form are its own business."""
    return line(raw, EXTERNAL_ID_CHARACTERS_MAX)


def member_number(raw: str) -> str:
    """Upper case, without spaces."""
    return _matching(_MEMBER_NUMBER, folded(raw).replace(" ", "").upper(), "member_number", "member number", "会员号")


def code(raw: str) -> str:
    """A lower-case code word, words joined by `-`, `_` or `.`."""
    return _matching(_CODE, folded(raw).lower().replace(" ", "-"), "code", "code", "代码")


def product_code(raw: str) -> str:
    """A code of goods; case is kept. It stands in clear, so it may hold nobody's phone number or mailbox."""
    value = line(raw, PRODUCT_CODE_CHARACTERS_MAX)
    if _PERSONAL.search(value):
        raise InvalidValue(
            "code_is_personal",
            "A product code stands in clear: no phone number, no mailbox.",
            "产品代码以明文保存：不得含电话号码或电子邮箱。",
        )
    return value


def postcode(raw: str) -> str:
    """Upper case; the form is left to the country."""
    return _matching(_POSTCODE, folded(raw).upper(), "postcode", "postcode", "邮政编码")


def language(raw: str) -> str:
    """A BCP 47 tag such as `zh-CN`; the primary subtag in lower case."""
    primary, separator, rest = folded(raw).replace("_", "-").partition("-")
    return _matching(_LANGUAGE, primary.lower() + separator + rest, "language", "language tag", "语言代码")


def wechat_id(raw: str) -> str:
    """An openid or unionid; case matters."""
    return _matching(_WECHAT_ID, folded(raw), "wechat_id", "WeChat id", "微信标识")


def _within(value: str, characters_max: int) -> str:
    if not value:
        raise InvalidValue("value_empty", "The value is empty.", "值为空。")
    if len(value) > characters_max:
        raise InvalidValue("value_too_long", f"At most {characters_max} characters.", f"最多 {characters_max} 个字符。")
    return value


def _matching(pattern: re.Pattern[str], value: str, code_stem: str, en: str, zh: str) -> str:
    if not pattern.fullmatch(value):
        raise InvalidValue(f"{code_stem}_invalid", f"This is not a valid {en}.", f"{zh}格式不正确。")
    return value

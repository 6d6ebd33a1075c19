"""E-mail addresses: the form that is kept and the form by which two addresses are one."""

from __future__ import annotations

import re

from email_validator import EmailNotValidError, validate_email

from shared.policy.invalid import InvalidValue
from shared.policy.text import folded

EMAIL_CHARACTERS_MAX = 254
# Providers that deliver `name+anything@` to `name@`; elsewhere a plus sign is part of the name.
_PLUS_TAG_DOMAINS = frozenset(
    {"gmail.com", "googlemail.com", "outlook.com", "hotmail.com", "live.com", "icloud.com", "me.com", "fastmail.com", "proton.me", "protonmail.com"}
)
_DOTLESS_DOMAINS = frozenset({"gmail.com", "googlemail.com"})
# The plain addresses that nearly everybody has; whatever else is allowed takes the validator's way of 85 microseconds.
_PLAIN = re.compile(
    r"(?=[^@]{1,64}@)[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@(?:(?!..--)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+(?!test\Z|local\Z|onion\Z|arpa\Z|invalid\Z|localhost\Z)[A-Za-z]{2,63}",
    re.IGNORECASE,
)


def email(raw: str) -> str:
    """The form that is kept: as written, the domain in lower case.

    Raises:
        InvalidValue: `email_invalid`.
    """
    text = folded(raw) if len(raw) <= EMAIL_CHARACTERS_MAX * 2 else ""
    if len(text) <= EMAIL_CHARACTERS_MAX and _PLAIN.fullmatch(text):
        local, _, domain = text.partition("@")
        return f"{local}@{domain.lower()}"
    try:
        return validate_email(text, check_deliverability=False).normalized
    except (EmailNotValidError, UnicodeError):
        raise InvalidValue(
            "email_invalid", "Not a valid e-mail address, which looks like name@example.com.", "电子邮箱无效，正确格式如 name@example.com。"
        ) from None


def email_match(raw: str) -> str:
    """The form by which addresses are compared: lower case, without what the provider ignores. Idempotent.

    Raises:
        InvalidValue: `email_invalid`.
    """
    local, _, domain = email(raw).lower().rpartition("@")
    if domain in _PLUS_TAG_DOMAINS:
        local = local.partition("+")[0] or local
    if domain in _DOTLESS_DOMAINS:
        local, domain = local.replace(".", ""), "gmail.com"
    return f"{local}@{domain}"

"""The refusal of a value, in both languages, without the value."""

from __future__ import annotations


class InvalidValue(ValueError):
    """A value does not fit its type. Carries a stable code and a text for people; never the value itself.

    Attributes:
        code: stable machine-readable reason, e.g. `phone_invalid`.
        message_en, message_zh: what is wrong and what would be right.
    """

    def __init__(self, code: str, message_en: str, message_zh: str) -> None:
        super().__init__(code)
        self.code = code
        self.message_en = message_en
        self.message_zh = message_zh

"""What the catalogue asks of a submission, as plain look-ups; the composition root makes them from the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

FieldValue = str | int | float | bool


class ValueRefused(ValueError):
    """The catalogue does not accept the value.

    Attributes:
        code: stable reason, for instance `phone_invalid`.
        en, zh: why, without the value.
    """

    def __init__(self, code: str, en: str, zh: str) -> None:
        super().__init__(code)
        self.code, self.en, self.zh = code, en, zh


@dataclass(frozen=True, slots=True)
class FieldRule:
    """How one field is read.

    Attributes:
        canonical: value as sent and country to the one form it is kept in; idempotent; raises ValueRefused.
        identifier: the identifier type that the field's value also is, or empty.
    """

    canonical: Callable[[object, str], FieldValue]
    identifier: str = ""


@dataclass(frozen=True, slots=True)
class IdentifierRule:
    """How one type of identifier is read.

    Attributes:
        canonical: value as sent and country to the form by which values are compared; idempotent; raises ValueRefused.
        namespaced: the value means something only together with a namespace.
    """

    canonical: Callable[[str, str], str]
    namespaced: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """The catalogue as the door needs it.

    Attributes:
        fields: by field name, those that may be sent.
        off: fields that are known but switched off until a purpose is bound to them.
        is_forbidden: whether a name, in any spelling, is private life, which is refused and never stored.
        identifiers: by type.
        notices: purpose to the versions of its notice.
        any_of: kind of submission to members of which at least one must be there.
        country, currency, product_code: canonical forms of codes; raise ValueRefused.
        default_country: judges phones without a country of their own.
    """

    fields: Mapping[str, FieldRule]
    off: frozenset[str]
    is_forbidden: Callable[[str], bool]
    identifiers: Mapping[str, IdentifierRule]
    notices: Mapping[str, frozenset[str]]
    any_of: Mapping[str, tuple[str, ...]]
    country: Callable[[str], str]
    currency: Callable[[str], str]
    product_code: Callable[[str], str]
    default_country: str = "CN"

"""The catalogue, as the door's rules."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import ParamSpec, TypeVar

from services.intake.domain.rules import FieldRule, IdentifierRule, Rules, ValueRefused
from shared.policy import Catalogue, InvalidValue, canonical
from shared.policy.declarations import Field

P = ParamSpec("P")
T = TypeVar("T")

_REMEMBERED_NAMES = 4_096
"""Senders use few names; bounded, since a hostile one uses many."""


def rules_of(catalogue: Catalogue) -> Rules:
    """The rules that this catalogue declares."""
    return Rules(
        fields={name: _field_rule(field) for name, field in catalogue.fields.items() if field.enabled},
        off=frozenset(name for name, field in catalogue.fields.items() if not field.enabled),
        is_forbidden=lru_cache(_REMEMBERED_NAMES)(lambda name: catalogue.forbidden_name(name) is not None),
        identifiers={
            name: IdentifierRule(_refusing(partial(canonical, declared.type)), declared.namespaced)
            for name, declared in catalogue.identifiers.items()
        },
        notices={name: frozenset(purpose.notices) for name, purpose in catalogue.purposes.items()},
        any_of={name: kind.any_of for name, kind in catalogue.kinds.items() if kind.any_of},
        country=_refusing(partial(canonical, "country")),
        currency=_refusing(partial(canonical, catalogue.order_facets["currency"].type)),
        product_code=_refusing(partial(canonical, catalogue.order_facets["product_code"].type)),
    )


def _field_rule(field: Field) -> FieldRule:
    return FieldRule(_refusing(field.canonical), field.identifier or "")


def _refusing(read: Callable[P, T]) -> Callable[P, T]:
    """The same with the door's own error."""

    def reading(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except InvalidValue as invalid:
            raise ValueRefused(invalid.code, invalid.message_en, invalid.message_zh) from None

    return reading

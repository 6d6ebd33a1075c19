"""The catalogue: every field, purpose, identifier and kind of submission, read from `catalogue.yaml` and checked at start."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Literal

import yaml
from pydantic import ValidationError, field_validator, model_validator

from shared.policy.declarations import Field, Frozen, IdentifierType, Kind, OrderFacet, Purpose, Visibility, folded_name
from shared.policy.phone import reaches_one_person

CATALOGUE_FILE = Path(__file__).with_name("catalogue.yaml")

Verdict = Literal["accepted", "off", "forbidden", "unknown"]


class CatalogueError(ValueError):
    """The catalogue contradicts itself or cannot be read; the text names each place."""


class Catalogue(Frozen):
    """What may be collected and what for.

    Attributes:
        version: raised with every change of meaning.
        masking: masking class -> role -> how much of the value the role sees; a role left out sees nothing.
        forbidden: private-life fields, by name, with the other names they go by; refused and counted, never stored.
        order_facets: what of an order line stands in clear, by member; the rest of a submission is sealed.
        role_mailboxes: local parts of mailboxes that no single person owns.
        disposable_domains: mail domains of throw-away addresses.
        placeholder_phone_endings: last digits of numbers typed to get past a form.
        placeholder_ids: what systems write where they have no id; compared without case, spaces and marks. Zeros alone are one too.
    """

    version: int
    fields: dict[str, Field]
    forbidden: dict[str, tuple[str, ...]]
    purposes: dict[str, Purpose]
    identifiers: dict[str, IdentifierType]
    kinds: dict[str, Kind]
    order_facets: dict[str, OrderFacet]
    masking: dict[str, dict[str, Visibility]]
    role_mailboxes: frozenset[str]
    disposable_domains: frozenset[str]
    placeholder_phone_endings: tuple[str, ...]
    placeholder_ids: frozenset[str]

    @field_validator("placeholder_ids")
    @classmethod
    def _folded(cls, words: frozenset[str]) -> frozenset[str]:
        return frozenset(map(folded_name, words))

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Catalogue:
        problems = [*self._field_problems(), *self._identifier_problems(), *self._kind_problems()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _field_problems(self) -> Iterable[str]:
        for name, field in self.fields.items():
            if folded_name(name) in self._forbidden_names:
                yield f"fields.{name}: this name is forbidden"
            if field.enabled and not field.purposes:
                yield f"fields.{name}: a field that is on needs a purpose"
            for purpose in field.purposes:
                if purpose not in self.purposes:
                    yield f"fields.{name}: no such purpose {purpose!r}"
            if field.masking not in self.masking:
                yield f"fields.{name}: no such masking class {field.masking!r}"
            if field.identifier is not None and field.identifier not in self.identifiers:
                yield f"fields.{name}: no such identifier {field.identifier!r}"

    def _identifier_problems(self) -> Iterable[str]:
        for name, identifier in self.identifiers.items():
            if identifier.masking not in self.masking:
                yield f"identifiers.{name}: no such masking class {identifier.masking!r}"

    def _kind_problems(self) -> Iterable[str]:
        for name, kind in self.kinds.items():
            if kind.purpose not in self.purposes:
                yield f"kinds.{name}: no such purpose {kind.purpose!r}"

    @cached_property
    def _forbidden_names(self) -> dict[str, str]:
        names = {folded_name(alias): name for name, aliases in self.forbidden.items() for alias in aliases}
        return names | {folded_name(name): name for name in self.forbidden}

    def forbidden_name(self, name: str) -> str | None:
        """The forbidden field that `name` is another spelling of (`maritalStatus`, `婚姻状况`), or None."""
        return self._forbidden_names.get(folded_name(name))

    def verdict(self, name: str) -> Verdict:
        """What to do with a field of this name."""
        field = self.fields.get(name)
        if field is not None:
            return "accepted" if field.enabled else "off"
        return "forbidden" if self.forbidden_name(name) else "unknown"

    def notice_is_known(self, purpose: str, version: str) -> bool:
        """Whether people were ever shown this wording of this purpose."""
        return purpose in self.purposes and version in self.purposes[purpose].notices

    def is_deterministic(self, identifier_type: str, value: str) -> bool:
        """Whether this canonical value may by itself say who somebody is; shared and made-up values may not."""
        declared = self.identifiers.get(identifier_type)
        if declared is None or not declared.deterministic:
            return False
        if identifier_type == "email":
            return not self._names_nobody(value)
        if identifier_type == "phone":
            return not value.endswith(self.placeholder_phone_endings) and reaches_one_person(value)
        return not self._is_placeholder(value)

    def _is_placeholder(self, value: str) -> bool:
        folded = folded_name(value)
        return not folded.strip("0") or folded in self.placeholder_ids

    def _names_nobody(self, email: str) -> bool:
        local, _, domain = email.lower().rpartition("@")
        return local in self.role_mailboxes or domain in self.disposable_domains

    def visibility(self, masking: str, roles: Iterable[str]) -> Visibility:
        """The most that any of `roles` may see of a value of this masking class."""
        by_role = self.masking.get(masking, {})
        seen = {by_role.get(role, "hidden") for role in roles}
        return "clear" if "clear" in seen else "partial" if "partial" in seen else "hidden"


def load_catalogue(path: Path = CATALOGUE_FILE) -> Catalogue:
    """The catalogue, checked.

    Raises:
        CatalogueError: naming every place that is wrong.
    """
    try:
        return Catalogue.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise CatalogueError(f"{path.name} cannot be read: {error}") from error
    except ValidationError as error:
        places = [f"{'.'.join(map(str, problem['loc'])) or 'catalogue'}: {problem['msg']}" for problem in error.errors()]
        raise CatalogueError(f"{path.name}: " + "\n".join(places)) from error

"""The parts of the catalogue."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic import Field as Member

from shared.policy.invalid import InvalidValue
from shared.policy.normalise import FIELD_TYPES, canonical

Visibility = Literal["clear", "partial", "hidden"]
DataClass = Literal["identifier", "contact", "attribute", "sensitive"]
Survivorship = Literal["most_trusted", "most_recent", "most_complete"]
LawfulBasis = Literal["consent", "contract", "legal_obligation", "legitimate_interest"]
TrustClass = Literal["exclusive_id", "account", "mobile", "email", "device"]
BodyMember = Literal["identifiers", "fields", "consents", "order_id", "order_lines", "contact", "feedback", "behaviour"]

_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NOT_WORD = re.compile(r"[\W_]+")


def folded_name(name: str) -> str:
    """A field name without case and word marks: `maritalStatus`, `Marital-Status` and `marital_status` are one."""
    return _NOT_WORD.sub("", _WORD_STARTS.sub("_", unicodedata.normalize("NFKC", name))).casefold()


class Frozen(BaseModel):
    """An unchanging declaration; an unknown member is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Field(Frozen):
    """One field of a person.

    Attributes:
        type: a type of `shared.policy.normalise`, or `integer` or `boolean`.
        data_class: how delicate it is; written `class` in the file.
        enabled: off means known and allowed in principle, but refused until a purpose is bound to it.
        facet: not personal by itself, so it may stand in clear.
        survivorship: which of several values is believed.
        identifier: the identifier type that a value of this field also is.
        choices: the only values, if there are any.
    """

    type: str
    data_class: DataClass = Member(alias="class")
    label_en: str
    label_zh: str
    enabled: bool = True
    facet: bool = False
    survivorship: Survivorship = "most_recent"
    purposes: tuple[str, ...] = ()
    masking: str
    identifier: str | None = None
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    retention_days: int | None = None

    @model_validator(mode="after")
    def _type_exists(self) -> Field:
        if self.type not in FIELD_TYPES | {"integer", "boolean"}:
            raise ValueError(f"no such type {self.type!r}")
        return self

    def canonical(self, raw: object, country: str = "CN") -> str | int | bool:
        """The canonical value.

        Raises:
            InvalidValue: the value does not fit; numbers are also taken as text.
        """
        if self.type == "boolean":
            return _boolean(raw)
        if self.type == "integer":
            return self._integer(raw)
        if not isinstance(raw, str):
            raise InvalidValue("type_invalid", "A text is needed here.", "此处需要文本。")
        return self._chosen(canonical(self.type, raw, country))

    def _chosen(self, value: str) -> str:
        if self.choices and value not in self.choices:
            raise InvalidValue("choice_invalid", f"One of: {', '.join(self.choices)}.", f"只能是：{'、'.join(self.choices)}。")
        return value

    def _integer(self, raw: object) -> int:
        text = raw.strip() if isinstance(raw, str) else str(raw)
        if isinstance(raw, bool) or not re.fullmatch(r"-?\d{1,15}", text, re.ASCII):
            raise InvalidValue("integer_invalid", "A whole number is needed here.", "此处需要整数。")
        value = int(text)
        if (self.minimum is not None and value < self.minimum) or (self.maximum is not None and value > self.maximum):
            raise InvalidValue("out_of_range", f"From {self.minimum} to {self.maximum}.", f"范围为 {self.minimum} 到 {self.maximum}。")
        return value


def _boolean(raw: object) -> bool:
    known = {"true": True, "yes": True, "1": True, "是": True, "false": False, "no": False, "0": False, "否": False}
    value = known.get(str(raw).strip().casefold())
    if value is None:
        raise InvalidValue("boolean_invalid", "Yes or no is needed here.", "此处需要“是”或“否”。")
    return value


class OrderFacet(Frozen):
    """One member of an order line that stands in clear, in events and figures.

    Attributes:
        type: a type of `shared.policy.normalise`, or `integer` (pieces) or `amount` (money); it refuses what may be personal.
        facet: always true; written out so that nothing stands in clear that the file does not say so of.
    """

    type: str
    label_en: str
    label_zh: str
    facet: Literal[True]

    @model_validator(mode="after")
    def _type_exists(self) -> OrderFacet:
        if self.type not in FIELD_TYPES | {"integer", "amount"}:
            raise ValueError(f"no such type {self.type!r}")
        return self


class Notice(Frozen):
    """The wording that people are shown before they give data for a purpose."""

    en: str
    zh: str


class Purpose(Frozen):
    """Why data is used, on which legal ground, under which wordings.

    Attributes:
        notices: by version; the last one is in force.
        topic: whether the purpose has a topic of its own, `profile.changes.<purpose>.v1`.
    """

    basis: LawfulBasis
    label_en: str
    label_zh: str
    notices: dict[str, Notice] = Member(min_length=1)
    topic: bool = False

    @property
    def current_notice(self) -> str:
        """Version of the notice in force."""
        return next(reversed(self.notices))


class IdentifierType(Frozen):
    """A kind of value that names a person.

    Attributes:
        type: how a value is normalised.
        exclusive: belongs to one person for good: two different values in one namespace are two people, so both limits are 1.
        deterministic: may by itself decide who somebody is.
        customers_per_value_max: beyond it the value is generic and decides nothing.
        holders_per_value_max: of a value that has one customer: claimed by more differently named people than this it was made up, and
            decides nothing either.
        values_per_customer_max: beyond it the customer is suspect and takes no more of this type.
        namespaced: the value means something only within its namespace (another system, an appid).
        trust_rank: 1 is the strongest; breaks ties between identifiers.
    """

    type: str
    label_en: str
    label_zh: str
    trust: TrustClass
    trust_rank: int = Member(ge=1)
    exclusive: bool = False
    deterministic: bool = True
    namespaced: bool = False
    customers_per_value_max: int = Member(ge=1)
    holders_per_value_max: int = Member(50, ge=2)
    values_per_customer_max: int = Member(ge=1)
    masking: str

    @model_validator(mode="after")
    def _type_exists(self) -> IdentifierType:
        if self.type not in FIELD_TYPES:
            raise ValueError(f"no such type {self.type!r}")
        return self

    @model_validator(mode="after")
    def _limits_agree(self) -> IdentifierType:
        if self.exclusive and (self.customers_per_value_max, self.values_per_customer_max) != (1, 1):
            raise ValueError("an exclusive identifier has one customer per value and one value per customer")
        return self


class Kind(Frozen):
    """A kind of submission.

    Attributes:
        required: members that must be there.
        any_of: of these at least one must be there; empty: no such demand.
        purpose: what makes it lawful to keep.
    """

    label_en: str
    label_zh: str
    required: tuple[BodyMember, ...] = ()
    any_of: tuple[BodyMember, ...] = ()
    purpose: str

"""A customer's document: its state, its membership epoch and what is published about it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from uuid import UUID

from services.profile.domain.portrait import Tally


class CustomerState(StrEnum):
    """Whether the id names a living customer, resolves to another one, or was forgotten for good."""

    ACTIVE = "active"
    ALIAS = "alias"
    ERASED = "erased"


@dataclass(frozen=True, slots=True)
class Customer:
    """The stored state of one customer id.

    Attributes:
        version: rises with every published state, through alias and erasure.
        decided: number of the merge or split that last made it an alias or active again.
        epoch: membership epoch; 0 while no entity key was ever needed.
        key_id: entity key of this epoch; None if nothing is sealed.
        standings_sealed: the fold state of the fields, sealed under the entity key.
        golden_sealed: the golden record, sealed under the entity key, exactly as it is published.
        fields: names of the golden fields.
        tokens: what the customer can be looked up by.
    """

    customer_id: UUID
    version: int = 0
    state: CustomerState = CustomerState.ACTIVE
    alias_of: UUID | None = None
    decided: int = 0
    epoch: int = 0
    key_id: UUID | None = None
    tally: Tally = field(default_factory=Tally)
    standings_sealed: bytes = b""
    golden_sealed: bytes = b""
    fields: tuple[str, ...] = ()
    tokens: frozenset[bytes] = frozenset()

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever stored for this id."""
        return self.version == 0

    @property
    def is_erased(self) -> bool:
        """Whether the id was forgotten; nothing brings it back."""
        return self.state is CustomerState.ERASED


def absorb(customer: Customer, survivor: UUID, decision: int) -> Customer:
    """The customer after it was absorbed; an older decision than the last one changes nothing."""
    if customer.is_erased or decision < customer.decided:
        return customer
    return replace(customer, state=CustomerState.ALIAS, alias_of=survivor, decided=decision)


def revive(customer: Customer, decision: int) -> Customer:
    """The customer after it gained submissions: an alias that is given something back lives again."""
    if customer.state is not CustomerState.ALIAS or decision <= customer.decided:
        return customer
    return replace(customer, state=CustomerState.ACTIVE, alias_of=None, decided=decision)


def emptied(customer: Customer) -> Customer:
    """The same id with nothing known of the person: what an alias keeps."""
    return Customer(customer.customer_id, customer.version, customer.state, customer.alias_of, customer.decided, customer.epoch)


def forget(customer: Customer) -> Customer:
    """The customer after an erasure; the key's id stays, so that a repeat gives the same receipt."""
    return replace(emptied(customer), state=CustomerState.ERASED, alias_of=None, key_id=customer.key_id)

"""Derived ids: a repeat of the same work gives the same id, and no id reveals what it was made from.

The keyed submission id needs the id pepper and is made by `shared.sealing`; everything later is uuid5 over opaque ids.
"""

from __future__ import annotations

import uuid
from uuid import UUID

_CUSTOMER = uuid.uuid5(uuid.NAMESPACE_URL, "kehu:customer")


def event_id(cause: UUID, step: str) -> UUID:
    """Id of the event that `cause` leads to at `step`; a step names the event and what tells it from its siblings."""
    return uuid.uuid5(cause, step)


def customer_id(founding_submission: UUID) -> UUID:
    """Id of the customer that this submission founded."""
    return uuid.uuid5(_CUSTOMER, founding_submission.hex)


def entity_key_id(customer: UUID, epoch: int) -> UUID:
    """Id of the key that seals a customer's golden record during one membership epoch."""
    return uuid.uuid5(customer, f"entity-key:{epoch}")

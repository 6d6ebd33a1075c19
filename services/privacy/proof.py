"""Checks that need no server: certificates offline, and the audit chain of a store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.privacy.domain import certificate
from services.privacy.domain.audit import first_break
from services.privacy.mongo import MongoRequestBook
from shared.sealing import verify
from shared.storage import Store, Transaction


def verify_certificate(document: Mapping[str, Any], public_key: bytes) -> bool:
    """Whether this installation's certificate key (32 raw bytes) signed exactly this document."""
    return certificate.verify(document, check=verify, public_key=public_key)


async def verify_audit_chain(store: Store) -> int | None:
    """Position of the first entry of privacy's audit chain that was changed, moved or dropped; None if it is whole."""
    book = MongoRequestBook(store)

    async def read(transaction: Transaction) -> int | None:
        position, head = await book.audit_head(transaction)
        return first_break(await book.audit(transaction), {"position": position, "hash": head})

    return await store.transaction(read)

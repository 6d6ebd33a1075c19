"""What the use cases need from the world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from services.intake.domain.channels import Channel, WriteKey
from services.intake.domain.findings import Finding
from services.intake.domain.validation import Checked

Verdict = Literal["accepted", "duplicate", "conflict", "quarantined"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A submission ready to be written: accepted if `checked` is there, else quarantined for `findings`.

    Attributes:
        digest: keyed digest of what the sender said, 16 bytes; equal for a true repeat.
        plain: the body in clear, sealed on its way to the store.
        traceparent: W3C context of the request.
    """

    submission_id: UUID
    digest: bytes
    channel: Channel
    received_at: datetime
    plain: bytes
    checked: Checked | None = None
    findings: tuple[Finding, ...] = ()
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """The life of one submission at the door; holds nothing personal."""

    submission_id: UUID
    state: Literal["accepted", "quarantined", "erased"]
    channel_id: str
    received_at: datetime
    published_at: datetime | None
    published: bool
    erased_at: datetime | None = None
    reasons: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()


class Ledger(Protocol):
    """The durable memory of every submission that was let in."""

    async def write(self, entries: Sequence[Entry]) -> list[Verdict]:
        """Makes the entries durable, all or none, and their events due; one verdict each, in their order.

        When it returns, ledger row, data key and outbox are on the disks of a majority. Idempotent by submission id: the first
        content wins, a repeat is a `duplicate`, another content under a known id a `conflict`.

        Raises:
            TransientStorageError: it may or may not have been written; the same call again gives the right verdict.
        """
        ...

    async def find(self, submission_id: UUID) -> LedgerRow | None:
        """The submission's row, or None if it never entered."""
        ...

    async def quarantined(self, channel_id: str | None, limit: int) -> list[LedgerRow]:
        """Newest first: what is set aside and why, never the content."""
        ...


class Channels(Protocol):
    """Channels and their write keys."""

    async def add(self, channel: Channel) -> None:
        """Stores a new channel.

        Raises:
            DuplicateKey: the id is taken.
        """
        ...

    async def all(self) -> list[Channel]:
        """All channels, by id."""
        ...

    async def find(self, channel_id: str) -> Channel | None:
        """The channel of this id."""
        ...

    async def add_key(self, key: WriteKey) -> None:
        """Stores a key's hash."""
        ...

    async def keys(self, channel_id: str) -> list[WriteKey]:
        """The channel's keys, living and revoked, newest last."""
        ...

    async def revoke_key(self, channel_id: str, key_id: str, at: datetime) -> bool:
        """Whether there was such a key; it is of no use from now on. Idempotent."""
        ...

    async def channel_of_key(self, key_hash: bytes) -> Channel | None:
        """The channel whose living key has this hash."""
        ...


class Imports(Protocol):
    """Counts of imported files; never their content."""

    async def save(self, import_id: str, channel_id: str, summary: dict[str, Any]) -> None:
        """Writes the summary, over an earlier one of the same import."""
        ...

    async def find(self, import_id: str, channel_id: str) -> dict[str, Any] | None:
        """The summary as last saved."""
        ...

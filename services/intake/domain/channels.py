"""Channels: who may push submissions, how far they are trusted, and the keys they present."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

ChannelKind = Literal["web", "app", "social", "email", "call_centre", "store", "event", "staff", "file", "system"]
CHANNEL_KINDS: tuple[ChannelKind, ...] = get_args(ChannelKind)

DEFAULT_TRUST: dict[ChannelKind, int] = {
    "web": 50,
    "app": 60,
    "social": 30,
    "email": 40,
    "call_centre": 70,
    "store": 80,
    "event": 60,
    "staff": 70,
    "file": 50,
    "system": 80,
}
"""0 (hearsay) to 100 (checked against a document): who stands before the customer hears more than who reads a comment."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A source of submissions.

    Attributes:
        id: short, stable, lower case; stands in clear in every envelope.
        trust: 0 to 100.
        notice_version: the wording shown by this channel, for consents that name none.
    """

    id: str
    name: str
    kind: ChannelKind
    trust: int
    notice_version: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class WriteKey:
    """A key of a channel; the key itself was shown once and only its hash is kept."""

    id: str
    channel_id: str
    key_hash: bytes
    created_at: datetime
    revoked_at: datetime | None = None

"""Who is calling."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from shared.access.roles import Permission, permissions_of

CHANNEL_PERMISSIONS: frozenset[Permission] = frozenset({"submission:write", "submission:read", "import:manage"})


@dataclass(frozen=True, slots=True)
class Principal:
    """A person or a service with roles, or a channel with the scopes of its write key.

    Attributes:
        id: opaque; may stand in logs and audit entries.
        roles: of a person or service; empty for a channel.
    """

    kind: Literal["person", "service", "channel"]
    id: str
    roles: tuple[str, ...]
    permissions: frozenset[Permission]

    @classmethod
    def with_roles(cls, id: str, roles: Iterable[str]) -> Principal:  # noqa: A002 - the attribute's name
        """A person, or a service if that is one of its roles."""
        named = tuple(sorted(set(roles)))
        return cls("service" if "service" in named else "person", id, named, permissions_of(named))

    @classmethod
    def of_channel(cls, channel_id: str, scopes: Iterable[Permission] = CHANNEL_PERMISSIONS) -> Principal:
        """The holder of a channel's write key; scopes beyond a channel's permissions are ignored."""
        return cls("channel", channel_id, (), frozenset(scopes) & CHANNEL_PERMISSIONS)

    def may(self, permission: Permission) -> bool:
        """Whether it holds this permission."""
        return permission in self.permissions

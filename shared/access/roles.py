"""Who may do what, in one table. What no role here grants, nobody may do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

Role = Literal["admin", "operator", "steward", "front_desk", "analyst", "privacy_officer", "auditor", "service"]

Permission = Literal[
    "submission:write",
    "submission:read",
    "channel:manage",
    "quarantine:manage",
    "import:manage",
    "customer:read",
    "customer:unmask",
    "customer:steward",
    "figures:read",
    "trace:read",
    "consent:read",
    "request:read",
    "request:manage",
    "certificate:read",
    "audit:read",
    "deadletter:read",
    "deadletter:manage",
    "documents:read",
]

PERMISSIONS: frozenset[Permission] = frozenset(get_args(Permission))

ROLES: Mapping[Role, frozenset[Permission]] = {
    # Sets the installation up; sees no unmasked person and answers no person's request, so that both need a second role.
    "admin": frozenset(
        {
            "submission:write",
            "submission:read",
            "channel:manage",
            "quarantine:manage",
            "import:manage",
            "customer:read",
            "figures:read",
            "trace:read",
            "request:read",
            "certificate:read",
            "deadletter:read",
            "deadletter:manage",
            "documents:read",
        }
    ),
    "operator": frozenset(
        {"channel:manage", "import:manage", "submission:read", "trace:read", "deadletter:read", "deadletter:manage", "documents:read"}
    ),
    "steward": frozenset(
        {"customer:read", "customer:unmask", "customer:steward", "quarantine:manage", "submission:read", "trace:read", "documents:read"}
    ),
    "front_desk": frozenset({"customer:read", "submission:write", "submission:read", "consent:read", "documents:read"}),
    "analyst": frozenset({"figures:read", "documents:read"}),
    "privacy_officer": frozenset(
        {
            "customer:read",
            "customer:unmask",
            "consent:read",
            "request:read",
            "request:manage",
            "certificate:read",
            "audit:read",
            "trace:read",
            "documents:read",
        }
    ),
    "auditor": frozenset({"audit:read", "certificate:read", "request:read", "trace:read", "deadletter:read", "documents:read"}),
    # A machine of the installation that brings data in; it reads nothing about people.
    "service": frozenset({"submission:write", "submission:read", "trace:read", "documents:read"}),
}


def permissions_of(roles: Iterable[str]) -> frozenset[Permission]:
    """All that these roles grant together; an unknown role grants nothing."""
    granted: frozenset[Permission] = frozenset()
    for role, permissions in ROLES.items():
        if role in roles:
            granted |= permissions
    return granted

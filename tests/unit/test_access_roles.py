from __future__ import annotations

import pytest

from shared.access import CHANNEL_PERMISSIONS, PERMISSIONS, ROLES, Permission, Principal, Role, permissions_of

GRANTED: dict[Permission, set[Role]] = {
    "submission:write": {"admin", "front_desk", "service"},
    "submission:read": {"admin", "operator", "steward", "front_desk", "service"},
    "channel:manage": {"admin", "operator"},
    "quarantine:manage": {"admin", "steward"},
    "import:manage": {"admin", "operator"},
    "customer:read": {"admin", "steward", "front_desk", "privacy_officer"},
    "customer:unmask": {"steward", "privacy_officer"},
    "customer:steward": {"steward"},
    "figures:read": {"admin", "analyst"},
    "trace:read": {"admin", "operator", "steward", "privacy_officer", "auditor", "service"},
    "consent:read": {"front_desk", "privacy_officer"},
    "request:read": {"admin", "privacy_officer", "auditor"},
    "request:manage": {"privacy_officer"},
    "certificate:read": {"admin", "privacy_officer", "auditor"},
    "audit:read": {"privacy_officer", "auditor"},
    "deadletter:read": {"admin", "operator", "auditor"},
    "deadletter:manage": {"admin", "operator"},
    "documents:read": {"admin", "operator", "steward", "front_desk", "analyst", "privacy_officer", "auditor", "service"},
}
"""Written a second time on purpose: widening a role takes two changes."""


@pytest.mark.parametrize("permission", sorted(PERMISSIONS))
def test_a_permission_is_granted_to_exactly_the_roles_that_were_decided(permission: Permission) -> None:
    assert {role for role, permissions in ROLES.items() if permission in permissions} == GRANTED[permission]


def test_no_role_means_no_permission() -> None:
    assert permissions_of([]) == frozenset()


def test_an_unknown_role_grants_nothing() -> None:
    assert permissions_of(["root", "ADMIN", "admin "]) == frozenset()


def test_roles_add_up() -> None:
    assert permissions_of(["analyst", "steward"]) == ROLES["analyst"] | ROLES["steward"]


def test_a_channel_only_writes_and_sees_its_own_submissions() -> None:
    channel = Principal.of_channel("web", scopes=PERMISSIONS)
    assert channel.permissions == CHANNEL_PERMISSIONS
    assert not channel.may("customer:read")


def test_a_channel_may_be_given_less() -> None:
    assert Principal.of_channel("web", ["submission:write"]).permissions == {"submission:write"}

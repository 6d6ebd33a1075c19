"""The ways to say no. None says why in more detail: a caller that guesses learns nothing."""

# The hosting package builds `Access` and so imports this one first: its error type is taken when it is needed.

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.access.roles import Permission

if TYPE_CHECKING:
    from shared.hosting.problem import Problem


def unauthenticated() -> Problem:
    """401: no credential, or one that is not valid."""
    from shared.hosting.problem import Problem

    return Problem.of_status(401, {"WWW-Authenticate": "Bearer"})


def forbidden(permission: Permission) -> Problem:
    """403: known, but without the permission, which the answer names."""
    from shared.hosting.problem import Problem

    return Problem(403, "forbidden", f"This needs the permission {permission}.", f"此操作需要权限 {permission}。")


def issuer_unreachable() -> Problem:
    """503: the issuer's keys cannot be fetched, so no token can be checked."""
    from shared.hosting.problem import Problem

    return Problem.of_status(503, {"Retry-After": "10"})

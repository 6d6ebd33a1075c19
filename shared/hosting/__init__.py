"""Hosting of a service: settings, HTTP application, health, errors, start and stop."""

from shared.hosting.context import ServiceApp, ServiceContext
from shared.hosting.host import host, main
from shared.hosting.limits import BODY_BYTES_MAX, NESTING_MAX, nesting_exceeds
from shared.hosting.problem import Problem, ProblemBody
from shared.hosting.settings import DEFAULT_PORTS, Settings

__all__ = [
    "BODY_BYTES_MAX",
    "DEFAULT_PORTS",
    "NESTING_MAX",
    "Problem",
    "ProblemBody",
    "ServiceApp",
    "ServiceContext",
    "Settings",
    "host",
    "main",
    "nesting_exceeds",
]

"""Memory of the processes of a stack, from the kernel's own accounting."""

from __future__ import annotations

import psutil

from deploy.local.state import StackState


def resident_mib(state: StackState) -> dict[str, float]:
    """Resident memory now, by process, in MiB."""
    return {name: psutil.Process(child.pid).memory_info().rss / 2**20 for name, child in state.children.items()}

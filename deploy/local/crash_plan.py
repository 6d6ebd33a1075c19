"""Crash tests only: at which named places the next run of a supervised process shall end.

`KEHU_FAILPOINTS_<PROCESS>` is a comma-separated plan with one entry, `name[:nth]`, per wanted strike. A restart arms the next entry of
every name that is left, and the first place that is reached strikes. So nothing waits for a place that is rarely passed, and a kill by
somebody else uses up no entry.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path


def strikes_file(logs: Path, process: str) -> Path:
    """Where a process notes the places that ended it."""
    return logs / f"{process}.strikes"


def strikes(file: Path) -> Counter[str]:
    """How often each place has struck, from the lines that the processes left."""
    return Counter(file.read_text().split()) if file.exists() else Counter()


def next_places(plan: str, struck: Counter[str]) -> str:
    """What to arm now, in the form of `KEHU_FAILPOINT`; empty when the plan is done."""
    seen: Counter[str] = Counter()
    armed: dict[str, str] = {}
    for entry in filter(None, plan.split(",")):
        name = entry.partition(":")[0]
        if seen[name] >= struck[name]:
            armed.setdefault(name, entry)
        seen[name] += 1
    return ",".join(armed.values())

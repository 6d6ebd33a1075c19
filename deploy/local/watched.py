"""A supervised process: its history, when it may start again, whether it is ready."""

from __future__ import annotations

import http.client
import os
from dataclasses import dataclass
from pathlib import Path

from deploy.local.child import Child
from deploy.local.crash_plan import next_places, strikes, strikes_file

BACK_OFF_FIRST_S, BACK_OFF_MAX_S = 0.5, 30.0


@dataclass(slots=True)
class Watched:
    """A child and its history."""

    child: Child
    port: int = 0
    restarts: int = 0
    started_at: float = 0.0
    deaths_in_a_row: int = 0
    start_again_at: float | None = None

    def back_off_s(self) -> float:
        """Delay before the next start, doubling with each early death."""
        longest = float(os.environ.get("KEHU_BACK_OFF_MAX_S", BACK_OFF_MAX_S))
        return float(min(longest, BACK_OFF_FIRST_S * 2 ** max(0, self.deaths_in_a_row - 1)))

    def crash_variables(self) -> dict[str, str]:
        """Crash tests only: where this run shall end. The first run is spared, so that the stack can come up."""
        plan = os.environ.get(f"KEHU_FAILPOINTS_{self.child.name.upper()}", "")
        if not plan or not self.restarts:
            return {}
        return {"KEHU_FAILPOINT": next_places(plan, strikes(self.strikes)), "KEHU_FAILPOINT_STRIKES": str(self.strikes)}

    @property
    def strikes(self) -> Path:
        """Where the process notes the failpoints that ended it."""
        return strikes_file(self.child.log.parent, self.child.name)


def is_ready(port: int) -> bool:
    """Whether the service on this port says that it is ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    except http.client.HTTPException:
        return False
    finally:
        connection.close()

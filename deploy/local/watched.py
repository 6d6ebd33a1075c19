"""A supervised process: its history, when it may start again, whether it is ready."""

from __future__ import annotations

import http.client
import os
from dataclasses import dataclass

from deploy.local.child import Child

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

    def failpoint(self) -> str:
        """Crash tests only: the place at which this restart shall end, from a comma-separated list with one entry per restart."""
        chain = os.environ.get(f"KEHU_FAILPOINTS_{self.child.name.upper()}", "").split(",")
        return chain[self.restarts - 1] if 0 < self.restarts <= len(chain) else ""


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

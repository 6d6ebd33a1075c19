"""The counters against a recomputation from the rows that are left."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from uuid import UUID

from deploy.local.connection import Connection

SETTLING_S = 20.0
"""Marks are folded within a second; submissions that others send meanwhile are in flight a little longer."""


@dataclass(frozen=True, slots=True)
class Figures:
    """How the counters compare.

    Attributes:
        cells: counters that are not nothing.
        different: cells whose recomputation gives another figure.
        still_counted: rows of the erased submissions that still count for something.
    """

    cells: int
    different: int
    still_counted: int

    @property
    def exact(self) -> bool:
        """The counters are those of a world without the person."""
        return not self.different and not self.still_counted


async def compare_figures(connection: Connection, submissions: tuple[UUID, ...]) -> Figures:
    """Counts everything again, without the erased; minutes with millions of rows.

    Raises:
        CommandFailed: MongoDB does not answer.
    """
    from services.analytics.mongo import CONTRIBUTIONS
    from services.analytics.recompute import counted, recompute

    store, deadline = await connection.store("analytics"), time.monotonic() + SETTLING_S
    try:
        while True:
            have, want = await counted(store), await recompute(store)
            rows = await store.collection(CONTRIBUTIONS).find_by_ids(each.bytes for each in submissions)
            left = sum(not row.get("erased") for row in rows.values())
            figures = Figures(len(have), sum(have.get(cell) != want.get(cell) for cell in have.keys() | want.keys()), left)
            if figures.exact or time.monotonic() > deadline:
                return figures
            await asyncio.sleep(0.5)
    finally:
        store.close()

"""The figures anew, from the rows alone. Equal to the counters at any time when no marks are pending: tests and operators compare them."""

from __future__ import annotations

from uuid import UUID

from services.analytics.domain.cells import Cell, Count, Tally, cells_of, cells_of_customer
from services.analytics.domain.contribution import Contribution
from services.analytics.domain.customer import Customer
from services.analytics.mongo import CONTRIBUTIONS, COUNTERS, CUSTOMERS, MERGES, contribution_from, count_from
from shared.storage import Store


async def recompute(store: Store) -> dict[Cell, Count]:
    """Every cell that is not nothing, from contributions and merges; the stored folds and counters are not looked at.

    Reads every row: minutes with millions of them.
    """
    rows = [contribution_from(document) for document in await store.collection(CONTRIBUTIONS).find({})]
    merges = [UUID(bytes=document["survivor"]) for document in await store.collection(MERGES).find({})]
    erased = {UUID(bytes=document["_id"]) for document in await store.collection(CUSTOMERS).find({"erased": True}, projection=["_id"])}
    return figures_of(rows, [survivor for survivor in merges if survivor not in erased])


async def counted(store: Store) -> dict[Cell, Count]:
    """Every cell that is not nothing, as the counters have it, summed over the partitions."""
    sums: dict[Cell, Count] = {}
    for counter in await store.collection(COUNTERS).find({}):
        cell = Cell(counter["metric"], counter["period"], counter["first"], counter["second"])
        sums[cell] = sums.get(cell, Count()).plus(count_from(counter))
    return {cell: count for cell, count in sums.items() if count != Count()}


def figures_of(rows: list[Contribution], survivors: list[UUID]) -> dict[Cell, Count]:
    """The cells that these rows and merges make."""
    tally, customers = Tally(), dict[UUID, Customer]()
    for row in rows:
        if row.facts is not None and row.holder is not None:
            tally.add(cells_of(row.facts))
            customers[row.holder] = customers.get(row.holder, Customer(row.holder)).gained(row.facts)
    for survivor in survivors:
        customers[survivor] = customers.get(survivor, Customer(survivor)).merged()
    for customer in customers.values():
        tally.add(cells_of_customer(customer))
    return tally.sums()

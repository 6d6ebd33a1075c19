"""A whole worker process for crash tests: `python -m tests.integration.messaging_process` consumes until SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from shared.messaging import BatchWorker, Broker, Effects
from shared.storage import Store, Transaction, UpdateOne
from tests.integration.messaging_rig import GROUP, SUBMISSIONS, Servers, count_and_pass_on


async def main() -> int:
    servers = Servers(os.environ["KEHU_KAFKA_BOOTSTRAP_SERVERS"], os.environ["KEHU_NAMESPACE"], os.environ["KEHU_MONGODB_URI"])
    store = await Store.connect(servers.mongodb_uri, database="dedup", namespace=servers.namespace)
    broker = Broker(servers)
    await broker.start()

    async def marks(partition: int, transaction: Transaction) -> Effects | None:
        found = await store.collection("marks").find({"partition": partition}, transaction=transaction)
        effects = Effects()
        for mark in found:
            effects.write("marks", UpdateOne({"_id": mark["_id"]}, {"$set": {"partition": -1}, "$inc": {"passes": 1}}))
        return effects if found else None

    worker = BatchWorker(group=GROUP, topic=SUBMISSIONS, handle=count_and_pass_on, store=store, broker=broker, idle=marks)
    await worker.start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    failed = asyncio.create_task(broker.wait_for_failure())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([failed, stopped], return_when=asyncio.FIRST_COMPLETED)
    await worker.stop()
    await broker.stop()
    return 70 if failed.done() else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

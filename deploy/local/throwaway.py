"""Kafka and MongoDB for one test run or one experiment: fresh folders, free ports, gone at the end."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from deploy.local.child import Child
from deploy.local.kafka_jars import class_path
from deploy.local.kafka_server import START_TIMEOUT_S, KafkaServer
from deploy.local.mongodb_server import REPLICA_SET, MongodbServer


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now; another process may still take one before it is used."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


@contextmanager
def running(child: Child) -> Iterator[Child]:
    """Start it, and stop it whatever happens."""
    child.start()
    try:
        yield child
    finally:
        child.stop()


@contextmanager
def throwaway_kafka(folder: Path) -> Iterator[str]:
    """A broker of one's own; gives its bootstrap servers."""
    from shared.messaging.topic_admin import wait_for_kafka

    folder.mkdir(parents=True, exist_ok=True)
    port, controller_port = free_ports(2)
    server = KafkaServer(folder / "kafka", folder / "kafka.log", class_path(), port, controller_port)
    server.prepare()
    with running(server.child()):
        # In a thread of its own: a fixture of an asynchronous test is set up inside a running event loop.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, wait_for_kafka(server.bootstrap_servers, START_TIMEOUT_S)).result()
        yield server.bootstrap_servers


@contextmanager
def throwaway_mongodb(folder: Path) -> Iterator[str]:
    """A replica set of one's own, without authentication; gives its URI."""
    from shared.storage.administration import start_replica_set

    folder.mkdir(parents=True, exist_ok=True)
    server = MongodbServer(folder / "mongodb", folder / "mongod.log", free_ports(1)[0], authentication=False)
    server.prepare()
    with running(server.child()) as child:
        _wait_for_port(child, server.port)
        start_replica_set(server.port, REPLICA_SET)
        yield server.uri()


def _wait_for_port(child: Child, port: int, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and child.running:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{child.name} did not open port {port}:\n{child.last_log_lines()}")

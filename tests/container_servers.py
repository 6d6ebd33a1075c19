"""Kafka and MongoDB from a Docker engine, for machines where one can give the images."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from deploy.local.throwaway_stack import neighbouring_free_ports

KAFKA_IMAGE = "apache/kafka:4.4.0"
MONGODB_IMAGE = "mongo:8.0.13"
PULL_SECONDS = 300
START_SECONDS = 90


def engine_gives_images() -> bool:
    """Whether an engine on this machine answers and has, or can fetch, both images. An engine without a registry cannot."""
    if os.environ.get("KEHU_TEST_SERVERS") == "embedded" or not os.environ.get("DOCKER_HOST", "unix://").startswith("unix://"):
        return False
    return _docker("info", seconds=10) and all(
        _docker("image", "inspect", image, seconds=10) or _docker("pull", "--quiet", image, seconds=PULL_SECONDS)
        for image in (KAFKA_IMAGE, MONGODB_IMAGE)
    )


def _docker(*arguments: str, seconds: int) -> bool:
    try:
        answer = subprocess.run(["docker", *arguments], capture_output=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0


@contextmanager
def container_kafka() -> Iterator[str]:
    """Bootstrap servers of a broker of its own. The port is chosen before, since a broker has to say its address itself."""
    port = neighbouring_free_ports(1)
    settings = {
        "NODE_ID": "1",
        "PROCESS_ROLES": "broker,controller",
        "LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "AUTO_CREATE_TOPICS_ENABLE": "false",
        "OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    }
    container = DockerContainer(KAFKA_IMAGE).with_bind_ports(9092, port)
    for name, value in settings.items():
        container.with_env(f"KAFKA_{name}", value)
    with container.waiting_for(LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(START_SECONDS)):
        yield f"127.0.0.1:{port}"


@contextmanager
def container_mongodb() -> Iterator[str]:
    """URI of a replica set of one."""
    command = "mongod --replSet kehu --bind_ip_all --setParameter transactionLifetimeLimitSeconds=15"
    container = DockerContainer(MONGODB_IMAGE).with_exposed_ports(27017).with_command(command)
    with container.waiting_for(LogMessageWaitStrategy("Waiting for connections").with_startup_timeout(START_SECONDS)):
        initiate = "rs.initiate({_id: 'kehu', members: [{_id: 0, host: '127.0.0.1:27017'}]}); while (!db.hello().isWritablePrimary) sleep(100)"
        container.exec(["mongosh", "--quiet", "--eval", initiate])
        # The member calls itself 127.0.0.1:27017 inside the container, so clients must not follow its address.
        yield f"mongodb://{container.get_container_host_ip()}:{container.get_exposed_port(27017)}/?directConnection=true"

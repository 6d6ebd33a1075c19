"""Real servers for the tests: those of the environment, else of a Docker engine, else embedded. The run's header and summary say which."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from deploy.local.throwaway import throwaway_kafka, throwaway_mongodb

if TYPE_CHECKING:
    from shared.hosting import Settings

KAFKA_IMAGE = "apache/kafka:4.4.0"
MONGODB_IMAGE = "mongo:8.0.13"
_sources = pytest.StashKey[dict[str, str]]()


# A law holds or not, however slow the machine: the first example of a run builds tables and would fail by Hypothesis's 200 ms on a busy one.
hypothesis.settings.register_profile("kehu", deadline=None, print_blob=True)
hypothesis.settings.load_profile("kehu")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_sources] = {}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for server, source in config.stash[_sources].items():
        terminalreporter.write_line(f"{server}: {source}")


@pytest.fixture(scope="session")
def docker_answers() -> bool:
    """Whether a Docker engine would run our containers."""
    if os.environ.get("KEHU_TEST_SERVERS") == "embedded":
        return False
    try:
        answer = subprocess.run(["docker", "info"], capture_output=True, timeout=10, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0


@pytest.fixture(scope="session")
def kafka_bootstrap(docker_answers: bool, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[str]:
    """Bootstrap servers of a real Kafka that lives for the whole run; isolate yourself by `namespace`."""
    given = os.environ.get("KEHU_KAFKA_BOOTSTRAP_SERVERS")
    if given:
        pytestconfig.stash[_sources]["Kafka"] = f"given by the environment ({given})"
        yield given
        return
    pytestconfig.stash[_sources]["Kafka"] = f"container {KAFKA_IMAGE}" if docker_answers else "embedded Apache Kafka 4.4.0"
    with container_kafka() if docker_answers else throwaway_kafka(tmp_path_factory.mktemp("kafka")) as bootstrap:
        yield bootstrap


@pytest.fixture(scope="session")
def mongodb_uri(docker_answers: bool, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[str]:
    """URI of a real MongoDB replica set that lives for the whole run; isolate yourself by `namespace`."""
    given = os.environ.get("KEHU_MONGODB_URI")
    if given:
        pytestconfig.stash[_sources]["MongoDB"] = "given by the environment"
        yield given
        return
    pytestconfig.stash[_sources]["MongoDB"] = f"container {MONGODB_IMAGE}" if docker_answers else "embedded mongod 6.0.5"
    with container_mongodb() if docker_answers else throwaway_mongodb(tmp_path_factory.mktemp("mongodb")) as uri:
        yield uri


@contextmanager
def container_kafka() -> Iterator[str]:
    from testcontainers.kafka import KafkaContainer

    with KafkaContainer(KAFKA_IMAGE).with_kraft() as container:
        yield container.get_bootstrap_server()


@contextmanager
def container_mongodb() -> Iterator[str]:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.waiting_utils import wait_for_logs

    command = "mongod --replSet kehu --bind_ip_all --setParameter transactionLifetimeLimitSeconds=15"
    with DockerContainer(MONGODB_IMAGE).with_exposed_ports(27017).with_command(command) as container:
        wait_for_logs(container, "Waiting for connections")
        container.exec(["mongosh", "--quiet", "--eval", "rs.initiate({_id: 'kehu', members: [{_id: 0, host: '127.0.0.1:27017'}]})"])
        # The member calls itself 127.0.0.1:27017 inside the container, so clients must not follow its address.
        yield f"mongodb://{container.get_container_host_ip()}:{container.get_exposed_port(27017)}/?directConnection=true"


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> Iterator[str]:
    """A unique prefix of topics, groups and databases; what was made under it goes when the test ends."""
    prefix = f"t{secrets.token_hex(4)}_"
    yield prefix
    if "mongodb_uri" in request.fixturenames:
        from shared.storage.administration import drop_databases

        drop_databases(request.getfixturevalue("mongodb_uri"), prefix)


@pytest.fixture
def settings(kafka_bootstrap: str, mongodb_uri: str, namespace: str, tmp_path: Path) -> Settings:
    """Settings of one isolated installation on the run's servers, with a key folder of its own."""
    from shared.hosting import Settings

    return Settings(
        kafka_bootstrap_servers=kafka_bootstrap, mongodb_uri=mongodb_uri, namespace=namespace, data_folder=tmp_path, key_folder=tmp_path / "keys"
    )

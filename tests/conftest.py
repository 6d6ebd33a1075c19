"""Real servers for the tests: those of the environment, else of a Docker engine, else embedded. The run's header and summary say which."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from deploy.local.throwaway import throwaway_kafka, throwaway_mongodb
from tests.container_servers import KAFKA_IMAGE, MONGODB_IMAGE, container_kafka, container_mongodb, engine_gives_images

if TYPE_CHECKING:
    from shared.hosting import Settings

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
def in_containers() -> bool:
    """Whether a Docker engine gives the servers; `KEHU_TEST_SERVERS=embedded` asks for none."""
    return engine_gives_images()


@pytest.fixture(scope="session")
def kafka_bootstrap(in_containers: bool, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[str]:
    """Bootstrap servers of a real Kafka that lives for the whole run; isolate yourself by `namespace`."""
    given = os.environ.get("KEHU_KAFKA_BOOTSTRAP_SERVERS")
    if given:
        pytestconfig.stash[_sources]["Kafka"] = f"given by the environment ({given})"
        yield given
        return
    pytestconfig.stash[_sources]["Kafka"] = f"container {KAFKA_IMAGE}" if in_containers else "embedded Apache Kafka 4.4.0"
    with container_kafka() if in_containers else throwaway_kafka(tmp_path_factory.mktemp("kafka")) as bootstrap:
        yield bootstrap


@pytest.fixture(scope="session")
def mongodb_uri(in_containers: bool, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[str]:
    """URI of a real MongoDB replica set that lives for the whole run; isolate yourself by `namespace`."""
    given = os.environ.get("KEHU_MONGODB_URI")
    if given:
        pytestconfig.stash[_sources]["MongoDB"] = "given by the environment"
        yield given
        return
    pytestconfig.stash[_sources]["MongoDB"] = f"container {MONGODB_IMAGE}" if in_containers else "embedded mongod 6.0.5"
    with container_mongodb() if in_containers else throwaway_mongodb(tmp_path_factory.mktemp("mongodb")) as uri:
        yield uri


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

"""How a command finds the installation: the running embedded stack, else the environment's servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.local.places import Places
from deploy.local.stack import SERVICES, Stack
from deploy.local.state import StackState, read_state

if TYPE_CHECKING:
    from shared.hosting import Settings
    from shared.storage import Store


class CommandFailed(Exception):
    """A command cannot do what was asked. Shown as one line.

    Attributes:
        zh: the same in Chinese, where a person who is no operator may read it.
    """

    def __init__(self, en: str, zh: str = "") -> None:
        super().__init__(en)
        self.zh = zh


@dataclass(frozen=True, slots=True)
class Connection:
    """Addresses of one installation.

    Attributes:
        mongodb_uri: as the operator, who may use every service's data; for commands only.
        ports: HTTP port by service.
        folders: what of the installation's files lies on this machine: `mongodb`, `kafka`, `logs`.
    """

    kafka_bootstrap_servers: str
    mongodb_uri: str
    namespace: str
    key_folder: Path
    ports: dict[str, int]
    folders: Mapping[str, Path] = field(default_factory=dict)

    @classmethod
    def open(cls) -> Connection:
        """The stack that runs from this user's data folder, else what the environment names.

        Raises:
            CommandFailed: nothing runs and nothing is named.
        """
        places = Places.default()
        state, stack = read_state(places.state), Stack.from_environment(places)
        if state and state.alive:
            return cls._of_running(stack, state)
        if stack.external_kafka and stack.external_mongodb:
            ports = {service: stack.port_of(service) for service in SERVICES}
            return cls(stack.external_kafka, stack.external_mongodb, stack.namespace, places.keys, ports)
        raise CommandFailed("Kehu is not running; start it with `kehu up`.", "客户平台没有运行，请先执行 `kehu up`。")

    @classmethod
    def of(cls, stack: Stack) -> Connection:
        """A stack that is up, as operator."""
        ports = {service: stack.port_of(service) for service in stack.services}
        return cls(stack.kafka_bootstrap_servers, stack.mongodb_uri("operator"), stack.namespace, stack.places.keys, ports)

    @classmethod
    def _of_running(cls, stack: Stack, state: StackState) -> Connection:
        mongod = state.children.get("mongod")
        uri = stack.external_mongodb
        if mongod is not None:
            uri = Stack(stack.places, mongodb_port=mongod.port).mongodb_uri("operator")
        ports = {name: child.port for name, child in state.children.items() if name in SERVICES}
        files = {"mongod": ("mongodb", stack.places.mongodb), "kafka": ("kafka", stack.places.kafka)}
        folders = {"logs": stack.places.logs} | dict(files[name] for name in state.children if name in files)
        return cls(state.kafka_bootstrap_servers, uri, state.namespace, stack.places.keys, ports, folders)

    def settings(self) -> Settings:
        """The same as a service's settings."""
        from shared.hosting import Settings

        return Settings(
            kafka_bootstrap_servers=self.kafka_bootstrap_servers,
            mongodb_uri=self.mongodb_uri,
            namespace=self.namespace,
            key_folder=self.key_folder,
        )

    async def store(self, database: str) -> Store:
        """One of the installation's databases, as operator. The caller closes it.

        Raises:
            CommandFailed: MongoDB does not answer.
        """
        from shared.storage import Store, TransientError

        store = await Store.connect(self.mongodb_uri, database=database, namespace=self.namespace)
        try:
            await store.ping()
        except TransientError as error:
            store.close()
            raise CommandFailed("MongoDB does not answer; see `kehu status`.") from error
        return store

"""What one embedded stack consists of: servers (own or external), users, services, and the settings each process gets."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from deploy.local.child import Child
from deploy.local.kafka_server import KafkaServer
from deploy.local.mongodb_server import MongodbServer
from deploy.local.places import Places

SERVICES = ("intake", "dedup", "profile", "analytics", "privacy")
USERS = ("installer", "operator", *SERVICES)
"""Of the embedded MongoDB: one that makes users, one for commands, one per service."""
DOOR = "intake"
CONSUMER_NICENESS = 5
"""At the door somebody waits for an answer; what lies in Kafka can be late."""
ROOT = Path(__file__).resolve().parents[2]


class PortTaken(RuntimeError):
    """Somebody else listens on a port of the stack."""


@dataclass(frozen=True, slots=True)
class Stack:
    """The stack as configured by the environment.

    Attributes:
        external_kafka, external_mongodb: given addresses; then no embedded one is started.
        service_port: of the first service; the others follow in the order of `SERVICES`.
        services: which services run here; all by default.
    """

    places: Places
    external_kafka: str = ""
    external_mongodb: str = ""
    namespace: str = ""
    kafka_port: int = 9092
    mongodb_port: int = 27017
    service_port: int = 8101
    services: tuple[str, ...] = SERVICES

    @classmethod
    def from_environment(cls, places: Places | None = None) -> Stack:
        """Read the `KEHU_*` variables; see `kehu up --help`."""
        environ = os.environ
        return cls(
            places=places or Places.default(),
            external_kafka=environ.get("KEHU_KAFKA_BOOTSTRAP_SERVERS", ""),
            external_mongodb=environ.get("KEHU_MONGODB_URI", ""),
            namespace=environ.get("KEHU_NAMESPACE", ""),
            kafka_port=int(environ.get("KEHU_EMBEDDED_KAFKA_PORT", "9092")),
            mongodb_port=int(environ.get("KEHU_EMBEDDED_MONGODB_PORT", "27017")),
            service_port=int(environ.get("KEHU_SERVICE_PORT", "8101")),
            services=tuple(name for name in environ.get("KEHU_SERVICES", ",".join(SERVICES)).split(",") if name),
        )

    @property
    def kafka_bootstrap_servers(self) -> str:
        """Where clients find Kafka."""
        return self.external_kafka or f"127.0.0.1:{self.kafka_port}"

    def mongodb_uri(self, user: str) -> str:
        """Where this user finds MongoDB; an external server's URI carries its own user."""
        return self.external_mongodb or self.mongodb().uri(user, passwords(self.places)[user])

    @property
    def mongodb_address(self) -> str:
        """The URI without a password, to show."""
        return self.external_mongodb.rpartition("@")[2] if self.external_mongodb else self.mongodb().uri()

    def mongodb(self) -> MongodbServer:
        """The embedded server."""
        return MongodbServer(self.places.mongodb, self.places.logs / "mongod.log", self.mongodb_port)

    def kafka(self, class_path: str) -> KafkaServer:
        """The embedded broker; its controller listens on the next port."""
        return KafkaServer(self.places.kafka, self.places.logs / "kafka.log", class_path, self.kafka_port, self.kafka_port + 1)

    def port_of(self, service: str) -> int:
        """HTTP port of a service."""
        return self.service_port + SERVICES.index(service)

    def service(self, name: str) -> Child:
        """The process of a service, not yet started, with settings of its own."""
        environment = {
            "KEHU_PORT": str(self.port_of(name)),
            "KEHU_DATA_FOLDER": str(self.places.root),
            "KEHU_KEY_FOLDER": str(self.places.keys),
            "KEHU_KAFKA_BOOTSTRAP_SERVERS": self.kafka_bootstrap_servers,
            "KEHU_MONGODB_URI": self.mongodb_uri(name),
            "KEHU_NAMESPACE": self.namespace,
            "PYTHONUNBUFFERED": "1",
        }
        command, log = [sys.executable, "-m", f"services.{name}"], self.places.logs / f"{name}.log"
        return Child(name, command, log, environment, ROOT, stop_timeout_s=12, niceness=0 if name == DOOR else CONSUMER_NICENESS)

    def assert_ports_free(self) -> None:
        """Refuse to start beside a stranger.

        Raises:
            PortTaken: names the port and the variable that moves it.
        """
        ports = {} if self.external_kafka else {self.kafka_port: "KEHU_EMBEDDED_KAFKA_PORT", self.kafka_port + 1: "KEHU_EMBEDDED_KAFKA_PORT"}
        ports |= {} if self.external_mongodb else {self.mongodb_port: "KEHU_EMBEDDED_MONGODB_PORT"}
        ports |= {self.port_of(service): "KEHU_SERVICE_PORT" for service in self.services}
        for port, variable in ports.items():
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    raise PortTaken(f"port {port} is taken by another program; set {variable} to move it")


def passwords(places: Places) -> dict[str, str]:
    """Passwords of the embedded MongoDB's users, drawn on first use and kept in a file only this account can read."""
    known: dict[str, str] = json.loads(places.credentials.read_text()) if places.credentials.exists() else {}
    missing = [user for user in USERS if user not in known]
    if missing:
        known |= {user: secrets.token_urlsafe(24) for user in missing}
        partial = places.credentials.with_suffix(f".{os.getpid()}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(known, file)
        partial.replace(places.credentials)
    return known

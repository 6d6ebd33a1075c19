"""One long-lived process that starts the stack in order, starts again what dies, and stops it in reverse.

Its children are tied to it by the kernel, so killing it ends everything and leaves no port taken.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from types import FrameType

from deploy.local.child import Child
from deploy.local.kafka_jars import class_path
from deploy.local.kafka_server import START_TIMEOUT_S
from deploy.local.places import Places
from deploy.local.stack import PortTaken, Stack
from deploy.local.state import FAILED, READY, STOPPING, ChildState, StackState, created_at, end_leftovers, read_state, write_state
from deploy.local.watched import Watched, is_ready

POLL_S = 0.2
LOG_CHECK_S = 10.0
PORTS_FREE_S = 20.0
SERVICES_READY_S = 150.0
HEALTHY_AFTER_S = 60.0
"""A process that lived this long starts again without delay."""
EARLY_DEATHS_MAX = 3
"""A service that dies this often before it was ever ready has a defect, and the start is given up."""


class StartFailed(RuntimeError):
    """The stack could not be brought up."""


@dataclass(slots=True)
class Supervisor:
    """Brings the stack up and keeps it up until it is asked to stop."""

    stack: Stack
    watched: dict[str, Watched] = field(default_factory=dict)
    stopping: bool = False
    began: float = field(default_factory=time.monotonic)
    state: StackState = field(init=False)

    def __post_init__(self) -> None:
        """Begin in phase `starting`."""
        stack = self.stack
        self.state = StackState(os.getpid(), created_at(os.getpid()), namespace=stack.namespace)
        self.state.kafka_bootstrap_servers, self.state.mongodb_uri = stack.kafka_bootstrap_servers, stack.mongodb_address

    def run(self) -> int:
        """Until a signal asks to stop. Returns the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)
        try:
            self._bring_up()
            self._watch()
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller of `kehu up` shall read it
            self.say(f"start failed: {error}")
            self.state.phase, self.state.error = FAILED, str(error)
            return 1
        else:
            self.state.phase = STOPPING
            return 0
        finally:
            self._publish()
            self._stop_all()

    def say(self, text: str) -> None:
        """One line in the supervisor's log."""
        print(f"{datetime.now().astimezone().isoformat(timespec='milliseconds')} {text}", flush=True)  # noqa: T201 - stdout is its log

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True

    def _bring_up(self) -> None:
        self._clear_the_way()  # Before the first step is published: that overwrites what the one before left.
        self._step("starting MongoDB and Kafka")
        self._start_servers()
        self._step("preparing MongoDB")
        self._prepare_databases()
        # They wait for Kafka and for their topics by themselves, and what they load takes as long as Kafka's start.
        self._step("starting services, preparing topics")
        for service in self.stack.services:
            self._start(self.stack.service(service), self.stack.port_of(service))
        self._publish()
        self._prepare_topics()
        self._step("waiting for services")
        self._wait_for_services()
        self.state.seconds = round(time.monotonic() - self.began, 2)
        self.state.phase = READY
        self._step(f"ready after {self.state.seconds} s")

    def _clear_the_way(self) -> None:
        """End what a dead supervisor left. A process that was just killed may hold its port until its last thread is gone."""
        previous = read_state(self.stack.places.state)
        end_leftovers(previous)
        deadline = time.monotonic() + (PORTS_FREE_S if previous and previous.children else 0)
        while True:
            try:
                return self.stack.assert_ports_free()
            except PortTaken:
                if time.monotonic() > deadline:
                    raise
            time.sleep(POLL_S)

    def _start_servers(self) -> None:
        """Both boot at once; formatting Kafka's folder on the first start overlaps with mongod's boot."""
        if not self.stack.external_mongodb:
            mongodb = self.stack.mongodb()
            mongodb.prepare()
            self._start(mongodb.child(), mongodb.port)
        if not self.stack.external_kafka:
            kafka = self.stack.kafka(class_path())
            kafka.prepare()
            self._start(kafka.child(), kafka.port)
        self._publish()

    def _prepare_databases(self) -> None:
        from deploy.local import preparation

        if not self.stack.external_mongodb:
            preparation.prepare_mongodb(self.stack)
        # Each service brings its own database to shape; the key ring is nobody's own.
        asyncio.run(preparation.open_keyring(self.stack.mongodb_uri("operator"), self.stack.namespace, self.stack.places.keys))

    def _prepare_topics(self) -> None:
        from deploy.local import preparation

        try:
            asyncio.run(preparation.prepare_kafka(self.stack.kafka_bootstrap_servers, self.stack.namespace, START_TIMEOUT_S))
        except Exception as error:
            kafka = self.watched.get("kafka")
            died = kafka is not None and not kafka.child.running
            raise StartFailed(f"{error}\n{kafka.child.last_log_lines() if kafka and died else ''}".strip()) from error

    def _wait_for_services(self) -> None:
        deadline = time.monotonic() + SERVICES_READY_S
        waiting = set(self.stack.services)
        while waiting and not self.stopping:
            self._restart_the_dead()
            waiting -= {service for service in waiting if is_ready(self.watched[service].port)}
            self._give_up_on_defects(waiting, time.monotonic() > deadline)
            time.sleep(POLL_S)

    def _give_up_on_defects(self, waiting: set[str], late: bool) -> None:
        for service in sorted(waiting):
            watched = self.watched[service]
            if late or watched.deaths_in_a_row >= EARLY_DEATHS_MAX:
                what = "is not ready in time" if late else "keeps dying"
                raise StartFailed(f"{service} {what}; the end of its log:\n{watched.child.last_log_lines()}")

    def _watch(self) -> None:
        next_log_check = 0.0
        while not self.stopping:
            self._restart_the_dead()
            if time.monotonic() >= next_log_check:
                next_log_check = time.monotonic() + LOG_CHECK_S
                for watched in self.watched.values():
                    watched.child.bound_log()
            time.sleep(POLL_S)

    def _restart_the_dead(self) -> None:
        for watched in self.watched.values():
            if not watched.child.running and self._is_due(watched):
                watched.restarts += 1
                self._run(watched)
                self._publish()

    def _is_due(self, watched: Watched) -> bool:
        now = time.monotonic()
        if watched.start_again_at is None:
            watched.deaths_in_a_row = 1 if now - watched.started_at > HEALTHY_AFTER_S else watched.deaths_in_a_row + 1
            watched.start_again_at = now + watched.back_off_s()
            self.say(f"{watched.child.name} ended with {watched.child.exit_code}; starts again in {watched.back_off_s():.1f} s")
            self._publish()
        return now >= watched.start_again_at

    def _start(self, child: Child, port: int) -> None:
        self.watched[child.name] = Watched(child, port)
        self._run(self.watched[child.name])

    def _run(self, watched: Watched) -> None:
        watched.child.start(watched.crash_variables())
        watched.started_at, watched.start_again_at = time.monotonic(), None
        self.say(f"{watched.child.name} started, process {watched.child.pid}")

    def _stop_all(self) -> None:
        """Services first, all at once, so that they can still hand over what they hold; then the servers."""
        servers = [self.watched[name] for name in ("kafka", "mongod") if name in self.watched]
        services = [watched for name, watched in self.watched.items() if name in self.stack.services]
        for group in (services, servers):
            for watched in group:
                watched.child.ask_to_stop()
            for watched in group:
                watched.child.stop()
                self.say(f"{watched.child.name} stopped with {watched.child.exit_code}")

    def _step(self, text: str) -> None:
        self.state.step = text
        self.say(text)
        self._publish()

    def _publish(self) -> None:
        self.state.children = {
            name: ChildState(name, pid := watched.child.pid or 0, created_at(pid) if pid else 0.0, watched.restarts, watched.port)
            for name, watched in self.watched.items()
        }
        write_state(self.stack.places.state, self.state)


def main() -> int:
    """Run the stack of the environment; only one at a time per data folder."""
    places = Places.default()
    places.create()
    with places.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another supervisor runs this data folder", file=sys.stderr)  # noqa: T201 - stderr is its log
            return 75
        return Supervisor(Stack.from_environment(places)).run()


if __name__ == "__main__":
    sys.exit(main())

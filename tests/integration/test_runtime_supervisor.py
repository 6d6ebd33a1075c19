"""The supervisor on real servers: what dies comes back, and nothing outlives the supervisor."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from deploy.local.places import Places
from deploy.local.state import READY, end_leftovers, is_same_process, read_state
from deploy.local.throwaway import free_ports

pytestmark = [pytest.mark.servers, pytest.mark.timeout(170)]

KEHU = [sys.executable, "-m", "deploy.local.cli"]


def wait_until(condition, what, seconds=100.0):
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.05)
    return result


class Installation:
    """A stack of its own with one service, which stands for all five."""

    def __init__(self, folder):
        self.places = Places(folder)
        kafka, mongodb, service = free_ports(3)
        own = {"KEHU_KAFKA_BOOTSTRAP_SERVERS", "KEHU_MONGODB_URI", "KEHU_NAMESPACE", "KEHU_KEY_FOLDER"}
        self.environment = {name: value for name, value in os.environ.items() if name not in own} | {
            "KEHU_DATA_FOLDER": str(folder),
            "KEHU_EMBEDDED_KAFKA_PORT": str(kafka),
            "KEHU_EMBEDDED_MONGODB_PORT": str(mongodb),
            "KEHU_SERVICE_PORT": str(service),
            "KEHU_SERVICES": "analytics",
        }

    def kehu(self, *arguments):
        return subprocess.run([*KEHU, *arguments], env=self.environment, capture_output=True, text=True, timeout=160, check=False)

    def up(self):
        result = self.kehu("up")
        assert result.returncode == 0, result.stderr + (self.places.logs / "supervisor.log").read_text()
        return read_state(self.places.state)


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    made = Installation(tmp_path_factory.mktemp("installation") / "data")
    yield made
    made.kehu("down")
    end_leftovers(read_state(made.places.state))


def listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_up_starts_both_servers_and_says_where_they_are(installation):
    # when
    state = installation.up()

    # then
    assert state.phase == READY
    assert set(state.children) == {"kafka", "mongod", "analytics"}
    assert all(listening(child.port) for child in state.children.values())
    assert installation.kehu("topics", "list").stdout.count("right") == 8


def test_a_second_up_changes_nothing(installation):
    before = installation.up()
    again = installation.kehu("up")
    assert "runs already" in again.stdout
    assert read_state(installation.places.state).pid == before.pid


@pytest.mark.parametrize("name", ["analytics", "mongod", "kafka"])
def test_a_process_that_is_killed_starts_again(installation, name):
    # given
    before = installation.up().children[name]

    # when
    os.kill(before.pid, signal.SIGKILL)

    # then
    def back():
        child = read_state(installation.places.state).children[name]
        return child if child.pid not in (0, before.pid) and listening(child.port) else None

    assert wait_until(back, f"{name} back").restarts == before.restarts + 1


def test_status_tells_processes_lag_and_dead_letters(installation):
    # given
    installation.up()

    # when
    shown, document = installation.kehu("status"), json.loads(installation.kehu("status", "--json").stdout)

    # then
    assert shown.returncode == 0, shown.stderr
    assert "lag, records" in shown.stdout
    assert document["phase"] == READY
    assert {row["service"] for row in document["lag"]} == {"intake", "dedup", "profile", "analytics", "privacy"}
    assert {row["lag_records"] for row in document["lag"]} == {0}


def test_a_service_may_use_its_own_database_and_make_keys_only_if_it_has_to(installation):
    from pymongo import MongoClient
    from pymongo.errors import OperationFailure

    from deploy.local.stack import Stack, passwords

    # given
    state = installation.up()
    secrets = passwords(installation.places)
    stack = Stack(installation.places, mongodb_port=state.children["mongod"].port)
    with MongoClient(stack.mongodb_uri("dedup")) as client:
        # when, then
        client["dedup"]["probe"].insert_one({"_id": 1})
        for refused in (
            lambda: client["keyring"]["keys"].insert_one({"_id": b"probe"}),
            lambda: client["profile"]["customers"].find_one(),
            lambda: client["keyring"]["keys"].delete_one({"_id": b"probe"}),
            lambda: client["keyring"]["keys"].update_one({"_id": b"probe"}, {"$set": {"wrapped": None}}),
            lambda: client["keyring"]["floor"].insert_one({"_id": "probe"}),
            lambda: client["admin"].command("usersInfo", "privacy"),
        ):
            with pytest.raises(OperationFailure):
                refused()
        client["dedup"]["probe"].delete_one({"_id": 1})
    with MongoClient(stack.mongodb_uri("profile")) as client:
        client["keyring"]["keys"].insert_one({"_id": b"probe"})
        with pytest.raises(OperationFailure):
            client["keyring"]["keys"].delete_one({"_id": b"probe"})
    with MongoClient(stack.mongodb_uri("operator")) as client:
        client["keyring"]["keys"].delete_one({"_id": b"probe"})
    assert len(secrets) == 7


def test_the_operator_reads_and_mends_data_but_makes_no_user(installation):
    from pymongo import MongoClient
    from pymongo.errors import OperationFailure

    from deploy.local.stack import Stack

    # given
    state = installation.up()
    stack = Stack(installation.places, mongodb_port=state.children["mongod"].port)
    with MongoClient(stack.mongodb_uri("operator")) as client:
        # when, then
        assert {"keyring", "analytics"} <= set(client.list_database_names())
        assert client["local"]["oplog.rs"].find_one() is not None
        for refused in (
            lambda: client["admin"].command("createUser", "intruder", pwd="secret", roles=["root"]),
            lambda: client["admin"].command("grantRolesToUser", "operator", roles=["root"]),
            lambda: client["admin"]["system.users"].find_one(),
            lambda: client.drop_database("analytics"),
            lambda: client["elsewhere"]["probe"].insert_one({}),
        ):
            with pytest.raises(OperationFailure):
                refused()


def test_a_killed_supervisor_leaves_no_process_and_up_works_again(installation):
    # given
    before = installation.up()

    # when
    os.kill(before.pid, signal.SIGKILL)

    # then
    children = before.children.values()
    wait_until(lambda: not any(is_same_process(child.pid, child.created) for child in children), "no process left")
    wait_until(lambda: not any(listening(child.port) for child in children), "no port left")

    # and when
    after = installation.up()

    # then
    assert after.phase == READY
    assert after.pid != before.pid


def test_down_stops_everything_and_keeps_the_data(installation):
    # given
    state = installation.up()

    # when
    result = installation.kehu("down")

    # then
    assert result.returncode == 0
    assert not any(psutil.pid_exists(child.pid) and is_same_process(child.pid, child.created) for child in state.children.values())
    assert (installation.places.mongodb / "data" / "WiredTiger").exists()
    assert installation.kehu("status").returncode == 3


def test_a_taken_port_is_named_with_the_variable_that_moves_it(installation, tmp_path):
    # given
    other = Installation(tmp_path / "other")
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", int(other.environment["KEHU_EMBEDDED_MONGODB_PORT"])))
        stranger.listen()

        # when
        result = other.kehu("up")

    # then
    assert result.returncode == 1
    assert "KEHU_EMBEDDED_MONGODB_PORT" in result.stderr

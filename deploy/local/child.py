"""A child process that cannot outlive its parent, with a bounded log."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_PDEATHSIG = 1
LOG_BYTES_MAX = 8 * 1024 * 1024
_libc = ctypes.CDLL(None, use_errno=True)


def _begin(parent: int, niceness: int) -> None:
    """Runs in the child before exec."""
    _die_with_parent(parent)
    os.nice(niceness)


def _die_with_parent(parent: int) -> None:
    """The kernel kills the child when the parent's starting thread ends.

    SIGKILL and not SIGTERM: nothing would be left to force a child that does not stop, and every server here recovers from a kill.
    """
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # The parent died before the line above; nobody would end us.


@dataclass(slots=True)
class Child:
    """One process: its command, its log, and how to start and stop it.

    Start it from the main thread: its life is tied to the thread that started it.

    Attributes:
        stop_timeout_s: time between SIGTERM and SIGKILL.
        niceness: added to ours; a nicer process gives way where processors are short.
    """

    name: str
    command: Sequence[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    stop_timeout_s: float = 10.0
    niceness: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self, extra: Mapping[str, str] | None = None) -> None:
        """Start it, with `extra` variables for this once; the log is appended to."""
        parent = os.getpid()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, **self.environment, **(extra or {})},
                preexec_fn=lambda: _begin(parent, self.niceness),
                process_group=0,
            )

    @property
    def pid(self) -> int | None:
        """The process id, None when it does not run."""
        return self.process.pid if self.process is not None and self.process.poll() is None else None

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self.pid is not None

    @property
    def exit_code(self) -> int | None:
        """Of the last run; None while it runs or before the first start."""
        return None if self.process is None else self.process.poll()

    def ask_to_stop(self) -> None:
        """Send SIGTERM and return at once."""
        if self.process is not None and self.running:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after `stop_timeout_s`; returns when it is gone."""
        if self.process is None:
            return
        self.ask_to_stop()
        try:
            self.process.wait(self.stop_timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def last_log_lines(self, count: int = 15) -> str:
        """The end of the log, to show why a start failed."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])

    def bound_log(self, bytes_max: int = LOG_BYTES_MAX) -> None:
        """Keep the log and one older part: copied aside and cut in place, since the child holds it open for appending."""
        if self.log.exists() and self.log.stat().st_size > bytes_max:
            shutil.copyfile(self.log, self.log.with_suffix(self.log.suffix + ".1"))
            os.truncate(self.log, 0)

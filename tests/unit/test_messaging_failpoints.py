from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared.failpoints import failpoint, mutant

ROOT = Path(__file__).parents[2]
PASS_TWICE = """
from shared.failpoints import failpoint
failpoint("worker.before_commit")
print(1, flush=True)
failpoint("worker.before_commit")
print(2)
"""


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PASS_TWICE], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_failpoints_do_nothing_unless_the_environment_names_them() -> None:
    failpoint("worker.before_commit")
    assert not mutant("no_id_guard")


def test_a_named_failpoint_ends_the_process_at_the_wanted_pass() -> None:
    ended = run(KEHU_FAILPOINT="worker.before_commit:2")
    assert (ended.returncode, ended.stdout.split()) == (137, ["1"])


def test_of_several_places_the_first_that_is_reached_strikes_and_is_noted(tmp_path: Path) -> None:
    noted = tmp_path / "strikes"
    armed = "worker.mark_pass_before_commit,worker.before_commit:2"
    ended = run(KEHU_FAILPOINT=armed, KEHU_FAILPOINT_STRIKES=str(noted))
    assert (ended.returncode, noted.read_text()) == (137, "worker.before_commit\n")


def test_unknown_names_are_refused_before_anything_runs() -> None:
    with pytest.raises(ValueError, match="no such failpoint"):
        failpoint("worker.nowhere")
    with pytest.raises(ValueError, match="no such mutant"):
        mutant("kindness")
    assert "no such failpoint" in run(KEHU_FAILPOINT="worker.nowhere").stderr


def test_a_failpoint_can_freeze_the_process_into_a_zombie() -> None:
    environment = {**os.environ, "KEHU_FAILPOINT": "worker.before_commit:1:freeze"}
    process = subprocess.Popen([sys.executable, "-c", PASS_TWICE], cwd=ROOT, env=environment, stdout=subprocess.PIPE)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    process.send_signal(signal.SIGCONT)
    assert process.communicate()[0].split() == [b"1", b"2"]

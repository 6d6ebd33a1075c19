"""Which places a restarted process is armed with."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from deploy.local.crash_plan import next_places, strikes, strikes_file

PLAN = "worker.before_commit,worker.before_commit:3,relay.takeover_before_publish"


def test_the_next_entry_of_every_place_is_armed_at_once() -> None:
    assert next_places(PLAN, Counter()) == "worker.before_commit,relay.takeover_before_publish"


def test_an_entry_is_used_up_by_a_strike_of_its_place_only() -> None:
    struck = Counter({"worker.before_commit": 1})
    assert next_places(PLAN, struck) == "worker.before_commit:3,relay.takeover_before_publish"


def test_a_plan_that_is_done_arms_nothing() -> None:
    assert next_places(PLAN, Counter({"worker.before_commit": 2, "relay.takeover_before_publish": 1})) == ""
    assert next_places("", Counter()) == ""


def test_strikes_are_counted_from_what_the_processes_left(tmp_path: Path) -> None:
    file = strikes_file(tmp_path, "dedup")
    assert strikes(file) == Counter()
    file.write_text("worker.before_commit\nrelay.takeover_before_publish\nworker.before_commit\n")
    assert strikes(file) == {"worker.before_commit": 2, "relay.takeover_before_publish": 1}

"""A proof must be able to fail: with one delivery rule broken the oracle finds exactly what that rule prevents.

Why a mutant is red matters: each is held against evidence of its own, the records in the topics and the rows that never filled.
The fourth, `no_offset_check`, cannot show in the whole stack: every service also guards by id, so what it repeats changes nothing there.
`tests/integration/test_messaging_crash.py` shows it on a handler without such a guard.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.report import report
from tests.chaos.scenario import Verdict, broken, run

pytestmark = [
    pytest.mark.long,
    pytest.mark.servers,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(os.environ.get("KEHU_MUTANT")), reason="the crash test itself runs with a mutant"),
]
SENT = broken("outbox_deleted_early").submissions
SUBMITTED, RESOLVED = "intake.submissions.v1", "dedup.identities.v1"


def _run(root: Path, mutant: str) -> Verdict:
    scenario = broken(mutant)
    verdict = run(scenario, root)
    print(report(scenario, verdict))
    return verdict


def test_an_outbox_deleted_early_loses_what_kafka_did_not_have_yet(tmp_path: Path) -> None:
    """Killed between the deletion and the acknowledgement, at the door's relay and at a worker's."""
    verdict = _run(tmp_path, "outbox_deleted_early")

    never_submitted = SENT - verdict.copies[SUBMITTED].distinct
    never_resolved = verdict.copies[SUBMITTED].distinct - verdict.copies[RESOLVED].distinct
    assert never_submitted > 0
    assert never_resolved > 0
    assert verdict.surplus("source records") == -never_submitted
    assert verdict.surplus("contributions, profile") == -(never_submitted + never_resolved)
    assert verdict.surplus("submissions, analytics") == -(never_submitted + never_resolved)


def test_without_the_guard_by_id_a_repeated_event_counts_twice(tmp_path: Path) -> None:
    """Killed between the acknowledgement and the deletion, so that the same events come once more at new offsets."""
    verdict = _run(tmp_path, "no_id_guard")

    doubled = verdict.surplus("submissions, analytics")
    assert 0 < doubled <= verdict.copies[RESOLVED].repeated
    assert verdict.surplus("submissions by channel and day") == doubled
    assert verdict.surplus("timeline items by kind") > 0
    assert verdict.surplus("contributions, analytics") == 0


def test_mere_existence_as_guard_loses_what_a_move_overtook(tmp_path: Path) -> None:
    """A move that comes before its submission leaves a stub; who takes it for the submission never counts it."""
    verdict = _run(tmp_path, "existence_as_guard")

    stubs = verdict.rows["contributions, analytics, stubs"]
    assert stubs > 0
    assert verdict.surplus("submissions, analytics") == -stubs
    assert verdict.surplus("timeline items by kind") == -verdict.rows["contributions, profile, stubs"] < 0
    assert verdict.surplus("source records") == 0

"""Nothing lost, nothing doubled, whatever dies. The verdict comes from an oracle that was only told what was sent.

`KEHU_MUTANT` breaks one rule: `KEHU_MUTANT=no_id_guard make crash-test` must be red.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from shared.failpoints import FAILPOINTS
from tests.chaos.places import named_elsewhere, plan, short_plan, wanted
from tests.chaos.report import report
from tests.chaos.scenario import Scenario, broken, run

MUTANT = os.environ.get("KEHU_MUTANT", "")
TIMES = 5


def test_every_failpoint_is_struck_by_the_crash_test_or_named_elsewhere() -> None:
    assert set(wanted(plan(TIMES))) == FAILPOINTS - named_elsewhere()
    assert set(wanted(plan(TIMES)).values()) == {TIMES}


@pytest.mark.servers
@pytest.mark.timeout(600)
def test_a_short_run_with_kills_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Every process is killed once, and services die again at named places."""
    scenario = Scenario(2_000, 300, kills=7, kill_pause_seconds=(0.5, 1.0), failpoints=short_plan(), send_pause_seconds=1.0)

    verdict = run(scenario, tmp_path)

    print(report(scenario, verdict))
    assert verdict.differences == []
    assert verdict.kills.total() == scenario.kills
    assert verdict.strikes == wanted(scenario.failpoints)


@pytest.mark.long
@pytest.mark.servers
@pytest.mark.timeout(3_600)
def test_twenty_kills_and_every_failpoint_leave_the_state_of_an_undisturbed_run(tmp_path: Path) -> None:
    """20,000 submissions and eight erasures; 20 kills over services, Kafka and mongod; every failpoint five times; same digest as without."""
    calm = Scenario(20_000, 3_000, leavers=8)
    disturbed = replace(calm, kills=20, kill_pause_seconds=(3.0, 6.0), failpoints=plan(TIMES), send_pause_seconds=2.0)
    if MUTANT:
        disturbed = broken(MUTANT)

    verdict = run(disturbed, tmp_path / "disturbed")
    print(report(disturbed, verdict))
    assert verdict.differences == []
    assert verdict.kills.total() == disturbed.kills
    assert verdict.strikes == wanted(disturbed.failpoints)

    undisturbed = run(calm, tmp_path / "undisturbed")
    print(report(calm, undisturbed))
    assert undisturbed.differences == []
    assert verdict.digest == undisturbed.digest

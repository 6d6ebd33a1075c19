"""Nothing lost, nothing doubled, whatever dies. The verdict comes from an oracle that was only told what was sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.scenario import Scenario, run

WORKER_PLACES = (
    "worker.fetched_before_transaction",
    "worker.after_handler_before_writes",
    "worker.after_first_write",
    "worker.before_commit",
    "worker.after_commit_before_relay",
    "worker.after_publish_before_outbox_delete",
    "worker.after_outbox_delete_before_hint",
    "worker.assignment_before_fence",
    "worker.assignment_after_fence_before_seek",
)
RELAY_PLACES = (
    "relay.after_claim_before_publish",
    "relay.after_publish_before_delete",
    "relay.takeover_before_publish",
)


def _chain(places: tuple[str, ...], rounds: int) -> list[str]:
    """Each place once per round; in later rounds it is passed a few times before it strikes."""
    return [f"{place}:{1 + 2 * number}" for number in range(rounds) for place in places]


@pytest.mark.servers
@pytest.mark.timeout(600)
def test_a_short_run_with_kills_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Every process is killed once, and each service dies again at named places."""
    chain = _chain(WORKER_PLACES[1:6], 1)
    scenario = Scenario(2_000, 300, kills=7, pause_seconds=(0.8, 1.5), failpoints={"dedup": chain, "profile": chain})

    verdict = run(scenario, tmp_path)

    assert verdict.differences == []
    assert sum(verdict.kills.values()) == 7
    assert verdict.restarts["dedup"] > 3


@pytest.mark.long
@pytest.mark.servers
@pytest.mark.timeout(3_600)
def test_twenty_kills_and_every_failpoint_leave_the_state_of_an_undisturbed_run(tmp_path: Path) -> None:
    """20,000 submissions; 20 kills over services, Kafka and mongod; every failpoint five times; same digest as without."""
    chain = _chain(WORKER_PLACES, 5)
    failpoints = {"dedup": chain, "profile": chain, "analytics": chain, "intake": _chain(RELAY_PLACES, 5)}
    disturbed = Scenario(20_000, 3_000, kills=20, pause_seconds=(3.0, 6.0), failpoints=failpoints)

    verdict = run(disturbed, tmp_path / "disturbed")
    undisturbed = run(Scenario(20_000, 3_000), tmp_path / "undisturbed")

    print(f"kills {verdict.kills}, restarts {verdict.restarts}, digest {verdict.digest[:16]}")
    assert verdict.differences == []
    assert undisturbed.differences == []
    assert verdict.digest == undisturbed.digest


@pytest.mark.long
@pytest.mark.servers
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("mutant", ["no_offset_check", "no_id_guard", "existence_as_guard", "outbox_deleted_early"])
def test_a_broken_rule_turns_the_verdict_red(mutant: str, tmp_path: Path) -> None:
    """A proof must be able to fail: with one delivery rule broken the oracle finds a difference, or the run never comes to rest."""
    chain = _chain(WORKER_PLACES[1:7], 3)
    scenario = Scenario(4_000, 400, kills=7, failpoints={"dedup": chain, "profile": chain, "analytics": chain}, mutant=mutant)

    try:
        verdict = run(scenario, tmp_path)
    except AssertionError:
        return

    assert verdict.differences != []

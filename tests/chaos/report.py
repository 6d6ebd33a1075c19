"""The report that a crash run prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tests.chaos.scenario import Scenario, Verdict


def report(scenario: Scenario, verdict: Verdict) -> str:
    """What was done to the stack, what came again on the way, and what the oracle says."""
    return "\n".join(
        [
            f"\n{scenario.submissions:,} submissions of {scenario.persons:,} people, {scenario.leavers} more people erased with "
            f"{verdict.certified:,} submissions, {verdict.seconds:.0f} s, seed {scenario.seed}{scenario.mutant and f', mutant {scenario.mutant}'}",
            f"  kill -9          {verdict.kills.total()}: {_counts(verdict.kills) or 'none'}",
            f"  failpoints       {len(verdict.strikes)} places, {verdict.strikes.total()} strikes",
            *(f"    {strikes:3d} x {name}" for name, strikes in sorted(verdict.strikes.items())),
            f"  restarts         {_counts(verdict.restarts)}",
            *(f"  {topic:24s} {each.distinct:,} events, {each.repeated:,} records repeated" for topic, each in verdict.copies.items()),
            f"  lost or doubled  {len(verdict.differences) or 'nothing'}",
            *(f"    {each}" for each in verdict.differences),
            f"  digest           {verdict.digest}",
        ]
    )


def _counts(counts: Mapping[str, int] | Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))

"""A run ends when what was accepted is counted, not when consumers see nothing before them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from deploy.local import arrival
from deploy.local.arrival import Look, NotAllCounted, Standing, until_counted

DONE = Standing(behind=0, outbox_documents=0, marks=0, analytics=9, profile=9)


@pytest.fixture(autouse=True)
def looks_follow_each_other_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrival, "LOOK_SECONDS", 0.0)


def looks(standings: Sequence[Standing]) -> Look:
    """One after the other; the last stays."""
    left = list(standings)

    async def look() -> Standing:
        return left.pop(0) if len(left) > 1 else left[0]

    return look


@pytest.mark.parametrize(
    "not_yet",
    [
        pytest.param(Standing(0, 0, 0, 9, 8), id="profile counted one less"),
        pytest.param(Standing(0, 0, 0, 8, 9), id="analytics counted one less"),
        pytest.param(Standing(0, 1, 0, 9, 9), id="an outbox document waits"),
        pytest.param(Standing(0, 0, 1, 9, 9), id="a mark waits"),
        pytest.param(Standing(3, 0, 0, 9, 9), id="records wait"),
    ],
)
async def test_a_run_goes_on_while_anything_is_missing_though_no_lag_may_be_seen(not_yet: Standing) -> None:
    # when
    seen = [each async for each in until_counted(looks([not_yet, not_yet, not_yet, DONE]), 9)]
    # then
    assert seen == [not_yet, not_yet, not_yet, DONE, DONE]


async def test_one_calm_look_between_two_others_ends_nothing() -> None:
    # given
    moving = Standing(0, 0, 1, 9, 9)
    # when
    seen = [each async for each in until_counted(looks([DONE, moving, DONE]), 9)]
    # then
    assert seen == [DONE, moving, DONE, DONE]


@pytest.mark.parametrize("counted", [8, 10])
async def test_a_run_fails_with_both_numbers_where_what_was_counted_stays_different(counted: int) -> None:
    # given
    short = Standing(0, 0, 0, counted, 9)
    # when / then
    with pytest.raises(NotAllCounted, match=f"9 accepted, but {counted} counted by analytics and 9 by profile"):
        async for _ in until_counted(looks([short]), 9, patience_seconds=0.01):
            pass

"""Steps of a request: what counts as getting on."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.privacy.domain.requests import ASKED_AGAIN, Request

OPENED = datetime(2026, 1, 1, tzinfo=UTC)


def test_asking_again_is_kept_once_and_does_not_hide_that_a_request_is_late():
    # given
    request = Request(UUID(int=1), "erasure", UUID(int=2), OPENED, "officer", "draining", OPENED, steps=(("opened", OPENED),))
    # when
    for minute in range(1, 100):
        request = request.with_step(ASKED_AGAIN, OPENED + timedelta(minutes=minute))
    # then
    assert [step for step, _ in request.steps] == ["opened", ASKED_AGAIN]
    assert request.steps[-1][1] == OPENED + timedelta(minutes=99)
    assert request.waiting_since == OPENED

"""What two sweeps prove, and which values are worth looking for. Pure rules; the whole command runs in tests/journey."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from deploy.local.proof.values import Said, said_in, telling, to_look_for
from deploy.local.proof.verdict import judge
from deploy.local.sweep.report import Hit, Report
from shared.contracts.submission import Behaviour, Contact, Feedback, Identifier, SubmissionBody

OWN, OTHER = uuid4(), uuid4()
PHONE, CITY = 0, 1


def hits(*found: tuple[str, int, UUID | None]) -> Report:
    return Report(hits={Hit(store, "clear" if key is None else "unsealed", f"{store}.place", canary, key) for store, canary, key in found})


BEFORE = hits(("mongodb", PHONE, OWN), ("kafka", PHONE, OWN), ("mongodb", CITY, OWN), ("mongodb", CITY, OTHER))


def test_it_is_proved_when_only_records_of_others_still_say_the_same() -> None:
    verdict = judge(2, BEFORE, hits(("mongodb", CITY, OTHER)), {OTHER})

    assert verdict.proved
    assert (verdict.alone, verdict.shared) == ({PHONE}, {CITY})


@pytest.mark.parametrize(
    "left",
    [
        pytest.param(("logs", PHONE, None), id="in clear"),
        pytest.param(("mongodb", PHONE, OTHER), id="sealed into somebody else's record"),
        pytest.param(("mongodb", CITY, uuid4()), id="under a key that held nothing of it before"),
        pytest.param(("kafka", CITY, OWN), id="by a key that should be gone"),
    ],
)
def test_whatever_is_left_anywhere_else_refutes_it(left: tuple[str, int, UUID | None]) -> None:
    verdict = judge(2, BEFORE, hits(left), {OTHER})

    assert not verdict.proved
    assert [hit.canary for hit in verdict.left] == [left[1]]


def test_a_search_that_never_reached_the_person_proves_nothing() -> None:
    assert judge(1, hits(("mongodb", PHONE, OWN)), hits(), set()).unseen == ("kafka",)
    assert not judge(1, hits(), hits(), set()).proved


def test_a_value_that_was_found_nowhere_before_is_no_proof() -> None:
    verdict = judge(3, BEFORE, hits(), {OTHER})

    assert verdict.unfound == {2}
    assert not verdict.proved


def test_a_person_of_whom_only_what_others_share_is_known_proves_nothing() -> None:
    shared = hits(("mongodb", CITY, OWN), ("kafka", CITY, OWN), ("mongodb", CITY, OTHER))

    assert not judge(1, shared, hits(("mongodb", CITY, OTHER)), {OTHER}).proved


def test_every_personal_value_of_a_body_is_looked_for_and_nothing_that_is_nobodys() -> None:
    body = SubmissionBody(
        message_id="form-2026-1",
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        identifiers=(Identifier("member_number", "M-100200"),),
        fields={"phone": "+8613800138000", "postcode": "100010", "newsletter": True},
        raw_fields={"phone": "138-0013-8000"},
        order_id="order-77",
        contact=Contact(medium="call", subject="a parcel", text="where is it?"),
        feedback=Feedback(text="好用", rating=9, product_code="cup"),
        behaviour=Behaviour(name="page_view", properties={"page": "/secret-garden", "seconds": 12}),
    )

    said, untold = to_look_for([body, body])

    assert {each.value for each in said} == {
        *{"form-2026-1", "M-100200", "+8613800138000", "138-0013-8000", "order-77", "a parcel", "where is it?", "好用", "/secret-garden"},
    }
    assert Said("fields.phone as sent", "138-0013-8000") in said
    assert untold == 2  # a postcode and a yes are met everywhere by chance
    assert not {"call", "cup", "page_view"} & {each.value for each in said_in(body)}


@pytest.mark.parametrize(("value", "says_something"), [("王伟", True), ("smith", False), ("smithy", True), ("10001000", False), ("1985-03-01", True)])
def test_a_value_tells_something_if_it_is_not_met_by_chance(value: str, says_something: bool) -> None:
    assert telling(value) is says_something

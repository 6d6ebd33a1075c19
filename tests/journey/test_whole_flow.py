"""A person's whole way through the installation: in by the public door, known, counted, shown, handed over, and forgotten.

Everything is real: all five services, Kafka, and MongoDB with a user for each service.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from deploy.local.stack import Stack
from deploy.local.throwaway_stack import running_stack
from services.privacy.proof import verify_certificate
from shared.sealing import LocalKeyFile
from tests.journey.house import House
from tests.journey.people import Person

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("journey")) as running:
        yield running


@pytest.fixture(scope="module")
def house(stack: Stack) -> Iterator[House]:
    opened = House(stack)
    yield opened
    opened.close()


def canaries_of(*people: Person) -> list[str]:
    return [canary for person in people for canary in person.canaries]


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was erased.

    Attributes:
        canaries: all that was ever said about them.
        halves: the two customers that the merged person was.
        requests: by person, closed.
        living: somebody who was not erased.
    """

    people: list[Person]
    canaries: list[str]
    submission_ids: list[str]
    halves: list[str]
    requests: list[str]
    living: Person


def test_submissions_that_spell_a_person_differently_become_one_customer_whom_everybody_sees_as_their_role_may(house: House) -> None:
    # given
    person, before = Person(), house.kpis()
    # when
    first, *others = person.life()
    submission_ids = [house.submit(first), *house.submit_all(others)]
    house.wait_until_settled(submission_ids)
    # then
    [customer_id] = set(house.customers_of(submission_ids))
    after = house.kpis()
    gained = {name: after[name] - before[name] for name in ("customers", "submissions", "orders", "buyers")}
    assert gained == {"customers": 1, "submissions": 4, "orders": 1, "buyers": 1}
    assert after["revenue_minor"]["CNY"] - before["revenue_minor"].get("CNY", 0) == 11_980
    assert house.steps(submission_ids[0]) == {
        "intake": ["accepted", "published"],
        "dedup": ["resolved"],
        "profile": ["applied"],
        "analytics": ["counted"],
        "privacy": ["consents_recorded"],
    }
    [clear], [masked] = house.look_up("steward", person.full_width_phone), house.look_up("front_desk", person.spaced_phone)
    assert clear["customer_id"] == masked["customer_id"] == customer_id
    assert clear["order_count"] == 1
    assert {name: clear["fields"][name]["value"] for name in ("name", "phone", "note")} == {
        "name": person.name,
        "phone": f"+86{person.phone}",
        "note": person.note,
    }
    assert clear["fields"]["email"]["value"].lower() == person.email
    assert masked["fields"]["phone"] == {"value": f"***{person.phone[-4:]}", "masked": True}
    assert masked["fields"]["email"]["value"].lower() == f"{person.mailbox[0]}***@example.com"


def test_what_was_accepted_is_what_analytics_and_profile_have_counted_and_one_that_never_came_is_missed(house: House) -> None:
    # given
    person = Person()
    # when
    standing, refusal = house.arrived(lambda: house.submit_all(person.life()))
    # then
    assert (standing.analytics, standing.profile, standing.is_calm) == (4, 4, True)
    assert "5 accepted, but 4 counted by analytics and 4 by profile" in refusal


def test_what_is_refused_does_not_count_and_is_not_repeated_in_the_answer(house: House) -> None:
    # given
    refused, good, before = Person(), Person(), house.kpis()
    # when
    alone = house.knock("/v1/submissions", refused.private_life())
    batch = house.knock("/v1/submissions:batch", {"submissions": [refused.private_life(), refused.broken_email(), good.profile()]})
    items = batch.json()["items"]
    house.wait_until_settled([items[2]["submission_id"]])
    # then
    assert (alone.status_code, alone.json()["code"], alone.json()["field"]) == (422, "forbidden_field", "fields.religion")
    assert [item["status"] for item in items] == ["refused", "refused", "accepted"]
    answers = alone.text + batch.text
    assert [canary for canary in refused.canaries if canary in answers] == []
    assert house.kpis()["submissions"] == before["submissions"] + 1
    assert house.kpis()["customers"] == before["customers"] + 1
    assert house.look_up("steward", refused.phone) == []


@pytest.fixture(scope="module")
def erasure(house: House) -> Erasure:
    """Somebody plain, somebody who was two customers first, and somebody who sends a word right before the wish, all erased."""
    plain, merged, late, living, last_word = Person(), Person(), Person(), Person(), Person()
    plain_ids, late_ids, living_ids = (house.submit_all(person.life()) for person in (plain, late, living))
    merged_ids = house.submit_all([merged.order(), merged.feedback()])
    house.wait_until_settled([*plain_ids, *late_ids, *living_ids, *merged_ids])
    halves = house.customers_of(merged_ids)
    merged_ids += house.submit_all([merged.profile(), merged.call()])
    house.wait_until_settled(merged_ids)
    [survivor] = set(house.customers_of(merged_ids))
    [absorbed] = set(halves) - {survivor}
    named = [house.customers_of(plain_ids)[0], absorbed, house.customers_of(late_ids)[0]]
    late_ids.append(house.submit(late.call() | {"contact": {"medium": "mail", "text": last_word.talk}}))
    requests = [house.open_request("erasure", customer) for customer in named]
    for request in requests:
        house.wait_for_request(request, "closed")
    submission_ids = [*plain_ids, *merged_ids, *late_ids]
    house.wait_until_forgotten(submission_ids)
    canaries = [*canaries_of(plain, merged, late), last_word.talk]
    return Erasure([plain, merged, late], canaries, submission_ids, halves, requests, living)


def test_a_certificate_proves_the_erasure_offline_and_covers_every_id_the_person_ever_had(house: House, stack: Stack, erasure: Erasure) -> None:
    # given
    public_key = LocalKeyFile.open(stack.places.keys).public_key
    # when
    plain, merged, late = (house.answer_to(request, "certificate") for request in erasure.requests)
    # then
    assert all(verify_certificate(each, public_key) for each in (plain, merged, late))
    assert not verify_certificate(plain | {"certificate": merged["certificate"]}, public_key)
    assert set(erasure.halves) <= set(merged["certificate"]["scope"]["customers"])
    assert sum(each["certificate"]["keys"]["count"] for each in (plain, merged, late)) >= len(erasure.submission_ids)


def test_an_erased_person_is_known_to_nobody_and_the_figures_stay_exact(house: House, erasure: Erasure) -> None:
    # when
    seen = [house.look_up("steward", person.phone) for person in erasure.people]
    told = [house.steps(each) for each in erasure.submission_ids]
    counters, anew = house.wait_for_figures()
    # then
    assert seen == [[], [], []]
    assert [[each[service] for service in ("dedup", "profile", "analytics")] for each in told] == [[["erased"]] * 3] * len(told)
    assert {each["intake"][-1] for each in told} == {"erased"}
    assert set(house.customers_of(erasure.submission_ids)) == {None}
    assert counters == anew


def test_no_key_that_is_left_opens_anything_of_the_erased_and_nobody_is_anywhere_in_clear(house: House, erasure: Erasure) -> None:
    # given
    refused = Person()
    house.knock("/v1/submissions:batch", {"submissions": [refused.private_life(), refused.broken_email()]})
    gone = [*erasure.canaries, *refused.canaries]
    canaries = [*gone, *erasure.living.canaries]
    # when
    report = house.sweep(canaries)
    # then
    assert {hit for hit in report.hits if hit.canary < len(gone)} == set()
    assert report.found("raw") == report.found("clear") == set()
    # then: the same sweep does find who stays, and has looked everywhere
    for store in ("mongodb", "kafka"):
        assert {canaries[hit.canary] for hit in report.found("unsealed", store)} == set(erasure.living.canaries)
    assert all(report.visited[store]["file_bytes"] > 0 for store in ("mongodb", "kafka", "logs"))


def test_an_access_export_holds_all_of_the_person_and_nothing_of_others(house: House) -> None:
    # given
    person, other = Person(), Person()
    submission_ids = house.submit_all([*person.life(), *other.life()])
    house.wait_until_settled(submission_ids)
    # when
    request = house.open_request("access", house.customers_of(submission_ids)[0])
    house.wait_for_request(request, "ready")
    export = json.dumps(house.answer_to(request, "export"), ensure_ascii=False)
    # then
    assert [canary for canary in person.canaries if canary not in export] == []
    assert [canary for canary in other.canaries if canary in export] == []

"""The rules of identity by example."""

from __future__ import annotations

import pytest

from services.dedup.domain.clustering import cluster
from services.dedup.domain.model import Signature, generic_tokens
from services.dedup.use_cases.read_signatures import full_name, rules_of
from shared.contracts.submission import SubmissionBody
from shared.policy import load_catalogue
from tests.dedup_world import NOON, RULES, signature, token


def groups(*signatures: Signature) -> list[set[bytes]]:
    found = cluster(signatures, RULES, generic_tokens(signatures, RULES))
    return [{each.id for each in members} for members in found.clusters]


def together(*signatures: Signature) -> bool:
    return len(groups(*signatures)) == 1


def test_a_shared_phone_joins_records_that_do_not_contradict_each_other() -> None:
    assert together(signature("phone:a", name="anna"), signature("phone:a", "email:a"), signature("email:a", name="anna"))


def test_a_family_phone_does_not_merge_people_with_other_names() -> None:
    anna, ben = signature("phone:a", name="anna"), signature("phone:a", name="ben")

    assert not together(anna, ben)


def test_a_shared_phone_still_joins_those_who_give_the_same_name() -> None:
    anna, ben = signature("phone:a", name="anna"), signature("phone:a", name="ben")
    anna_again = signature("phone:a", "email:a", name="anna")

    assert {anna.id, anna_again.id} in groups(anna, ben, anna_again)


def test_namesakes_with_other_birth_dates_stay_apart() -> None:
    assert not together(signature("phone:a", name="anna", birth="1960"), signature("phone:a", name="anna", birth="1990"))


def test_a_personal_identifier_outranks_a_misspelt_name() -> None:
    assert together(signature("external_id/shop:1", name="anna"), signature("external_id/shop:1", name="ana"))


def test_different_member_numbers_never_merge_whatever_else_they_share() -> None:
    first = signature("member_number:1", "external_id/shop:1", "phone:a", "email:a", name="anna")
    second = signature("member_number:2", "external_id/shop:1", "phone:a", "email:a", name="anna")

    found = cluster([first, second], RULES)

    assert len(found.clusters) == 2
    assert {token("external_id/shop:1"), token("phone:a"), token("email:a")} == found.contested


def test_different_member_numbers_do_not_merge_through_a_third_record() -> None:
    first, second = signature("member_number:1", "email:a"), signature("member_number:2", "phone:a")

    found = groups(first, signature("email:a", "phone:a"), second)

    assert all(not {first.id, second.id} <= each for each in found)


def test_the_same_value_in_another_namespace_is_another_identifier() -> None:
    assert not together(signature("external_id/shop:1"), signature("external_id/desk:1"))


def test_a_phone_that_too_many_people_give_links_nobody() -> None:
    crowd = [signature("phone:a", name=name) for name in ("anna", "ben", "carl")]
    anna_again = signature("phone:a", "email:a", name="anna")

    assert len(groups(*crowd, anna_again)) == 4


def test_an_id_that_too_many_differently_named_people_give_was_made_up_and_links_nobody() -> None:
    crowd = [signature("external_id/shop:1", f"phone:{name}", name=name) for name in ("anna", "ben", "carl")]
    anna_elsewhere = signature("phone:anna", name="anna")

    assert sorted(map(len, groups(*crowd, anna_elsewhere))) == [1, 1, 2]


def test_an_id_of_too_many_nameless_records_that_have_nothing_else_in_common_links_nobody() -> None:
    crowd = [signature("member_number:1", f"phone:{number}") for number in range(3)]

    assert len(groups(*crowd)) == 3


def test_records_that_say_nothing_but_an_id_stay_one_person_however_many_they_are() -> None:
    assert together(*(signature("external_id/shop:1", birth=str(year)) for year in range(9)))


def test_submissions_without_any_identifier_have_signatures_of_their_own() -> None:
    assert signature(name="anna", number=1).id != signature(name="anna", number=2).id


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": "Anna  SMITH"}, "anna smith"),
        ({"name": "Smith, Anna"}, "anna smith"),
        ({"given_name": "Anna", "family_name": "Smith"}, "anna smith"),
        ({"given_name": "伟", "family_name": "张"}, "张伟"),
        ({"name": "张伟"}, "张伟"),
        ({"given_name": "Anna"}, ""),
        ({}, ""),
    ],
)
def test_a_full_name_is_compared_without_case_spaces_or_order_of_words(fields: dict[str, str | int | float | bool], expected: str) -> None:
    assert full_name(SubmissionBody(occurred_at=NOON, fields=fields)) == expected


def test_the_catalogue_gives_every_identifier_a_rule() -> None:
    rules = rules_of(load_catalogue())

    assert rules["member_number"].values_max == 1
    assert rules["external_id"].personal
    assert not rules["phone"].personal
    assert rules["member_number"].rank < rules["phone"].rank < rules["email"].rank

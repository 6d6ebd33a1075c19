"""Which customer goes on where, and what is read from sealed bodies."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import cast
from uuid import UUID

import msgspec

from services.dedup.domain.clustering import cluster
from services.dedup.domain.model import Entity, Placed, Signature
from services.dedup.domain.resolution import Cluster, plan
from services.dedup.use_cases.read_signatures import ReadSignatures, rules_of
from shared.contracts.submission import Identifier, SubmissionBody
from shared.policy import load_catalogue
from shared.sealing import BlindIndex, DataKey, KeyRing, MemoryKeyProvider, body_aad
from tests.dedup_world import NOON, envelope, record_of, signature, submission_id

SMALL, LARGE, THIRD = (UUID(int=number) for number in (1, 2, 3))
NEW = UUID(int=9)
ENTITIES = {SMALL: Entity(SMALL, 3, 1), LARGE: Entity(LARGE, 1, 5), THIRD: Entity(THIRD, 7, 5)}


def placed(number: int, customer: UUID) -> Placed:
    return Placed(signature(f"phone:{number}"), customer, submission_id(number), 1)


def merged(*old: Placed, new: tuple[Signature, ...] = ()) -> Cluster:
    return Cluster(old, new, NEW)


def test_the_customer_with_most_submissions_survives_a_merge_then_the_lower_id() -> None:
    decided = plan([merged(placed(1, SMALL), placed(2, LARGE), placed(3, THIRD))], ENTITIES)

    assert decided.customers == (LARGE,)
    assert [(move.source, move.target, move.absorbed) for move in decided.moves] == [(SMALL, LARGE, True), (THIRD, LARGE, True)]


def test_a_moves_number_is_one_more_than_every_version_it_touches() -> None:
    assert plan([merged(placed(1, SMALL), placed(2, LARGE))], ENTITIES).assignment == 8


def test_a_customer_that_falls_apart_goes_on_where_most_of_its_signatures_are() -> None:
    few, most = merged(placed(1, LARGE)), merged(placed(2, LARGE), placed(3, LARGE))

    decided = plan([few, most], {LARGE: ENTITIES[LARGE]})

    assert decided.customers == (NEW, LARGE)
    assert [(move.source, move.target, move.absorbed) for move in decided.moves] == [(LARGE, NEW, False)]


def test_a_customer_of_whom_nothing_is_left_becomes_an_alias_of_where_most_of_it_went() -> None:
    first = merged(placed(1, SMALL), placed(2, LARGE))
    second = merged(placed(3, SMALL), placed(4, SMALL), placed(5, THIRD))

    decided = plan([first, second], ENTITIES)

    assert {(move.target, move.absorbed) for move in decided.moves if move.source == SMALL} == {(LARGE, False), (THIRD, True)}


def test_who_is_new_founds_a_customer_and_moves_nobody() -> None:
    decided = plan([merged(new=(signature("phone:1"),))], {})

    assert (decided.customers, decided.moves) == ((NEW,), ())


class Keys:
    def __init__(self, keys: dict[UUID, DataKey | None]) -> None:
        self.keys = keys

    async def open(self, key_ids: Iterable[UUID]) -> dict[UUID, DataKey | None]:
        return {each: self.keys[each] for each in key_ids}


async def test_destroyed_keys_are_counted_as_suppressed_and_broken_seals_are_named() -> None:
    key = DataKey(os.urandom(32))
    plain = msgspec.json.encode(SubmissionBody(occurred_at=NOON, identifiers=(Identifier("phone", "+8613800138000"),)))
    good, gone, swapped, unread = (submission_id(number) for number in range(4))
    submissions = [
        envelope(0, key.seal(plain, body_aad(good, 1))),
        envelope(1, key.seal(plain, body_aad(gone, 1))),
        envelope(2, key.seal(plain, body_aad(good, 1))),  # somebody else's body
        envelope(3, key.seal(b"[]", body_aad(unread, 1))),
    ]
    keys = Keys({good: key, gone: None, swapped: key, unread: key})
    read = ReadSignatures(cast(KeyRing, keys), BlindIndex(MemoryKeyProvider()), load_catalogue())

    opened = await read([record_of(each, offset) for offset, each in enumerate(submissions)])

    assert [submission.submission_id for _, submission, _ in opened.signatures] == [good]
    assert opened.suppressed == 1
    assert [(record.offset, reason) for record, reason in opened.broken] == [(2, "seal_broken"), (3, "body_does_not_fit")]


def test_shared_mailboxes_and_made_up_numbers_give_no_key_and_namespaces_tell_values_apart() -> None:
    read = ReadSignatures(cast(KeyRing, None), BlindIndex(MemoryKeyProvider()), load_catalogue())
    body = SubmissionBody(
        occurred_at=NOON,
        identifiers=(
            Identifier("email", "info@shop.example"),
            Identifier("phone", "+8613812345678"),
            Identifier("external_id", "7", "shop"),
            Identifier("external_id", "7", "desk"),
            Identifier("external_id", "N/A", "shop"),
            Identifier("member_number", "0000"),
            Identifier("fax", "7"),
        ),
    )

    found = read.signature(envelope(0), body)

    assert {each.kind for each in found.keys} == {"external_id/shop", "external_id/desk"}
    assert len({each.token for each in found.keys}) == 2


def test_the_limits_in_force_are_the_catalogues_and_no_others() -> None:
    catalogue = load_catalogue()

    rules = rules_of(catalogue)

    assert rules["member_number"].values_max == 1
    assert {name: (rule.holders_max, rule.values_max, rule.rank) for name, rule in rules.items()} == {
        name: (
            each.holders_per_value_max if each.customers_per_value_max == 1 else each.customers_per_value_max,
            each.values_per_customer_max,
            each.trust_rank,
        )
        for name, each in catalogue.identifiers.items()
    }


def test_a_raised_limit_in_the_catalogue_lets_a_customer_hold_more() -> None:
    catalogue = load_catalogue()
    roomy = catalogue.identifiers["phone"].model_copy(update={"values_per_customer_max": 11})
    joined = [signature("member_number:1", f"phone:{number}") for number in range(11)]

    held = cluster(joined, rules_of(catalogue)).clusters
    raised = cluster(joined, rules_of(catalogue.model_copy(update={"identifiers": {**catalogue.identifiers, "phone": roomy}}))).clusters

    assert (len(held) > 1, len(raised)) == (True, 1)

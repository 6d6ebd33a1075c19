from __future__ import annotations

from collections import Counter
from uuid import RFC_4122

from shared.sealing import SLOTS, BlindIndex, MemoryKeyProvider, slot_of, submission_id

PROVIDER = MemoryKeyProvider()
INDEX = BlindIndex(PROVIDER)


def test_equal_values_give_equal_tokens() -> None:
    assert INDEX.token("phone", "+8613800138000") == INDEX.token("phone", "+8613800138000")


def test_type_and_namespace_tell_values_apart() -> None:
    tokens = {INDEX.token("a", "x"), INDEX.token("b", "x"), INDEX.token("a", "x", "n"), INDEX.token("a", "nx"), INDEX.token("an", "x")}
    assert len(tokens) == 5


def test_the_suppression_list_cannot_be_joined_with_the_index() -> None:
    assert BlindIndex(PROVIDER, "suppression").token("phone", "1") != INDEX.token("phone", "1")


def test_another_installation_gives_other_tokens_and_ids() -> None:
    other = MemoryKeyProvider()
    assert BlindIndex(other).token("phone", "1") != INDEX.token("phone", "1")
    assert submission_id(other, "web", "m1") != submission_id(PROVIDER, "web", "m1")


def test_a_repeated_message_gets_the_same_id_and_another_channels_does_not() -> None:
    assert submission_id(PROVIDER, "web", "m1") == submission_id(PROVIDER, "web", "m1")
    assert submission_id(PROVIDER, "web", "m1") != submission_id(PROVIDER, "we", "bm1")


def test_without_a_message_id_every_submission_gets_its_own() -> None:
    assert submission_id(PROVIDER, "web", "") != submission_id(PROVIDER, "web", "")


def test_a_submission_id_is_a_version_8_uuid() -> None:
    made = submission_id(PROVIDER, "web", "m1")
    assert (made.version, made.variant) == (8, RFC_4122)


def test_submissions_fill_the_slots_evenly() -> None:
    """Chi-squared over 4,096 slots: mean 4,095, standard deviation about 90; six deviations never happen by chance."""
    made = 80_000
    slots = Counter(slot_of(submission_id(PROVIDER, "web", str(number))) for number in range(made))
    expected = made / SLOTS
    chi_squared = sum((slots[slot] - expected) ** 2 / expected for slot in range(SLOTS))
    assert abs(chi_squared - (SLOTS - 1)) < 6 * (2 * (SLOTS - 1)) ** 0.5


def test_a_bucket_is_too_coarse_to_name_anybody() -> None:
    assert len(INDEX.bucket("+8613800138000")) == 2


def test_lone_surrogates_make_no_error() -> None:
    assert len(INDEX.token("name", "\ud800")) == 16

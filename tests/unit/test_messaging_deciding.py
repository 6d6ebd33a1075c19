from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

import pytest

from shared.contracts.dedup import SubmissionsErased
from shared.contracts.event import Decoder
from shared.messaging.deciding import sort_out
from shared.messaging.fetching import BYTES_MAX, RECORDS_MAX, bounded
from shared.messaging.outbox import DOCUMENT_BYTES_MAX, Message, documents, messages_of
from shared.messaging.partitioner import partition_of
from shared.messaging.record import TOMBSTONE, Record, decode
from shared.messaging.share_limit import Share, ShareLimit, TooManyDeadLetters


@dataclass
class Raw:
    offset: int
    key: bytes | None = b"k"
    value: bytes | None = b""
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    timestamp: int = 0


def good(offset: int, key: bytes = b"k") -> tuple[Raw, Record]:
    return Raw(offset, key), Record(TOMBSTONE, key, offset, UUID(int=offset), None, None, 0)


def offsets(raws: object) -> list[int]:
    return [each.offset for each in raws]  # type: ignore[attr-defined]


def test_later_records_of_a_bad_key_are_parked_and_other_keys_go_on() -> None:
    decoded = [good(0), good(1, b"other"), (Raw(2), "body_does_not_fit"), good(3), good(4, b"other")]

    result = sort_out(decoded, {}, frozenset(), park=True)

    assert offsets(result.good) == [0, 1, 4]
    assert [(raw.offset, reason) for raw, reason in result.dead] == [(2, "body_does_not_fit")]
    assert offsets(result.parked) == [3]


def test_without_parking_only_the_bad_record_is_set_aside() -> None:
    result = sort_out([good(0), (Raw(1), "unknown_event"), good(2)], {}, frozenset(), park=False)

    assert (offsets(result.good), [raw.offset for raw, _ in result.dead], result.parked) == ([0, 2], [1], [])


def test_a_key_that_is_blocked_already_parks_even_its_bad_records() -> None:
    """A bad record behind another is judged again when its turn comes, so that the order of the key holds."""
    result = sort_out([good(5), (Raw(6), "unknown_event")], {}, frozenset({b"k"}), park=True)

    assert (result.good, result.dead, offsets(result.parked)) == ([], [], [5, 6])


def test_an_erasure_is_not_held_up_by_a_dead_letter_of_its_key_and_frees_the_key() -> None:
    erased = SubmissionsErased(request_id=UUID(int=1), customer_id=UUID(int=2), submission_ids=(), part=1, parts=1)
    decoded = [good(5), (Raw(6), "unknown_event"), (Raw(7), Record(erased, b"k", 7, UUID(int=7), None, None, 0)), good(8), good(9, b"other")]

    result = sort_out(decoded, {}, frozenset({b"k", b"other"}), park=True)

    assert offsets(result.good) == [5, 7, 8]
    assert [raw.offset for raw, _ in result.dead] == [6]
    assert offsets(result.parked) == [9]


def test_what_a_handler_rejected_is_dead_with_its_code() -> None:
    result = sort_out([good(0), good(1)], {0: "refused"}, frozenset(), park=False)

    assert ([(raw.offset, reason) for raw, reason in result.dead], offsets(result.good)) == ([(0, "refused")], [1])


def test_an_empty_value_decodes_to_a_tombstone() -> None:
    raw = Raw(1, value=None, headers=[("ce_id", b"00000000-0000-0000-0000-000000000001")])

    record = decode(raw, Decoder(()))

    assert isinstance(record, Record)
    assert record.event is TOMBSTONE


def test_a_batch_is_cut_by_count_and_by_bytes_and_keeps_every_record() -> None:
    many = [Raw(number) for number in range(RECORDS_MAX + 1)]
    large = [Raw(number, value=b"x" * (BYTES_MAX // 2 + 1)) for number in range(3)]

    assert [len(each) for each in bounded(many)] == [RECORDS_MAX, 1]
    assert [offsets(each) for each in bounded(large)] == [[0], [1], [2]]
    assert list(bounded([])) == []


def test_outbox_documents_stay_below_the_limit_and_sort_in_order() -> None:
    messages = [Message("topic", b"key", bytes([number]) * 1_000_000, [("ce_id", b"%d" % number)]) for number in range(20)]

    stored = documents("group:topic:00000:1", {"partition": 0}, messages)

    assert len(stored) == 3
    assert all(len(each["messages"]) < DOCUMENT_BYTES_MAX + 1_100_000 for each in stored)
    assert sorted(each["_id"] for each in stored) == [each["_id"] for each in stored]
    assert [message for each in stored for message in messages_of(each)] == messages


def test_a_key_stays_in_its_partition() -> None:
    """The value is fixed for good: a change would send a customer's events to another partition."""
    assert [partition_of(bytes([number] * 16), 12) for number in range(6)] == [1, 3, 4, 6, 6, 4]


def test_mostly_bad_input_is_refused_only_when_there_is_enough_of_it() -> None:
    share = ShareLimit()
    share.check(999, 999)
    share.put(0, Share(450, 200))
    share.put(1, Share(450, 200))
    share.check(100, 50)
    with pytest.raises(TooManyDeadLetters):
        share.check(100, 101)


def test_once_the_code_is_mended_good_batches_go_on_whatever_was_before() -> None:
    share = ShareLimit()
    share.put(0, Share(990, 990))

    share.check(500, 3)

    with pytest.raises(TooManyDeadLetters):
        share.check(20, 11)


def test_dead_letters_that_somebody_has_dealt_with_are_held_against_nobody() -> None:
    share = ShareLimit()
    share.put(0, Share(1_500, 990).forgiving(dead_letters=12))

    share.check(20, 20)


def test_what_is_counted_loses_weight_and_so_never_grows_without_end() -> None:
    share = Share()
    for _ in range(1_000):
        share = share.after(500, 500)

    assert share.records == share.bad <= 2_000

"""The certificate and the audit chain: any changed byte shows."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

import pytest

from services.privacy.domain.audit import GENESIS, Entry, digest_of, first_break
from services.privacy.domain.certificate import first_revision, second_revision, signed, slot_of, verify

CLOSED = datetime(2026, 1, 1, tzinfo=UTC)
PUBLIC = b"p" * 32


def fake_sign(message):
    return sha256(PUBLIC + message).digest()


def fake_check(message, signature, public_key):
    return signature == sha256(public_key + message).digest()


KEYS = (UUID(int=1), UUID(int=2 << 116))


def certificate(keys=KEYS):
    return first_revision(
        request_id=UUID(int=7), scope=[UUID(int=8)], holders={"dedup": {"source_records": 2}}, waited_for=["intake a"], key_ids=keys,
        requested_at=CLOSED, closed_at=CLOSED, position=1, previous=GENESIS,
    )  # fmt: skip


def test_a_certificate_verifies_offline_and_any_changed_member_fails():
    document = signed(certificate(), sign=fake_sign, public_key=PUBLIC)
    assert verify(json.loads(json.dumps(document)), check=fake_check, public_key=PUBLIC)
    for member in document["certificate"]:
        forged = {**document, "certificate": {**document["certificate"], member: "forged"}}
        assert not verify(forged, check=fake_check, public_key=PUBLIC)


@pytest.mark.parametrize(
    "document", [{}, {"certificate": {}}, {"certificate": {}, "signature": "x"}, {"certificate": 1, "signature": {"value": "zz"}}]
)
def test_something_that_is_no_certificate_is_refused_without_an_error(document):
    assert not verify(document, check=fake_check, public_key=PUBLIC)


def test_a_certificate_signed_by_another_key_fails():
    assert not verify(signed(certificate(), sign=fake_sign, public_key=PUBLIC), check=fake_check, public_key=b"q" * 32)


def test_the_second_revision_supersedes_the_first():
    first = certificate()
    second = second_revision(first, rotated_at=CLOSED + timedelta(seconds=5), position=2, previous="x")
    assert second["supersedes"] == digest_of(first)
    assert second["unrecoverable_at"] == (CLOSED + timedelta(seconds=5)).isoformat()


def test_key_ids_appear_as_hashes_and_slots_only():
    body = certificate()
    assert body["keys"]["count"] == 2
    assert body["keys"]["slots"] == [0, 2]
    assert str(UUID(int=2 << 116)) not in json.dumps(body)
    assert slot_of(UUID(int=0xFFF << 116)) == 4095


def chain(length):
    entries, previous = [], GENESIS
    for position in range(1, length + 1):
        entry = Entry(position, previous, "closed", str(UUID(int=position)), "d", CLOSED.isoformat())
        entries.append((entry, entry.hash))
        previous = entry.hash
    return entries, {"position": length, "hash": previous}


def test_a_whole_chain_has_no_break():
    assert first_break(*chain(5)) is None
    assert first_break(*chain(0)) is None


@pytest.mark.parametrize("position", range(1, 6))
def test_an_edited_a_dropped_and_a_cut_off_entry_are_named(position):
    entries, head = chain(5)
    edited = list(entries)
    edited[position - 1] = (replace(entries[position - 1][0], kind="forged"), entries[position - 1][1])
    assert first_break(edited, head) == position
    assert first_break(entries[: position - 1] + entries[position:], head) == position
    assert first_break(entries[: position - 1], head) == position

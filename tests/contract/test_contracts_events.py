"""The published shapes: files, samples of every version, and how records are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import msgspec
import pytest

from shared.contracts.asyncapi import asyncapi_document
from shared.contracts.event import Decoder, UnknownEvent, encode_body
from shared.contracts.schemas import SCHEMA_FOLDER, SEALED_BODIES, all_schemas, as_text, event_schema, events, incompatibilities
from shared.contracts.topics import IDENTITIES, SUBSCRIPTIONS, TOPICS

SAMPLES = Path(__file__).with_name("samples")
DECODER = Decoder(events())


def sample(event_type: str) -> bytes:
    return (SAMPLES / f"{event_type}.json").read_bytes()


@pytest.mark.parametrize("name", sorted(all_schemas()))
def test_the_stored_schema_is_the_codes_schema(name: str) -> None:
    stored = (SCHEMA_FOLDER / f"{name}.json").read_text("utf-8")
    assert stored == as_text(all_schemas()[name]), "run `python -m shared.contracts.generate`"


def test_every_stored_schema_is_still_published() -> None:
    assert {file.stem for file in SCHEMA_FOLDER.glob("*.json")} == set(all_schemas())


OLD: dict[str, Any] = {
    "properties": {"a": {"type": "string"}, "b": {"$ref": "#/$defs/B"}},
    "required": ["a"],
    "$defs": {"B": {"properties": {"c": {"type": "integer"}}, "required": []}},
}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"properties": {"b": {"$ref": "#/$defs/B"}}}, "a: removed"),
        ({"properties": {"a": {"type": "integer"}, "b": {"$ref": "#/$defs/B"}}}, "a: retyped"),
        ({"required": ["a", "b"]}, "b: newly required"),
        ({"$defs": {"B": {"properties": {"c": {"type": "string"}}, "required": []}}}, "B.c: retyped"),
        ({"$defs": {"B": {"properties": {"c": {"type": "integer"}}, "required": ["c"]}}}, "B.c: newly required"),
    ],
)
def test_a_change_that_readers_cannot_follow_is_named(change: dict[str, Any], problem: str) -> None:
    assert incompatibilities(OLD, OLD | change) == [problem]


def test_a_new_optional_member_is_a_compatible_change() -> None:
    assert not incompatibilities(OLD, OLD | {"properties": OLD["properties"] | {"d": {"type": "string", "description": "new"}}})


@pytest.mark.parametrize("event_type", events(), ids=lambda event: event.type)
def test_the_sample_of_every_version_is_read_and_written_unchanged(event_type: type) -> None:
    stored = sample(event_type.type)
    event = DECODER({"ce_type": event_type.type.encode()}, stored)
    assert type(event) is event_type
    assert json.loads(encode_body(event) or b"") == json.loads(stored)
    jsonschema.validate(json.loads(stored), event_schema(event_type), cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("name", sorted(SEALED_BODIES))
def test_the_sample_of_every_sealed_body_is_read_and_written_unchanged(name: str) -> None:
    stored = sample(name)
    assert json.loads(msgspec.json.encode(msgspec.json.decode(stored, type=SEALED_BODIES[name]))) == json.loads(stored)


def test_members_from_a_later_version_are_ignored() -> None:
    later = json.loads(sample("dedup.customers-merged.v1")) | {"added_later": [1]}
    event = DECODER({"ce_type": b"dedup.customers-merged.v1"}, json.dumps(later).encode())
    assert event == DECODER({"ce_type": b"dedup.customers-merged.v1"}, sample("dedup.customers-merged.v1"))


@pytest.mark.parametrize("headers", [{}, {"ce_type": b"dedup.nobody-knows.v1"}, {"ce_type": b"profile.customer-changed.v1"}])
def test_an_event_that_the_topic_does_not_carry_is_unknown(headers: dict[str, bytes]) -> None:
    with pytest.raises(UnknownEvent):
        Decoder(IDENTITIES.events)(headers, b"{}")


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b"{}", b"\xff", b'{"merge_id": "x"}', b"[" * 5_000])
def test_a_body_that_does_not_fit_is_a_decode_error(body: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, RecursionError)):
        DECODER({"ce_type": b"dedup.customers-merged.v1"}, body)


@pytest.mark.parametrize("service", sorted(SUBSCRIPTIONS))
def test_every_reference_of_an_asyncapi_document_leads_somewhere(service: str) -> None:
    document = asyncapi_document(service)
    for reference in references(document):
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
    assert document["asyncapi"] == "3.0.0"
    assert {operation["action"] for operation in document["operations"].values()} == {"send", "receive"}


def test_every_topic_and_event_stands_in_the_document_of_its_publisher() -> None:
    for topic in TOPICS:
        document = asyncapi_document("privacy" if topic.publisher == "all" else topic.publisher)
        assert f"send-{topic.name}" in document["operations"]
        assert set(document["channels"][topic.name]["messages"]) == {event.type for event in topic.events}


def references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [found for value in part.values() for found in references(value)]
    return [found for value in part for found in references(value)] if isinstance(part, list) else []


def test_uuids_travel_as_text() -> None:
    merged = json.loads(sample("dedup.customers-merged.v1"))
    assert str(UUID(merged["survivor_id"])) == merged["survivor_id"]

"""JSON Schemas of every event and sealed body, and the rule that tells a compatible change from one that needs a new version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec

from shared.contracts.event import Event
from shared.contracts.profile import GOLDEN_VERSION, GoldenRecord
from shared.contracts.submission import BODY_VERSION, SubmissionBody
from shared.contracts.topics import TOPICS

SCHEMA_FOLDER = Path(__file__).with_name("schemas")
DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def events() -> tuple[type[Event], ...]:
    """Every event of every topic, in the order of the topics."""
    return tuple(event_type for topic in TOPICS for event_type in topic.events)


def event_schema(event_type: type[Event]) -> Schema:
    """JSON Schema of the event's body; self-contained."""
    return _described(event_type, event_type.type)


SEALED_BODIES: dict[str, type[msgspec.Struct]] = {
    f"sealed.submission-body.v{BODY_VERSION}": SubmissionBody,
    f"sealed.golden-record.v{GOLDEN_VERSION}": GoldenRecord,
}
"""What the members called `sealed` open to."""


def all_schemas() -> dict[str, Schema]:
    """By file name without `.json`: the events by their CloudEvents type, and the sealed bodies."""
    return {event_type.type: event_schema(event_type) for event_type in events()} | {
        name: _described(body, name) for name, body in SEALED_BODIES.items()
    }


def as_text(schema: Schema) -> str:
    """The file's content: stable, so that a change shows as a small difference."""
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def incompatibilities(old: Schema, new: Schema) -> list[str]:
    """What would break a reader or a stored record: members removed, retyped or newly required, values no longer allowed."""
    return [
        problem
        for name, before, after in [("", old, new), *_shared_definitions(old, new)]
        for problem in _object_problems(name, _own(before), _own(after))
    ]


def _described(struct: type[msgspec.Struct], name: str) -> Schema:
    (root,), definitions = msgspec.json.schema_components([struct], ref_template="#/$defs/{name}")
    described = {title: {**schema, "description": cleandoc(schema.get("description", ""))} for title, schema in definitions.items()}
    own = described.pop(root["$ref"].rpartition("/")[2])
    return {"$schema": DIALECT, "$id": f"kehu:schemas/{name}.json", **own, "$defs": described}


def _own(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key != "$defs"}


def _shared_definitions(old: Schema, new: Schema) -> Iterator[tuple[str, Schema, Schema]]:
    for name, before in old.get("$defs", {}).items():
        # A definition that nothing names any more shows as a retyped member where it was named.
        if name in new.get("$defs", {}):
            yield f"{name}.", before, new["$defs"][name]


def _object_problems(name: str, old: Schema, new: Schema) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    for member in before:
        if member not in after:
            yield f"{name}{member}: removed"
        elif _form(before[member]) != _form(after[member]):
            yield f"{name}{member}: retyped"
    for member in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
        yield f"{name}{member}: newly required"


def _form(schema: Any) -> Any:
    """What a member's values look like; texts and defaults may change."""
    if isinstance(schema, dict):
        return {key: _form(value) for key, value in schema.items() if key not in {"description", "title", "default"}}
    return [_form(each) for each in schema] if isinstance(schema, list) else schema

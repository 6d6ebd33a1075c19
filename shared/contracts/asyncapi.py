"""AsyncAPI 3.0 documents, generated from the topics: what a service publishes and reads."""

from __future__ import annotations

from typing import Any

import msgspec

from shared.contracts.event import CONTENT_TYPE, Event
from shared.contracts.topics import SUBSCRIPTIONS, TOPICS, Topic

_SCHEMAS = "#/components/schemas/{name}"
_DOCUMENT_VERSION = "1.0.0"

_HEADERS: dict[str, Any] = {
    "type": "object",
    "description": "CloudEvents 1.0, Kafka binary mode; every value is UTF-8 text.",
    "required": ["ce_id", "ce_source", "ce_type", "ce_time", "ce_specversion"],
    "properties": {
        "ce_id": {"type": "string", "format": "uuid", "description": "derived: a repeat carries the same id"},
        "ce_source": {"type": "string"},
        "ce_type": {"type": "string"},
        "ce_time": {"type": "string", "format": "date-time"},
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_dataschema": {"type": "string"},
        "traceparent": {"type": "string", "description": "W3C trace context of what caused the event"},
        "keyid": {"type": "string", "format": "uuid", "description": "the data key that opens the member `sealed`"},
    },
}


def asyncapi_document(service: str) -> dict[str, Any]:
    """The document of one service: the channels it sends to and receives from, with every message they carry.

    Raises:
        KeyError: no such service.
    """
    reads = SUBSCRIPTIONS[service]
    sends = tuple(topic for topic in TOPICS if topic.publisher in {service, "all"})
    topics = tuple(topic for topic in TOPICS if topic in sends or topic in reads)
    events = tuple(dict.fromkeys(event for topic in topics for event in topic.events))
    _, schemas = msgspec.json.schema_components(events, ref_template=_SCHEMAS)
    operations = {_name("send", topic): _operation("send", topic) for topic in sends}
    operations |= {_name("receive", topic): _operation("receive", topic) for topic in reads}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": f"Kehu {service}", "version": _DOCUMENT_VERSION, "description": f"Events that {service} publishes and reads."},
        "defaultContentType": CONTENT_TYPE.decode(),
        "channels": {topic.name: _channel(topic) for topic in topics},
        "operations": operations,
        "components": {"messages": {event.type: _message(event) for event in events}, "schemas": schemas},
    }


def _name(action: str, topic: Topic) -> str:
    return f"{action}-{topic.name}"


def _channel(topic: Topic) -> dict[str, Any]:
    kafka = {"bindingVersion": "0.5.0", "topic": topic.name, "partitions": topic.partitions, "topicConfiguration": _configuration(topic)}
    return {
        "address": topic.name,
        "description": topic.meaning,
        "messages": {event.type: {"$ref": f"#/components/messages/{event.type}"} for event in topic.events},
        "bindings": {"kafka": kafka},
    }


def _configuration(topic: Topic) -> dict[str, Any]:
    if topic.retention_ms is None:
        return {"cleanup.policy": ["compact"]}
    return {"cleanup.policy": ["delete"], "retention.ms": topic.retention_ms}


def _operation(action: str, topic: Topic) -> dict[str, Any]:
    channel = f"#/channels/{topic.name}"
    messages = [{"$ref": f"{channel}/messages/{event.type}"} for event in topic.events]
    return {"action": action, "channel": {"$ref": channel}, "messages": messages}


def _message(event: type[Event]) -> dict[str, Any]:
    return {
        "name": event.type,
        "title": event.__name__,
        "summary": (event.__doc__ or "").partition("\n")[0],
        "contentType": CONTENT_TYPE.decode(),
        "headers": _HEADERS,
        "payload": {"$ref": _SCHEMAS.format(name=event.__name__)},
    }

"""Whatever is encoded is decoded as the same event."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.event import Decoder, Event, Outgoing, encode_body, encode_headers
from shared.contracts.schemas import events

DECODER = Decoder(events())
EVENTS = list(events())
# JSON carries no lone surrogates; intake refuses them. Its numbers are read as 64-bit ones.
st.register_type_strategy(str, st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
st.register_type_strategy(int, st.integers(-(2**63), 2**63 - 1))


@pytest.mark.parametrize("event_type", EVENTS, ids=lambda event: event.type)
@given(data=st.data())
def test_decoding_undoes_encoding(event_type: type[Event], data: st.DataObject) -> None:
    event = data.draw(st.builds(event_type, **{name: st.from_type(hint) for name, hint in _hints(event_type).items()}))
    headers = encode_headers(Outgoing(event_type.topic, None, UUID(int=1), event, datetime(2026, 1, 1, tzinfo=UTC)))
    assert DECODER(dict(headers), encode_body(event) or b"") == event


def _hints(event_type: type[Event]) -> dict[str, type]:
    from typing import get_type_hints

    hints = get_type_hints(event_type)
    return {name: hints[name] for name in event_type.__struct_fields__}


def test_a_tombstone_has_no_type_and_no_body() -> None:
    tombstone = Outgoing("profile.changes.v1", b"k", UUID(int=1), None, datetime(2026, 1, 1, tzinfo=UTC))
    assert encode_body(tombstone.event) is None
    assert "ce_type" not in dict(encode_headers(tombstone))

"""Bytes to drafts, and a decoder's complaint to a finding that names the field.

Reading is one pass of a typed decoder. Only when it complains are the bytes looked at again, to say what is wrong and where.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Any

import msgspec

from services.intake.domain.draft import BATCH_MAX, Draft, DraftBatch, batch_decoder, draft_decoder, raw_batch_decoder
from services.intake.domain.findings import Finding, Refused, finding

NESTING_MAX = 32

_UNDECODABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)
_AT = re.compile(r" - at `\$\.?(?P<path>[^`]*)`")
_QUOTED = re.compile(r"(?:unknown|required) field `(?P<name>[^`]*)`")


def decode_draft(raw: bytes) -> Draft:
    """The draft in these bytes.

    Raises:
        Refused: not JSON, not UTF-8, too deep, an unknown member, a missing one or a wrong type.
    """
    try:
        return draft_decoder.decode(raw)
    except _UNDECODABLE as error:
        raise Refused(_explain(raw, error)) from None


def decode_batch(raw: bytes) -> list[Draft | Refused]:
    """One draft or refusal per item, in the order sent.

    Raises:
        Refused: the batch itself cannot be read, is empty or holds more than `BATCH_MAX` items (code `batch_too_large`).
    """
    items: list[Draft | Refused]
    try:
        items = list(batch_decoder.decode(raw).submissions)
    except _UNDECODABLE:
        items = [_draft_or_refusal(bytes(item)) for item in split_batch(raw)]
    _check_count(len(items))
    return items


def split_batch(raw: bytes) -> list[msgspec.Raw]:
    """The items' own bytes.

    Raises:
        Refused: as `decode_batch` does.
    """
    try:
        items = raw_batch_decoder.decode(raw).submissions
    except _UNDECODABLE as error:
        raise Refused(_explain(raw, error, DraftBatch)) from None
    _check_count(len(items))
    return items


def _check_count(count: int) -> None:
    if not 1 <= count <= BATCH_MAX:
        raise Refused(finding("batch_too_large", "submissions"))


def decode_plain(raw: bytes) -> Any:
    """The plain values in these bytes, whatever they are.

    Raises:
        Refused: not JSON, not UTF-8 or too deep.
    """
    try:
        value = msgspec.json.decode(raw)
    except _UNDECODABLE as error:
        raise Refused(_explain(raw, error)) from None
    if nesting_depth(raw) > NESTING_MAX:
        raise Refused(finding("too_deep"))
    return value


def convert_draft(value: Any) -> Draft:
    """A draft from plain values, read leniently: texts stand for numbers and times. For rows of a file.

    Raises:
        Refused: as `decode_draft` does.
    """
    try:
        return msgspec.convert(value, Draft, strict=False)
    except _UNDECODABLE as error:
        raise Refused(_finding_of(str(error), value)) from None


def _draft_or_refusal(raw: bytes) -> Draft | Refused:
    try:
        return decode_draft(raw)
    except Refused as refused:
        return refused


def _explain(raw: bytes, error: Exception, expected: type = Draft) -> Finding:
    if isinstance(error, UnicodeError):
        return finding("wrong_encoding")
    if isinstance(error, RecursionError) or nesting_depth(raw) > NESTING_MAX:
        return finding("too_deep")
    if not isinstance(error, msgspec.ValidationError):
        return finding("malformed_json")
    return _finding_of(str(error), _plain(raw) if expected is Draft else None)


def nesting_depth(raw: bytes) -> int:
    """How deep the brackets go, texts left out; good for any bytes."""
    brackets = _TEXTS.sub(b"", raw).translate(None, delete=_NO_BRACKETS)
    return max(accumulate(1 if bracket in b"{[" else -1 for bracket in brackets), default=0)


# Possessive: a hostile run of quotes and backslashes costs linear time.
_TEXTS = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))


def _plain(raw: bytes) -> Any:
    """The JSON without a type, or None where it is only half valid: the typed decoder stops before it sees the rest."""
    try:
        return msgspec.json.decode(raw)
    except _UNDECODABLE:
        return None


def _finding_of(message: str, value: Any) -> Finding:
    """Turns the decoder's message, whose only parts of the input are names of members, into a finding."""
    at = _AT.search(message)
    path = at["path"] if at else ""
    named = _QUOTED.search(message)
    if named:
        code = "unknown_field" if "unknown field" in message else "missing_field"
        return finding(code, _join(path, named["name"]))
    if "Expected `object`" in message and not path:
        return finding("wrong_type")
    if path == "kind":
        return finding("unknown_kind", path)
    return finding("wrong_type", _with_name_of_member(path, value))


def _join(path: str, name: str) -> str:
    return f"{path}.{name[:100]}" if path else name[:100]


def _with_name_of_member(path: str, value: Any) -> str:
    """The decoder writes `[...]` for a member of a free mapping; the culprit is the first value that is no scalar."""
    if not path.endswith("[...]"):
        return path
    parent = path.removesuffix("[...]")
    mapping = value
    for name in parent.split("."):
        mapping = mapping.get(name) if isinstance(mapping, dict) else None
    wrong = [name for name, each in mapping.items() if isinstance(each, dict | list)] if isinstance(mapping, dict) else []
    return _join(parent, wrong[0]) if wrong else parent

"""A mapping from the columns of a file to a submission, and a row of cells to the plain values of a draft."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from services.intake.domain.findings import Refused, finding
from services.intake.domain.rules import Rules
from shared.contracts.submission import Kind

_SIMPLE = {
    "occurred_at",
    "order.order_id",
    "order.currency",
    "order.product_code",
    "order.quantity",
    "order.amount",
    "contact.medium",
    "contact.direction",
    "contact.subject",
    "contact.agent",
    "contact.text",
    "feedback.text",
    "feedback.rating",
    "feedback.product_code",
    "behaviour.name",
}
_LINE = {"product_code", "quantity", "amount"}


class FileMapping(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How a row becomes a submission.

    Attributes:
        columns: column name to target: `fields.<name>`, `identifiers.<type>[@<namespace>]`, `consents.<purpose>`, `occurred_at`,
            `order.*`, `contact.*`, `feedback.*`, `behaviour.name`.
        constants: target to a value that every row gets.
        message_id: the column with the sender's own id of a row; empty: the row number stands for it.
        timezone: of times without one, IANA name.
    """

    kind: Kind = "profile"
    columns: Annotated[dict[str, str], Meta(max_length=500)]
    constants: Annotated[dict[str, str | int | float | bool], Meta(max_length=100)] = {}
    message_id: str = ""
    timezone: str = "UTC"
    delimiter: Literal[",", ";", "\t", "|"] = ","
    encoding: Literal["auto", "utf-8", "gb18030"] = "auto"


def read_mapping(value: Any, rules: Rules) -> FileMapping:
    """The mapping in these plain values.

    Raises:
        Refused: naming the target that cannot be used.
    """
    try:
        mapping = msgspec.convert(value, FileMapping)
        ZoneInfo(mapping.timezone)
    except (msgspec.ValidationError, KeyError, ValueError, OSError):
        raise Refused(finding("invalid_mapping", "mapping")) from None
    for target in (*mapping.columns.values(), *mapping.constants):
        if not _is_target(target, rules):
            raise Refused(finding("unknown_field", f"mapping.{target[:100]}"))
    return mapping


def _is_target(target: str, rules: Rules) -> bool:
    part, _, name = target.partition(".")
    if part == "fields":
        return name in rules.fields or rules.is_forbidden(name)
    if part == "identifiers":
        return name.partition("@")[0] in rules.identifiers
    return target in _SIMPLE or (part == "consents" and name in rules.notices)


class RowReader:
    """Turns the rows of one file into plain values of drafts.

    Attributes:
        unmapped: columns of the file that go nowhere.
        stripped: targets of private-life columns, whose cells are dropped unread.
    """

    def __init__(self, mapping: FileMapping, header: Sequence[str], rules: Rules) -> None:
        targets = [mapping.columns.get(column, "") for column in header]
        self.stripped = [target for target in targets if _is_forbidden(target, rules)]
        self.unmapped = [column for column, target in zip(header, targets, strict=True) if not target and column != mapping.message_id]
        self._targets = ["" if _is_forbidden(target, rules) else target for target in targets]
        self._forbidden_places = [(place, target) for place, target in enumerate(targets) if _is_forbidden(target, rules)]
        self._message_id = header.index(mapping.message_id) if mapping.message_id in header else -1
        self._mapping, self._zone = mapping, ZoneInfo(mapping.timezone)
        self.missing = [column for column in (*mapping.columns, *filter(None, [mapping.message_id])) if column not in header]

    def message_id(self, cells: Sequence[str]) -> str:
        """The row's own id, empty if the file has none."""
        return cells[self._message_id] if 0 <= self._message_id < len(cells) else ""

    def forbidden_targets(self, cells: Sequence[str]) -> list[str]:
        """Targets whose cells were dropped in this row."""
        return [target for place, target in self._forbidden_places if place < len(cells) and cells[place]]

    def values(self, cells: Sequence[str]) -> dict[str, Any]:
        """The draft's plain values. Raises Refused for a row that is wider than the header, or a time that is none."""
        if len(cells) > len(self._targets):
            raise Refused(finding("wrong_cell_count"))
        draft: dict[str, Any] = {"kind": self._mapping.kind}
        for target, value in self._mapping.constants.items():
            self._put(draft, target, value)
        for target, cell in zip(self._targets, cells, strict=False):
            if target and cell:
                self._put(draft, target, cell)
        if message_id := self.message_id(cells):
            draft["message_id"] = message_id
        return draft

    def _put(self, draft: dict[str, Any], target: str, value: Any) -> None:
        part, _, name = target.partition(".")
        if part == "occurred_at":
            draft[part] = self._time(str(value))
        else:
            _PUT[part](draft, name, value)

    def _time(self, text: str) -> str:
        try:
            at = datetime.fromisoformat(text.replace("/", "-"))
        except ValueError:
            raise Refused(finding("wrong_type", "occurred_at")) from None
        return (at if at.tzinfo else at.replace(tzinfo=self._zone)).isoformat()


def _is_forbidden(target: str, rules: Rules) -> bool:
    part, _, name = target.partition(".")
    return part == "fields" and name not in rules.fields and rules.is_forbidden(name)


def _put_field(draft: dict[str, Any], name: str, value: Any) -> None:
    draft.setdefault("fields", {})[name] = value


def _put_identifier(draft: dict[str, Any], name: str, value: Any) -> None:
    kind, _, namespace = name.partition("@")
    identifiers = draft.setdefault("identifiers", [])
    identifiers[:] = [each for each in identifiers if (each["type"], each.get("namespace", "")) != (kind, namespace)]
    identifiers.append({"type": kind, "value": str(value), "namespace": namespace})


def _put_consent(draft: dict[str, Any], name: str, value: Any) -> None:
    draft.setdefault("consents", []).append({"purpose": name, "state": str(value)})


def _put_order(draft: dict[str, Any], name: str, value: Any) -> None:
    order = draft.setdefault("order", {"lines": [{}]})
    (order["lines"][0] if name in _LINE else order)[name] = value


def _put_in(section: str) -> Callable[[dict[str, Any], str, Any], None]:
    def put(draft: dict[str, Any], name: str, value: Any) -> None:
        draft.setdefault(section, {})[name] = value

    return put


_PUT: Mapping[str, Callable[[dict[str, Any], str, Any], None]] = {
    "fields": _put_field,
    "identifiers": _put_identifier,
    "consents": _put_consent,
    "order": _put_order,
    "contact": _put_in("contact"),
    "feedback": _put_in("feedback"),
    "behaviour": _put_in("behaviour"),
}

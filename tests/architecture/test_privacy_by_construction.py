"""Rules that keep personal data where it belongs, read from the code itself, so that they hold for code not written yet."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.contracts.event import Event
from shared.contracts.topics import TOPICS
from shared.failpoints import FAILPOINTS
from shared.policy import load_catalogue

ROOT = Path(__file__).parents[2]
LOG_METHODS = frozenset({"debug", "info", "warning", "error", "critical", "exception", "log", "bind"})
LOGGERS = frozenset({"log", "_log", "logger", "_logger", "get_logger"})
PERSONAL = frozenset(
    {
        *{"body", "fields", "golden", "raw", "raw_fields", "plain", "value", "values", "text", "message", "payload", "sealed"},
        *{"identifier", "identifiers", "name", "names", "phone", "email", "mail", "address", "birth_date", "token", "tokens"},
        *{"credential", "authorization", "write_key", "document", "documents", "row", "rows"},
    }
)
"""Names under which code holds what people said, or what would identify them."""
SPAN_PREFIXES = ("messaging.", "http.", "kehu.", "error.", "service.")


@cache
def sources() -> list[tuple[Path, ast.Module]]:
    files = [path for folder in ("services", "shared") for path in sorted((ROOT / folder).rglob("*.py"))]
    return [(path.relative_to(ROOT), ast.parse(path.read_text())) for path in files]


@cache
def calls() -> list[tuple[str, ast.Call]]:
    return [(f"{path}:{node.lineno}", node) for path, module in sources() for node in ast.walk(module) if isinstance(node, ast.Call)]


def log_calls() -> Iterator[tuple[str, ast.Call]]:
    for place, call in calls():
        if isinstance(call.func, ast.Attribute) and call.func.attr in LOG_METHODS and LOGGERS & set(names_in(call.func.value)):
            yield place, call


def names_in(node: ast.AST) -> Iterator[str]:
    """Every name and attribute that the expression mentions, but not what only counts or names a type."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"len", "type", "bool"}:
        return
    if isinstance(node, ast.Name):
        yield node.id
    if isinstance(node, ast.Attribute):
        yield node.attr
    for child in ast.iter_child_nodes(node):
        yield from names_in(child)


def is_name_of_a_thing(node: ast.AST) -> bool:
    """`topic.name`, `type(error).__name__` and the like name a thing, not a person."""
    return isinstance(node, ast.Attribute) and node.attr == "name" and isinstance(node.value, ast.Attribute | ast.Name)


def personal_names(arguments: Iterable[ast.AST]) -> set[str]:
    return {name for argument in arguments if not is_name_of_a_thing(argument) for name in names_in(argument)} & PERSONAL


def test_a_log_line_begins_with_a_constant_code() -> None:
    """An f-string or a variable there would carry values past every filter."""
    wrong = [place for place, call in log_calls() if call.args and not isinstance(call.args[0], ast.Constant)]
    assert not wrong


def test_no_log_line_is_given_what_people_said() -> None:
    wrong = []
    for place, call in log_calls():
        extra = [value for keyword in call.keywords if isinstance(keyword.value, ast.Dict) for value in keyword.value.values]
        plain = [keyword.value for keyword in call.keywords if not isinstance(keyword.value, ast.Dict)]
        wrong += [f"{place}: {name}" for name in personal_names([*call.args[1:], *plain, *extra])]
    assert not wrong


def test_no_log_line_carries_an_exceptions_text() -> None:
    """Drivers and parsers quote values in their messages. The class name says enough; a refused key file is the one text made of our own words."""
    wrong = []
    for place, call in log_calls():
        traceback = isinstance(call.func, ast.Attribute) and call.func.attr == "exception"
        wrong += [place] if traceback or any(keyword.arg in {"exc_info", "stack_info"} for keyword in call.keywords) else []
    assert not wrong


def test_no_service_prints() -> None:
    wrong = [place for place, call in calls() if isinstance(call.func, ast.Name) and call.func.id in {"print", "pprint"}]
    assert not wrong


def test_span_attributes_have_known_names() -> None:
    wrong = []
    for place, call in calls():
        if isinstance(call.func, ast.Attribute) and call.func.attr in {"set_attribute", "set_attributes"} and call.args:
            name = call.args[0]
            known = isinstance(name, ast.Constant) and isinstance(name.value, str) and name.value.startswith(SPAN_PREFIXES)
            wrong += [] if known else [place]
    assert not wrong


def test_the_rules_for_logs_can_fail() -> None:
    """The control: a careless line is found by each of them."""
    careless = ast.parse('log.info(f"hello {name}", phone=person.phone, count=len(values), topic=topic.name)').body[0]
    assert isinstance(careless, ast.Expr)
    assert isinstance(careless.value, ast.Call)
    assert not isinstance(careless.value.args[0], ast.Constant)
    assert personal_names(keyword.value for keyword in careless.value.keywords) == {"phone"}


def members(struct: Any, seen: set[Any]) -> Iterator[tuple[str, str]]:
    """Owner and name of every member of a struct and of the structs inside it."""
    if struct in seen:
        return
    seen.add(struct)
    for field in msgspec.structs.fields(struct):
        yield struct.__name__, field.name
        for inner in structs_in(field.type):
            yield from members(inner, seen)


def structs_in(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from structs_in(argument)


EVENTS: dict[str, type[Event]] = {event.type: event for topic in TOPICS for event in topic.events}


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS.keys())
def test_no_event_has_a_clear_member_for_what_the_catalogue_calls_personal(event: type[Event]) -> None:
    """What is personal travels in `sealed`; a clear member of that name would be one step from a leak."""
    catalogue = load_catalogue()
    personal = {name for name, field in catalogue.fields.items() if not field.facet} | set(catalogue.identifiers)
    clear = {f"{owner}.{name}" for owner, name in members(event, set()) if name in personal}
    assert not clear


def test_every_failpoint_is_somewhere_in_the_code_and_every_one_in_the_code_is_listed() -> None:
    placed = {
        call.args[0].value
        for _, call in calls()
        if isinstance(call.func, ast.Name) and call.func.id == "failpoint" and call.args and isinstance(call.args[0], ast.Constant)
    }
    in_families = {name for name in FAILPOINTS if name.startswith("rotation.after_")}
    """The rotation places one per step by an f-string."""
    assert FAILPOINTS - placed - in_families == set()
    assert placed <= FAILPOINTS


def test_only_sealing_and_access_know_how_to_sign_or_encrypt() -> None:
    """The import rules say so too; this names the file at once and covers the standard library and lazy imports."""
    owners = {"cryptography": {"shared/sealing"}, "joserfc": {"shared/access"}, "hmac": {"shared/sealing"}}
    wrong = []
    for path, module in sources():
        for name in imported_by(module):
            allowed = owners.get(name.split(".")[0])
            if allowed is not None and path.parent.as_posix() not in allowed:
                wrong.append(f"{path} imports {name}")
    assert not wrong


def imported_by(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""

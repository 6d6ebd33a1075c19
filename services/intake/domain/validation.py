"""From a draft to a validated submission in canonical form, or to findings that name every field in the way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from services.intake.domain.currency import amount_minor
from services.intake.domain.draft import Draft, DraftConsent, DraftIdentifier, DraftOrder, Scalar
from services.intake.domain.findings import Finding, Refused, finding
from services.intake.domain.rules import FieldRule, FieldValue, Rules, ValueRefused
from shared.contracts.submission import Behaviour, Consent, Contact, Feedback, Identifier, Kind, OrderLine, SubmissionBody

T = TypeVar("T")

FUTURE_MAX = timedelta(hours=24)
"""Clocks of senders differ; more than this is a mistake."""
_EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
_INTEGER_MAX = 2**53
"""Beyond this JSON readers round."""
_SECTION_OF_KIND = {"transaction": "order", "contact": "contact", "feedback": "feedback", "behaviour": "behaviour"}


@dataclass(frozen=True, slots=True)
class Checked:
    """A submission that may enter: the clear facts beside the body that will be sealed.

    Attributes:
        dated_by_sender: false when `body.occurred_at` is only the time of arrival, which a retry would not repeat.
    """

    kind: Kind
    body: SubmissionBody
    order_lines: tuple[OrderLine, ...]
    dated_by_sender: bool


def check(draft: Draft, rules: Rules, *, default_notice: str, now: datetime) -> Checked:
    """Validates and brings into canonical form. Checking a checked body's values again changes nothing.

    Args:
        default_notice: the notice version of consents that name none.
        now: time of arrival, aware, UTC.

    Raises:
        Refused: with every finding.
    """
    return _Check(draft, rules, default_notice, now).run()


class _Check:
    """One pass over one draft, gathering findings so that the sender hears of all of them at once."""

    def __init__(self, draft: Draft, rules: Rules, default_notice: str, now: datetime) -> None:
        self._draft, self._rules, self._default_notice, self._now = draft, rules, default_notice, now
        self._findings: list[Finding] = []
        self._raw: dict[str, str] = {}
        self._identifiers: dict[Identifier, None] = {}
        self._country = self._country_of_draft()

    def run(self) -> Checked:
        draft = self._draft
        occurred_at = self._occurred_at()
        for index, identifier in enumerate(draft.identifiers):
            self._identifier(identifier, f"identifiers[{index}]")
        fields = self._fields()
        consents = self._consents(draft.consents)
        lines = self._order_lines(draft.order)
        self._sections()
        if not self._findings:
            self._not_empty({"fields": fields, "identifiers": self._identifiers, "consents": consents})
        if self._findings:
            raise Refused(*self._findings)
        body = SubmissionBody(
            message_id=draft.message_id,
            occurred_at=occurred_at,
            identifiers=tuple(self._identifiers),
            fields=fields,
            raw_fields=self._raw,
            consents=consents,
            order_id=draft.order.order_id if draft.order else "",
            contact=_contact(draft),
            feedback=_feedback(draft),
            behaviour=_behaviour(draft),
        )
        return Checked(draft.kind, body, lines, draft.occurred_at is not None)

    def _found(self, code: str, field: str = "") -> None:
        self._findings.append(finding(code, field))

    def _country_of_draft(self) -> str:
        country = self._draft.fields.get("country")
        if isinstance(country, str) and country:
            with suppress(ValueRefused):  # Told once, where the field itself is checked.
                return self._rules.country(country)
        return self._rules.default_country

    def _occurred_at(self) -> datetime:
        given = self._draft.occurred_at
        if given is None:
            return self._now
        try:
            at = given.astimezone(UTC)
        except OverflowError:  # The years 1 and 9999 at the edge of the calendar.
            at = datetime.min.replace(tzinfo=UTC) if given.year == 1 else datetime.max.replace(tzinfo=UTC)
        if at < _EARLIEST:
            self._found("date_out_of_range", "occurred_at")
        if at > self._now + FUTURE_MAX:
            self._found("future_date", "occurred_at")
        return at

    def _read(self, read: Callable[..., T], raw: Scalar, path: str, *arguments: str) -> T | None:
        """The canonical value, or None and a finding. What normalisation changed is kept as it was sent."""
        try:
            value = read(raw, *arguments)
        except ValueRefused as refused:
            self._findings.append(Finding(refused.code, path, refused.en, refused.zh))
            return None
        if value != raw:
            self._raw[path.removeprefix("fields.")] = str(raw)
        return value

    def _identifier(self, draft: DraftIdentifier, path: str) -> None:
        rule = self._rules.identifiers.get(draft.type)
        if rule is None:
            self._found("unknown_identifier", f"{path}.type")
        elif rule.namespaced != bool(draft.namespace):
            self._found("namespace_required" if rule.namespaced else "namespace_not_allowed", f"{path}.namespace")
        elif _has_control(draft.namespace):
            self._found("text_not_allowed", f"{path}.namespace")
        elif (value := self._read(rule.canonical, draft.value, f"{path}.value", self._country)) is not None:
            self._identifiers[Identifier(draft.type, value, draft.namespace)] = None

    def _fields(self) -> dict[str, FieldValue]:
        fields: dict[str, FieldValue] = {}
        for name, raw in self._draft.fields.items():
            rule = self._rules.fields.get(name)
            if rule is None:
                self._findings.append(self._unwanted(name))
            elif raw is not None and raw != "":
                value = self._read(rule.canonical, raw, f"fields.{name}", self._country)
                if value is not None:
                    fields[name] = value
                    self._identify(rule, raw)
        return fields

    def _identify(self, rule: FieldRule, raw: Scalar) -> None:
        if rule.identifier and isinstance(raw, str):
            # The form that identifies may be narrower than the form that is kept: an e-mail without its tag.
            match = self._rules.identifiers[rule.identifier].canonical(raw, self._country)
            self._identifiers[Identifier(rule.identifier, match)] = None

    def _unwanted(self, name: str) -> Finding:
        if self._rules.is_forbidden(name):
            return finding("forbidden_field", f"fields.{name[:100]}")
        if name in self._rules.off:
            return finding("field_off", f"fields.{name}")
        if not _is_name(name):
            return finding("key_not_allowed", "fields")
        return finding("unknown_field", f"fields.{name[:100]}")

    def _consents(self, drafts: list[DraftConsent]) -> tuple[Consent, ...]:
        return tuple(consent for index, draft in enumerate(drafts) for consent in self._consent(draft, f"consents[{index}]"))

    def _consent(self, draft: DraftConsent, path: str) -> Iterator[Consent]:
        notices = self._rules.notices.get(draft.purpose)
        version = draft.notice_version or self._default_notice
        if notices is None:
            self._found("unknown_purpose", f"{path}.purpose")
        elif version not in notices:
            self._found("unknown_notice" if version else "missing_field", f"{path}.notice_version")
        else:
            yield Consent(purpose=draft.purpose, state=draft.state, notice_version=version)

    def _order_lines(self, order: DraftOrder | None) -> tuple[OrderLine, ...]:
        if order is None:
            return ()
        currency = self._read(self._rules.currency, order.currency, "order.currency")
        if currency is None:
            return ()
        return tuple(line for index in range(len(order.lines)) for line in self._order_line(order, index, currency))

    def _order_line(self, order: DraftOrder, index: int, currency: str) -> Iterator[OrderLine]:
        draft = order.lines[index]
        if _has_control(draft.product_code):
            self._found("text_not_allowed", f"order.lines[{index}].product_code")
            return
        code = self._read(self._rules.product_code, draft.product_code.strip(), f"order.lines[{index}].product_code")
        if code is None:
            return
        try:
            minor = amount_minor(draft.amount, currency)
        except ValueError:
            self._found("invalid_amount", f"order.lines[{index}].amount")
            return
        yield OrderLine(product_code=code, quantity=draft.quantity, amount_minor=minor, currency=currency)

    def _sections(self) -> None:
        wanted = _SECTION_OF_KIND.get(self._draft.kind)
        for section in _SECTION_OF_KIND.values():
            given = getattr(self._draft, section) is not None
            if given != (section == wanted):
                self._found("section_not_allowed" if given else "missing_field", section)
        if self._draft.behaviour is not None:
            self._properties(self._draft.behaviour.properties)

    def _properties(self, properties: dict[str, Scalar]) -> None:
        for name, value in properties.items():
            if self._rules.is_forbidden(name):
                self._found("forbidden_field", f"behaviour.properties.{name[:100]}")
            elif not _is_name(name):
                self._found("key_not_allowed", "behaviour.properties")
            elif isinstance(value, int) and abs(value) > _INTEGER_MAX:
                self._found("wrong_type", f"behaviour.properties.{name}")

    def _not_empty(self, kept: Mapping[str, Collection[object]]) -> None:
        """Judged by what is kept: a field that is null says nothing."""
        wanted = self._rules.any_of.get(self._draft.kind)
        if wanted and not any(kept.get(member, getattr(self._draft, member, None)) for member in wanted):
            self._found("empty_submission")


def _is_name(name: str) -> bool:
    """Whether the name can never be read as an operator or a path by a document store."""
    return 0 < len(name) <= 100 and name[0] != "$" and "." not in name and not _has_control(name)


def _has_control(text: str) -> bool:
    return not text.isprintable() and any(character < " " or character == "\x7f" for character in text)


def _contact(draft: Draft) -> Contact | None:
    part = draft.contact
    return None if part is None else Contact(medium=part.medium, direction=part.direction, subject=part.subject, agent=part.agent, text=part.text)


def _feedback(draft: Draft) -> Feedback | None:
    part = draft.feedback
    return None if part is None else Feedback(text=part.text, rating=part.rating, product_code=part.product_code)


def _behaviour(draft: Draft) -> Behaviour | None:
    part = draft.behaviour
    return None if part is None else Behaviour(name=part.name, properties=part.properties)

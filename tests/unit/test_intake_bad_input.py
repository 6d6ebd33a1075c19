"""Every kind of bad input at the strict door: refused with a stable code and the path of the field, and never with its value."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from services.intake.domain.decoding import decode_batch, decode_draft
from services.intake.domain.findings import Finding, Refused
from services.intake.domain.rules import Rules
from services.intake.domain.validation import Checked, check
from services.intake.policy import rules_of
from shared.contracts.submission import Identifier, OrderLine
from shared.policy import load_catalogue

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
CANARY = "canary-31415926"


@pytest.fixture(scope="module")
def rules() -> Rules:
    return rules_of(load_catalogue())


def accepted(rules: Rules, body: Any) -> Checked:
    return check(decode_draft(json.dumps(body, ensure_ascii=False).encode()), rules, default_notice="2026-01", now=NOW)


def findings(rules: Rules, raw: bytes) -> list[Finding]:
    with pytest.raises(Refused) as refused:
        check(decode_draft(raw), rules, default_notice="2026-01", now=NOW)
    return list(refused.value.findings)


def with_order(**changes: Any) -> dict[str, Any]:
    line = {"product_code": "tea", "quantity": 1, "amount": "1.00"} | changes.pop("line", {})
    return {"kind": "transaction", "order": {"order_id": "o1", "currency": "CNY", "lines": [line]} | changes}


def profile(**changes: Any) -> dict[str, Any]:
    return {"kind": "profile", "fields": {"name": "王芳"}} | changes


BYTES = [
    (b"", "malformed_json", ""),
    (b"{", "malformed_json", ""),
    (b'{"kind":"profile"} x', "malformed_json", ""),
    (b"\xef\xbb\xbf{}", "malformed_json", ""),
    (b'{"kind":"profile","fields":{"name":NaN}}', "malformed_json", ""),
    (b'{"kind":"profile","fields":{"name":"\\ud800"}}', "malformed_json", ""),
    (b'{"kind":"profile","fields":{"name":"\xcd\xf5\xb7\xbc"}}', "wrong_encoding", ""),
    (b'{"kind":"profile","message_id":"\xff"}', "wrong_encoding", ""),
    (b'{"kind":"profile","fields":' + b'{"a":' * 40 + b"1" + b"}" * 41, "too_deep", ""),
    (b'{"kind":"profile","x":' + b"[" * 200_000, "too_deep", ""),
    (b"[" * 200_000, "too_deep", ""),
    (b"[]", "wrong_type", ""),
    (b"null", "wrong_type", ""),
    (b"7", "wrong_type", ""),
    (b"{}", "missing_field", "kind"),
    (b'{"kind":"profile","fields":{"name":1e999}}', "wrong_type", "fields"),
]
BODIES = [
    (profile(surname="x"), "unknown_field", "surname"),
    (profile(kind="party"), "unknown_kind", "kind"),
    (profile(kind=3), "unknown_kind", "kind"),
    (profile(message_id=7), "wrong_type", "message_id"),
    (profile(message_id="m" * 501), "wrong_type", "message_id"),
    (profile(fields=[]), "wrong_type", "fields"),
    (profile(fields={"name": ["x"]}), "wrong_type", "fields.name"),
    (profile(fields={"name": {"$gt": ""}}), "wrong_type", "fields.name"),
    (profile(fields={"name": 5}), "type_invalid", "fields.name"),
    (profile(fields={"shoe_size": 44}), "unknown_field", "fields.shoe_size"),
    (profile(fields={"$where": CANARY}), "key_not_allowed", "fields"),
    (profile(fields={"name.first": CANARY}), "key_not_allowed", "fields"),
    (profile(fields={"na\x00me": CANARY}), "key_not_allowed", "fields"),
    (profile(fields={"": CANARY}), "key_not_allowed", "fields"),
    (profile(fields={"hobbies": CANARY}), "forbidden_field", "fields.hobbies"),
    (profile(fields={"maritalStatus": CANARY}), "forbidden_field", "fields.maritalStatus"),
    (profile(fields={"婚姻状况": CANARY}), "forbidden_field", "fields.婚姻状况"),
    (profile(fields={"gender": "female"}), "field_off", "fields.gender"),
    (profile(fields={"phone": "1380013800"}), "phone_invalid", "fields.phone"),
    (profile(fields={"phone": "138001380001"}), "phone_invalid", "fields.phone"),
    (profile(fields={"phone": "13800138000", "country": "DE"}), "phone_invalid", "fields.phone"),
    (profile(fields={"country": "Atlantis"}), "country_invalid", "fields.country"),
    (profile(fields={"email": "a.example.cn"}), "email_invalid", "fields.email"),
    (profile(fields={"birth_date": "2030-01-01"}), "date_in_future", "fields.birth_date"),
    (profile(fields={"customer_type": "alien"}), "choice_invalid", "fields.customer_type"),
    (profile(occurred_at="yesterday"), "wrong_type", "occurred_at"),
    (profile(occurred_at="2026-01-01T00:00:00"), "wrong_type", "occurred_at"),
    (profile(occurred_at="2026-11-26T12:00:01Z"), "future_date", "occurred_at"),
    (profile(occurred_at="9999-12-31T23:59:59-23:00"), "future_date", "occurred_at"),
    (profile(occurred_at="0001-01-01T00:00:00+08:00"), "date_out_of_range", "occurred_at"),
    (profile(identifiers=[{"type": "shoe", "value": "1"}]), "unknown_identifier", "identifiers[0].type"),
    (profile(identifiers=[{"type": "phone"}]), "missing_field", "identifiers[0].value"),
    (profile(identifiers=[{"type": "phone", "value": "123"}]), "phone_invalid", "identifiers[0].value"),
    (profile(identifiers=[{"type": "external_id", "value": "1"}]), "namespace_required", "identifiers[0].namespace"),
    (profile(identifiers=[{"type": "phone", "value": "13800138000", "namespace": "x"}]), "namespace_not_allowed", "identifiers[0].namespace"),
    (profile(identifiers=[{"type": "external_id", "value": "1", "namespace": "a\nb"}]), "text_not_allowed", "identifiers[0].namespace"),
    (profile(consents=[{"purpose": "spying", "state": "granted"}]), "unknown_purpose", "consents[0].purpose"),
    (profile(consents=[{"purpose": "marketing", "state": "perhaps"}]), "wrong_type", "consents[0].state"),
    (profile(consents=[{"purpose": "marketing", "state": "granted", "notice_version": "1999"}]), "unknown_notice", "consents[0].notice_version"),
    (profile(order=with_order()["order"]), "section_not_allowed", "order"),
    ({"kind": "transaction", "fields": {"name": "王芳"}}, "missing_field", "order"),
    ({"kind": "feedback"}, "missing_field", "feedback"),
    ({"kind": "feedback", "feedback": {"rating": 11}}, "wrong_type", "feedback.rating"),
    ({"kind": "contact", "contact": {"medium": "call", "direction": "sideways"}}, "wrong_type", "contact.direction"),
    ({"kind": "behaviour", "behaviour": {"name": "x", "properties": {"a.b": 1}}}, "key_not_allowed", "behaviour.properties"),
    ({"kind": "behaviour", "behaviour": {"name": "x", "properties": {"sport": CANARY}}}, "forbidden_field", "behaviour.properties.sport"),
    ({"kind": "behaviour", "behaviour": {"name": "x", "properties": {"n": 10**30}}}, "wrong_type", "behaviour.properties.n"),
    ({"kind": "profile"}, "empty_submission", ""),
    ({"kind": "profile", "fields": {"name": None, "phone": ""}}, "empty_submission", ""),
    (with_order(currency="XYZ"), "currency_invalid", "order.currency"),
    (with_order(lines=[]), "wrong_type", "order.lines"),
    (with_order(line={"amount": "1.001"}), "invalid_amount", "order.lines[0].amount"),
    (with_order(line={"amount": "NaN"}), "invalid_amount", "order.lines[0].amount"),
    (with_order(line={"amount": "1E+999999999"}), "invalid_amount", "order.lines[0].amount"),
    (with_order(line={"amount": "1E-999999999"}), "invalid_amount", "order.lines[0].amount"),
    (with_order(line={"amount": "much"}), "wrong_type", "order.lines[0].amount"),
    (with_order(line={"quantity": 0}), "wrong_type", "order.lines[0].quantity"),
    (with_order(line={"product_code": "a\tb"}), "text_not_allowed", "order.lines[0].product_code"),
    (with_order(line={"product_code": f"定制杯 {CANARY} 13800138000"}), "code_is_personal", "order.lines[0].product_code"),
    (with_order(line={"product_code": f"{CANARY}@example.cn"}), "code_is_personal", "order.lines[0].product_code"),
    (with_order(line={"product_code": "cup +8613800138000"}), "code_is_personal", "order.lines[0].product_code"),
    (with_order(line={"product_code": f"{CANARY} 138-0013 8000"}), "code_is_personal", "order.lines[0].product_code"),
    (with_order(line={"product_code": f"{CANARY} １３８００１３８０００"}), "code_is_personal", "order.lines[0].product_code"),
    (with_order(line={"product_code": f"{CANARY}＠example.cn"}), "code_is_personal", "order.lines[0].product_code"),
    (with_order(line={"product_code": "+49 30 901820"}), "code_is_personal", "order.lines[0].product_code"),
]


@pytest.mark.parametrize(("raw", "code", "field"), BYTES)
def test_bytes_that_are_no_submission_are_refused_with_the_reason(rules: Rules, raw: bytes, code: str, field: str) -> None:
    [found] = findings(rules, raw)

    assert (found.code, found.field) == (code, field)


@pytest.mark.parametrize(("body", "code", "field"), BODIES)
def test_a_bad_submission_is_refused_naming_field_and_reason(rules: Rules, body: Any, code: str, field: str) -> None:
    found = findings(rules, json.dumps(body, ensure_ascii=False).encode())

    assert (code, field) in {(each.code, each.field) for each in found}
    assert all(each.en and each.zh for each in found)
    assert CANARY not in "".join(each.en + each.zh + each.field for each in found)


def test_all_bad_fields_are_told_at_once(rules: Rules) -> None:
    found = findings(rules, b'{"kind":"profile","fields":{"phone":"1","email":"x","hobbies":"y"},"occurred_at":"2030-01-01T00:00:00Z"}')

    assert [each.field for each in found] == ["occurred_at", "fields.phone", "fields.email", "fields.hobbies"]


def test_values_are_kept_in_canonical_form_beside_what_was_sent(rules: Rules) -> None:
    checked = accepted(rules, profile(fields={"phone": "+86 138-0013-8000", "email": "A.B@GMail.com", "name": ""}))

    assert checked.body.fields == {"phone": "+8613800138000", "email": "A.B@gmail.com"}
    assert checked.body.raw_fields == {"phone": "+86 138-0013-8000", "email": "A.B@GMail.com"}
    assert checked.body.identifiers == (Identifier("phone", "+8613800138000"), Identifier("email", "ab@gmail.com"))


def test_the_country_field_judges_phones(rules: Rules) -> None:
    checked = accepted(rules, profile(fields={"phone": "030 123456", "country": "DE"}))

    assert checked.body.fields["phone"] == "+4930123456"


def test_the_far_past_is_accepted(rules: Rules) -> None:
    checked = accepted(rules, profile(occurred_at="1997-01-01T00:00:00+08:00"))

    assert checked.body.occurred_at == datetime(1996, 12, 31, 16, tzinfo=UTC)


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("59.90", "CNY", 5990),
        (59.9, "CNY", 5990),
        (-3, "EUR", -300),
        ("1200", "JPY", 1200),
        ("1.234", "KWD", 1234),
        ("0", "CNY", 0),
        ("5", "rmb", 500),
    ],
)
def test_amounts_become_whole_smallest_units(rules: Rules, amount: Any, currency: str, minor: int) -> None:
    checked = accepted(rules, with_order(currency=currency, line={"amount": amount}))

    assert [line.amount_minor for line in checked.order_lines] == [minor]
    assert isinstance(checked.order_lines[0], OrderLine)


def test_a_batch_with_one_bad_item_refuses_that_item_only() -> None:
    items = decode_batch(b'{"submissions":[{"kind":"profile"},{"kind":"profile","x":1},{"kind":"behaviour"}]}')

    assert [isinstance(item, Refused) for item in items] == [False, True, False]


@pytest.mark.parametrize(("count", "refused"), [(0, True), (1, False), (1_000, False), (1_001, True)])
def test_a_batch_holds_one_to_a_thousand(count: int, refused: bool) -> None:
    raw = b'{"submissions":[' + b",".join([b'{"kind":"profile"}'] * count) + b"]}"

    if refused:
        with pytest.raises(Refused) as told:
            decode_batch(raw)
        assert told.value.first.code == "batch_too_large"
    else:
        assert len(decode_batch(raw)) == count


@pytest.mark.parametrize("code", ["6901234567892", "SKU-2026-0001", "绿茶", "cup+saucer"])
def test_a_product_code_may_be_any_that_is_nobodys(rules: Rules, code: str) -> None:
    assert accepted(rules, with_order(line={"product_code": code})).order_lines[0].product_code == code

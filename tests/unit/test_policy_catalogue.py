"""The catalogue says what may be collected, and says so consistently."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import yaml

from shared.contracts.submission import OrderLine
from shared.policy import Catalogue, CatalogueError, InvalidValue, canonical, load_catalogue
from shared.policy.catalogue import CATALOGUE_FILE
from shared.policy.masking import masked


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.mark.parametrize("name", ["marital_status", "maritalStatus", "Marital Status", "婚姻状况", "kids", "爱好", "religion", "身份证号"])
def test_private_life_is_forbidden_in_any_spelling(catalogue: Catalogue, name: str) -> None:
    assert catalogue.verdict(name) == "forbidden"


@pytest.mark.parametrize(("name", "verdict"), [("phone", "accepted"), ("gender", "off"), ("age", "off"), ("favourite_colour", "unknown")])
def test_every_other_name_has_its_verdict(catalogue: Catalogue, name: str, verdict: str) -> None:
    assert catalogue.verdict(name) == verdict


@pytest.mark.parametrize("raw", ["13800138000", "138 0013 8000", "+86 138-0013-8000", "１３８００１３８０００", "86 13800138000"])
def test_spellings_of_one_phone_are_one_number(raw: str) -> None:
    assert canonical("phone", raw) == "+8613800138000"


@pytest.mark.parametrize("raw", ["1380013800", "138001380000", "", "abc", "9" * 100, "+999 1"])
def test_a_phone_of_the_wrong_length_is_refused_in_both_languages(raw: str) -> None:
    with pytest.raises(InvalidValue) as refusal:
        canonical("phone", raw)
    assert refusal.value.code == "phone_invalid"
    assert refusal.value.message_en
    assert refusal.value.message_zh
    assert not raw or raw not in str(refusal.value)


@pytest.mark.parametrize(("raw", "country", "expected"), [("030 901820", "DE", "+4930901820"), ("+1 650-253-0000", "CN", "+16502530000")])
def test_a_foreign_number_is_judged_by_its_own_country(raw: str, country: str, expected: str) -> None:
    assert canonical("phone", raw, country) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [("Li.Lei+shop@GMail.com", "lilei@gmail.com"), ("Li.Lei+shop@Example.com", "li.lei+shop@example.com"), ("ｌｉ@example.com", "li@example.com")],
)
def test_an_address_is_matched_without_what_its_provider_ignores(raw: str, expected: str) -> None:
    assert canonical("email_match", raw) == expected


@pytest.mark.parametrize(
    "raw", ["a.example.cn", "a@", "@example.cn", "a@localhost", "a b@example.cn", "x" * 300 + "@example.cn", "\ud800@example.cn"]
)
def test_what_is_no_address_is_refused(raw: str) -> None:
    with pytest.raises(InvalidValue):
        canonical("email", raw)


@pytest.mark.parametrize(
    ("identifier", "value"),
    [("email", "info@example.com"), ("email", "lilei@mailinator.com"), ("phone", "+8613800000000"), ("phone", "+861065529988"), ("cookie", "x")]
    + [("external_id", word) for word in ("N/A", "n.a.", "#N/A", "NULL", "None", "0", "00-000", "无", "未知", "-", "Walk-in")]
    + [("member_number", "0000"), ("wechat_openid", "undefined")],
)
def test_shared_and_made_up_values_decide_nothing(catalogue: Catalogue, identifier: str, value: str) -> None:
    assert not catalogue.is_deterministic(identifier, value)


@pytest.mark.parametrize(
    ("identifier", "value"),
    [("email", "lilei@example.com"), ("phone", "+8613800138000"), ("external_id", "42"), ("external_id", "0042"), ("external_id", "NA-17")],
)
def test_a_value_of_ones_own_decides(catalogue: Catalogue, identifier: str, value: str) -> None:
    assert catalogue.is_deterministic(identifier, value)


def test_a_role_sees_what_its_best_role_may_see(catalogue: Catalogue) -> None:
    assert catalogue.visibility("contact", ["front_desk"]) == "partial"
    assert catalogue.visibility("contact", ["front_desk", "steward"]) == "clear"
    assert catalogue.visibility("contact", ["stranger"]) == "hidden"


@pytest.mark.parametrize(("value", "expected"), [("lilei@example.com", "l***@example.com"), ("+8613800138000", "***8000"), ("张三", "张***")])
def test_a_masked_value_keeps_only_what_recognises_it(value: str, expected: str) -> None:
    assert masked(value, "partial") == expected
    assert masked(value, "hidden") is None


def test_a_contradiction_is_named_with_its_place(tmp_path: Path) -> None:
    declared = yaml.safe_load(CATALOGUE_FILE.read_text("utf-8"))
    declared["fields"]["phone"]["purposes"] = ["curiosity"]
    declared["fields"]["children"] = declared["fields"]["need"]
    broken = tmp_path / "catalogue.yaml"
    broken.write_text(yaml.safe_dump(declared, allow_unicode=True, sort_keys=False), "utf-8")
    with pytest.raises(CatalogueError, match=r"fields\.phone: no such purpose 'curiosity'; fields\.children: this name is forbidden"):
        load_catalogue(broken)


def test_an_exclusive_identifier_with_room_for_two_is_a_contradiction(tmp_path: Path) -> None:
    declared = yaml.safe_load(CATALOGUE_FILE.read_text("utf-8"))
    declared["identifiers"]["member_number"]["values_per_customer_max"] = 3
    broken = tmp_path / "catalogue.yaml"
    broken.write_text(yaml.safe_dump(declared, allow_unicode=True, sort_keys=False), "utf-8")
    with pytest.raises(CatalogueError, match="an exclusive identifier has one customer per value"):
        load_catalogue(broken)


def test_off_fields_and_numbers_are_checked_by_their_declaration(catalogue: Catalogue) -> None:
    assert catalogue.fields["age"].canonical("42") == 42
    with pytest.raises(InvalidValue):
        catalogue.fields["age"].canonical(131)
    with pytest.raises(InvalidValue):
        catalogue.fields["gender"].canonical("unknowable")


def test_everything_of_an_order_line_that_stands_in_clear_is_declared_a_facet(catalogue: Catalogue) -> None:
    clear = {field.name.removesuffix("_minor") for field in msgspec.structs.fields(OrderLine)}
    assert clear == set(catalogue.order_facets)


def test_a_facet_must_be_declared_one(tmp_path: Path) -> None:
    declared = yaml.safe_load(CATALOGUE_FILE.read_text("utf-8"))
    declared["order_facets"]["product_code"]["facet"] = False
    (tmp_path / "catalogue.yaml").write_text(yaml.safe_dump(declared, allow_unicode=True), "utf-8")
    with pytest.raises(CatalogueError, match=r"order_facets\.product_code\.facet"):
        load_catalogue(tmp_path / "catalogue.yaml")

"""CSV files: encodings, quotes, mappings, and bad rows that cost only themselves."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.intake.domain import csv_stream
from services.intake.domain.csv_stream import ROW_BYTES_MAX, CsvRows, Row
from services.intake.domain.findings import Refused
from services.intake.domain.mapping import RowReader, read_mapping
from services.intake.domain.rules import Rules
from services.intake.policy import rules_of
from shared.policy import load_catalogue


@pytest.fixture(scope="module")
def rules() -> Rules:
    return rules_of(load_catalogue())


def rows(content: bytes, *, cut: int = 1_000_000, encoding: str = "auto") -> list[Row]:
    reader = CsvRows(encoding)
    found = [row for start in range(0, len(content), cut) for row in reader.feed(content[start : start + cut])]
    return found + list(reader.end())


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 1_000])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_chinese_text_is_read_in_any_usual_encoding_and_any_cut(encoding: str, cut: int) -> None:
    content = '姓名,备注\r\n王芳,"一,二\n三 ""四"""\r\n李娜,好'.encode(encoding)

    assert [row.cells for row in rows(content, cut=cut)] == [("姓名", "备注"), ("王芳", '一,二\n三 "四"'), ("李娜", "好")]


def test_a_row_in_another_encoding_is_rejected_and_the_next_is_read() -> None:
    content = "a\n王芳\n".encode() + "王芳".encode("gb18030") + b"\n" + "李娜\n".encode()

    found = rows(content)

    assert [row.finding.code if row.finding else row.cells for row in found] == [("a",), ("王芳",), "wrong_encoding", ("李娜",)]


def test_a_quote_that_nobody_closes_does_not_swallow_the_file() -> None:
    content = b'a\n"open\n' + b"x\n" * (ROW_BYTES_MAX // 2) + b"good\n"

    found = rows(content, cut=10_000)

    assert [row.finding.code for row in found if row.finding] == ["unclosed_quote"]
    assert found[-1].cells == ("good",)


@pytest.mark.parametrize("cut", [11, 100_000])
@pytest.mark.parametrize(("bad", "lost"), [('Person 10,5" screen', 0), ('Person 10,"never closed', 1), ('Person 10,"closed"badly', 1)])
def test_a_stray_quote_costs_its_own_row_at_most_and_the_others_keep_their_numbers(bad: str, lost: int, cut: int) -> None:
    lines = ["name,note", *(f"Person {number},fine" for number in range(2, 3_001))]
    lines[9] = bad

    found = rows("\n".join(lines).encode(), cut=cut)

    assert [row.number for row in found] == list(range(1, 3_001))
    assert [row.number for row in found if row.finding] == [10] * lost
    assert all(row.cells == (f"Person {row.number}", "fine") for row in found[10:])


def test_a_line_without_an_end_is_one_bad_row_and_the_next_line_is_read() -> None:
    found = rows(b"a\n" + b"x" * (3 * ROW_BYTES_MAX) + b"\ngood\n", cut=10_000)

    assert [row.finding.code if row.finding else row.cells for row in found] == [("a",), "too_large", ("good",)]


def test_no_line_is_read_more_than_twice_whatever_the_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes scanned, not seconds: a quote in front of line breaks without end once stopped the door."""
    scanned = 0

    def counting(line: bytes, is_open: bool, delimiter: bytes) -> bool:
        nonlocal scanned
        scanned += len(line)
        return original(line, is_open, delimiter)

    original = csv_stream._left_open
    monkeypatch.setattr(csv_stream, "_left_open", counting)
    content = b'a\n"' + b"\n" * ROW_BYTES_MAX * 2 + b'"x\n' * 1_000 + b'x,"""\n' * 1_000

    list(rows(content, cut=64_000))

    assert scanned <= 2 * len(content)


@given(st.lists(st.text(alphabet='ab",\n', max_size=12), max_size=12), st.integers(1, 9))
def test_what_a_spreadsheet_writes_is_read_as_it_was_in_any_cut(cells: list[str], cut: int) -> None:
    table = [("head", "more"), *((f"r{number}", cell) for number, cell in enumerate(cells))]
    written = io.StringIO()
    csv.writer(written).writerows(table)

    found = rows(written.getvalue().encode(), cut=cut)

    assert [row.cells for row in found] == [tuple(cell.strip() for cell in row) for row in table]


def test_empty_lines_count_but_are_no_rows() -> None:
    assert [row.number for row in rows(b"a\n\n1\n\n2")] == [1, 3, 5]


@pytest.mark.parametrize(
    ("mapping", "field"),
    [
        ("text", "mapping"),
        ({"columns": {"a": "fields.name"}, "surprise": 1}, "mapping"),
        ({"columns": {"a": "fields.name"}, "timezone": "Mars/Olympus"}, "mapping"),
        ({"columns": {"a": "fields.shoe_size"}}, "mapping.fields.shoe_size"),
        ({"columns": {"a": "identifiers.shoe"}}, "mapping.identifiers.shoe"),
        ({"columns": {"a": "$where"}}, "mapping.$where"),
        ({"columns": {}, "constants": {"order.lines": "x"}}, "mapping.order.lines"),
    ],
)
def test_a_mapping_that_leads_nowhere_is_refused(rules: Rules, mapping: Any, field: str) -> None:
    with pytest.raises(Refused) as refused:
        read_mapping(mapping, rules)

    assert refused.value.first.field == field


def test_a_row_becomes_a_draft_by_its_mapping(rules: Rules) -> None:
    mapping = read_mapping(
        {
            "kind": "transaction",
            "columns": {
                "会员": "identifiers.external_id@shop",
                "单号": "order.order_id",
                "商品": "order.product_code",
                "金额": "order.amount",
                "时间": "occurred_at",
            },
            "constants": {"order.currency": "CNY"},
            "message_id": "单号",
            "timezone": "Asia/Shanghai",
        },
        rules,
    )
    reader = RowReader(mapping, ("会员", "单号", "商品", "金额", "时间", "杂项"), rules)

    values = reader.values(("C1", "o-1", "tea", "9.90", "2026/05/01 08:00:00", "x"))

    assert values == {
        "kind": "transaction",
        "message_id": "o-1",
        "occurred_at": "2026-05-01T08:00:00+08:00",
        "identifiers": [{"type": "external_id", "value": "C1", "namespace": "shop"}],
        "order": {"order_id": "o-1", "currency": "CNY", "lines": [{"product_code": "tea", "amount": "9.90"}]},
    }
    assert reader.unmapped == ["杂项"]


def test_a_private_life_column_is_dropped_unread_and_counted(rules: Rules) -> None:
    reader = RowReader(read_mapping({"columns": {"n": "fields.name", "h": "fields.hobbies"}}, rules), ("n", "h"), rules)

    assert reader.values(("王芳", "canary")) == {"kind": "profile", "fields": {"name": "王芳"}}
    assert reader.forbidden_targets(("王芳", "canary")) == ["fields.hobbies"]
    assert reader.forbidden_targets(("王芳", "")) == []

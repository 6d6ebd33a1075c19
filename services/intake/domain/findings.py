"""What is wrong with an input, said so that the sender can repair it and so that no value of it is repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_MADE_UP = "behaviour.properties"
"""The one place whose names senders choose."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        code: stable, for programs and for the counters.
        field: path of the member, as in `order.lines[0].amount`; empty when it is the whole input.
        en, zh: why, for people. Never holds a value of the input.
    """

    code: str
    field: str
    en: str
    zh: str

    @property
    def place(self) -> str:
        """The path as far as its names are ours, to be kept in clear: a name that a sender made up may say who somebody is."""
        return _MADE_UP if self.field.startswith(_MADE_UP) else self.field


class Refused(Exception):
    """The input cannot be accepted as it stands; the first finding is the one to tell."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__(", ".join(finding.code for finding in findings))
        self.findings = findings

    @property
    def first(self) -> Finding:
        """The finding that an answer with room for one shows."""
        return self.findings[0]


_TEXTS: Mapping[str, tuple[str, str]] = {
    "malformed_json": ("the body is not valid JSON", "请求正文不是有效的 JSON"),
    "malformed_multipart": ("not a multipart form with its boundary", "不是有效的 multipart 表单"),
    "wrong_encoding": ("the text is not valid UTF-8", "文本不是有效的 UTF-8 编码"),
    "wrong_type": ("the value has the wrong type or lies outside the allowed range", "值的类型不正确或超出允许范围"),
    "unknown_field": ("this field is not known here", "未知字段"),
    "missing_field": ("this field is required", "缺少必填字段"),
    "too_deep": ("nested more than 32 levels deep", "嵌套超过 32 层"),
    "too_large": ("larger than allowed", "超出允许的大小"),
    "batch_too_large": ("a batch holds 1 to 1,000 submissions", "每批只能包含 1 至 1000 条提交"),
    "key_not_allowed": ("a name may not hold `$`, `.` or control characters", "名称不得包含 `$`、`.` 或控制字符"),
    "text_not_allowed": ("control characters are not allowed here", "此处不允许控制字符"),
    "forbidden_field": ("this is private life and is never stored", "该字段属于私人生活信息，绝不存储"),
    "field_off": ("this field is switched off: no purpose is bound to it", "该字段未启用：尚未绑定用途"),
    "future_date": ("more than 24 hours in the future", "时间晚于当前超过 24 小时"),
    "date_out_of_range": ("lies before the year 1900", "时间早于 1900 年"),
    "unknown_identifier": ("this type of identifier is not in the catalogue", "目录中没有该标识类型"),
    "namespace_required": ("this type of identifier needs a namespace", "该标识类型需要命名空间"),
    "namespace_not_allowed": ("this type of identifier has no namespace", "该标识类型没有命名空间"),
    "unknown_purpose": ("this purpose is not in the catalogue", "目录中没有该用途"),
    "unknown_notice": ("this notice version is not known for the purpose", "该用途没有此版本的告知文本"),
    "invalid_amount": ("not an amount with the currency's decimal places", "金额的小数位与货币不符"),
    "section_not_allowed": ("this part does not belong to this kind of submission", "该部分不属于此类提交"),
    "unknown_kind": ("this kind of submission is not known", "未知的提交类型"),
    "empty_submission": ("names nobody and says nothing", "提交未包含任何标识或字段"),
    "payload_differs": ("this id was used before with another content", "该标识此前已用于不同的内容"),
    "unclosed_quote": ("a quoted cell has no end", "引号单元格没有结束"),
    "invalid_mapping": (
        "not a mapping: it needs `columns` from column to target, and may have kind, constants, message_id, timezone",
        "映射无效：需要 `columns`（列到目标），可选 kind、constants、message_id、timezone",
    ),
    "missing_column": ("the file lacks a column that the mapping names", "文件缺少映射中指定的列"),
    "empty_file": ("the file has no header row", "文件没有表头"),
    "wrong_cell_count": ("the row has more cells than the header", "该行的单元格多于表头"),
    "invalid_value": ("the value cannot be used", "该值无法使用"),
}
"""Every code of intake's own with its texts; values judged by the catalogue bring codes and texts of their own."""

CODES = frozenset(_TEXTS)


def finding(code: str, field: str = "") -> Finding:
    """A finding with the texts of its code."""
    en, zh = _TEXTS[code]
    return Finding(code, field, en, zh)

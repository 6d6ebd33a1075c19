"""Calendar days as they are written in China and elsewhere, kept as ISO 8601."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

from shared.policy.invalid import InvalidValue
from shared.policy.text import folded

YEAR_MIN = 1880
"""Nobody alive was born earlier."""
YEAR_MAX = 2200
_WRITTEN = re.compile(
    r"(\d{4})(?:-(\d{1,2})-(\d{1,2})|/(\d{1,2})/(\d{1,2})|\.(\d{1,2})\.(\d{1,2})|年(\d{1,2})月(\d{1,2})日?|(\d{2})(\d{2}))", re.ASCII
)


def day(raw: str) -> str:
    """`YYYY-MM-DD`. Year first, in every accepted form: day and month in front cannot be told apart.

    Raises:
        InvalidValue: `date_invalid`.
    """
    match = _WRITTEN.fullmatch(folded(raw).replace(" ", ""))
    if match is None:
        raise _refusal()
    year, month, day_of_month = (int(group) for group in match.groups() if group is not None)
    if not YEAR_MIN <= year <= YEAR_MAX:
        raise _refusal()
    try:
        return date(year, month, day_of_month).isoformat()
    except ValueError:
        raise _refusal() from None


def birth_date(raw: str) -> str:
    """A day that has been.

    Raises:
        InvalidValue: `date_invalid` or `date_in_future`.
    """
    value = day(raw)
    if value > datetime.now(UTC).date().isoformat():
        raise InvalidValue("date_in_future", "A birth date cannot be in the future.", "出生日期不能晚于今天。")
    return value


def _refusal() -> InvalidValue:
    return InvalidValue("date_invalid", "Not a date; write it as 1990-05-31.", "日期无效，请按 1990-05-31 的格式填写。")

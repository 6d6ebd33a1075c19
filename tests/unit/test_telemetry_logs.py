"""What of other people's log lines may be written down."""

from __future__ import annotations

import asyncio
import functools
import gc
import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from shared.telemetry.logs import foreign_lines

CANARY = "13800138000"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Everything that libraries' lines become."""
    stream = io.StringIO()
    handler, root = foreign_lines(stream), logging.getLogger()
    root.addHandler(handler)
    yield stream
    root.removeHandler(handler)


def lines(written: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


async def _stray() -> None:
    async def fail() -> None:
        raise ValueError(f"phone {CANARY}")

    task = asyncio.create_task(fail(), name=f"look up {CANARY}")
    await asyncio.wait([task])
    del task
    gc.collect()


async def _broken_callback() -> None:
    def fail(phone: str) -> None:
        raise ValueError(phone)

    asyncio.get_running_loop().call_soon(functools.partial(fail, CANARY))
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("accident", "message"),
    [(_stray, "Task exception was never retrieved"), (_broken_callback, "Exception in callback")],
)
def test_an_exception_that_nobody_caught_is_told_by_its_kind_and_not_by_its_text(accident: Any, message: str, written: io.StringIO) -> None:
    # when
    asyncio.run(accident())
    # then
    assert lines(written) == [{"event": "library", "logger": "asyncio", "level": "error", "message": message, "error": "ValueError"}]
    assert CANARY not in written.getvalue()


def test_a_warning_is_told_by_its_kind_and_place(written: io.StringIO) -> None:
    # when
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn(f"odd value {CANARY}", UserWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    # then
    [line] = lines(written)
    assert line["message"].startswith("UserWarning at ")
    assert line["message"].partition(":")[0].endswith("test_telemetry_logs.py")
    assert CANARY not in written.getvalue()


def test_of_a_line_with_more_behind_it_only_the_first_is_written_and_of_arguments_nothing(written: io.StringIO) -> None:
    # when
    logging.getLogger("some.driver").error(f"cannot write %s\nDocument: {CANARY}", CANARY)  # noqa: G004 - as careless libraries do
    # then
    assert [line["message"] for line in lines(written)] == ["cannot write %s"]


def test_lines_of_one_kind_are_one_whatever_they_quote(written: io.StringIO) -> None:
    # when
    for number in range(3):
        logging.getLogger("asyncio").error(f"Task exception was never retrieved\nfuture: <Task {number}>")  # noqa: G004 - as asyncio does
    # then
    assert len(lines(written)) == 1


def test_our_own_lines_say_what_happened_and_where(written: io.StringIO) -> None:
    # given
    log = logging.getLogger("kehu.messaging.worker")
    # when: the same on two partitions, and once more
    for partition in (3, 4, 4):
        log.warning("waits for a dependency: %s", "PublishFailed", extra={"topic": "dedup.identities.v1", "group": "profile", "partition": partition})
    # then
    told = lines(written)
    assert [each["partition"] for each in told] == [3, 4]
    assert {(each["message"], each["topic"], each["group"]) for each in told} == {
        ("waits for a dependency: PublishFailed", "dedup.identities.v1", "profile")
    }

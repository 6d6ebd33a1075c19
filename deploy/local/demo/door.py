"""The demo at the public door: batches of submissions with a channel's write key, a few requests at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpx

from deploy.local.demo.report import SourceFigures

BATCH = 500
REQUESTS_AT_ONCE = 4
_BUSY = frozenset({429, 503})
_BUSY_RETRIES_MAX = 60

Submission = dict[str, Any]


class DoorRefused(Exception):
    """Intake answered with something the demo cannot go on from."""


def batches(submissions: Iterable[Submission]) -> Iterator[list[Submission]]:
    """The submissions in lists of at most `BATCH`."""
    batch: list[Submission] = []
    for submission in submissions:
        batch.append(submission)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


class Door:
    """One channel's way in.

    Args:
        client: has intake's address as base URL.
        write_key: the channel's.
        figures: counted up with every answer.
        on_progress: called with the number of submissions answered.
        resends: whether the sender corrects what is refused; for one that cannot, intake sets it aside instead.
    """

    def __init__(
        self, client: httpx.AsyncClient, write_key: str, figures: SourceFigures, on_progress: Callable[[int], None], *, resends: bool = True
    ) -> None:
        self._client = client
        self._path = "/v1/submissions:batch" if resends else "/v1/submissions:batch?on_error=quarantine"
        self._headers = {"Authorization": f"Bearer {write_key}"}
        self._figures = figures
        self._on_progress = on_progress
        self.submission_ids: dict[str, str] = {}
        """By message id."""

    async def send_all(self, submissions: Iterable[Submission]) -> None:
        """Sends everything and returns once it is answered."""
        work = batches(submissions)
        async with asyncio.TaskGroup() as group:
            for _ in range(REQUESTS_AT_ONCE):
                group.create_task(self._send_from(work))

    async def _send_from(self, work: Iterator[list[Submission]]) -> None:
        for batch in work:
            self._count(batch, await self._post(batch))

    async def _post(self, batch: list[Submission]) -> list[dict[str, Any]]:
        for _ in range(_BUSY_RETRIES_MAX):
            response = await self._client.post(self._path, json={"submissions": batch}, headers=self._headers)
            if response.status_code == 202:
                items: list[dict[str, Any]] = response.json()["items"]
                return items
            if response.status_code not in _BUSY:
                raise DoorRefused(f"intake answered {response.status_code}: {response.text[:300]}")
            await asyncio.sleep(float(response.headers.get("Retry-After", "1")))
        raise DoorRefused("intake stays too busy")

    def _count(self, batch: list[Submission], items: list[dict[str, Any]]) -> None:
        outcomes = Counter(item["status"] for item in items)
        self._figures.sent += len(batch)
        self._figures.accepted += outcomes["accepted"]
        self._figures.duplicate += outcomes["duplicate"]
        self._figures.refused += outcomes["refused"]
        self._figures.quarantined += outcomes["quarantined"]
        for submission, item in zip(batch, items, strict=True):
            if item.get("submission_id"):
                self.submission_ids[submission["message_id"]] = item["submission_id"]
            elif item["status"] == "refused":
                reason = f"{item.get('field', '')}: {item['code']}"
                self._figures.refused_reasons[reason] = self._figures.refused_reasons.get(reason, 0) + 1
        self._on_progress(len(batch))

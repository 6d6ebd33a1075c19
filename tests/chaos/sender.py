"""Sends a stream through the public door and keeps on until every submission has an answer, as a good sender does."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping

import httpx

from tests.chaos.oracle import Name
from tests.chaos.stream import Sent

BATCH = 100
SMALL_BATCH = 20
"""While there is time: many small transactions meet many more states than a few large ones."""
GIVE_UP_SECONDS = 400.0
"""A process killed inside its transaction keeps the ids locked for up to 15 s, and a batch may meet such a death at several places."""
_DONE = frozenset({"accepted", "duplicate"})


class NotAnswered(AssertionError):
    """A submission was refused, or intake stayed away too long."""


class Sender:
    """Posts batches; a lost answer is asked for again with the same message ids.

    Attributes:
        submission_ids: by (channel, message id), as intake answered.
        hurry: once set, it pauses no more.
    """

    def __init__(self, intake: str, write_keys: Mapping[str, str], pause_seconds: float = 0.0) -> None:
        self._client = httpx.AsyncClient(base_url=intake, timeout=20, trust_env=False)
        self._write_keys = write_keys
        self._pause_seconds = pause_seconds
        self.submission_ids: dict[Name, str] = {}
        self.hurry = asyncio.Event()

    async def send(self, sent: Iterable[Sent]) -> None:
        """Returns when all are accepted. Channels send side by side, each in order."""
        by_channel: defaultdict[str, list[Sent]] = defaultdict(list)
        for each in sent:
            by_channel[each.channel].append(each)
        async with asyncio.TaskGroup() as group:
            for channel, submissions in by_channel.items():
                group.create_task(self._send_channel(channel, submissions))
        await self._client.aclose()

    async def _send_channel(self, channel: str, submissions: list[Sent]) -> None:
        sent = 0
        while sent < len(submissions):
            size = BATCH if self._pause_seconds == 0 or self.hurry.is_set() else SMALL_BATCH
            await self._send_batch(channel, submissions[sent : sent + size])
            sent += size
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.hurry.wait(), self._pause_seconds)

    async def _send_batch(self, channel: str, batch: list[Sent]) -> None:
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < deadline:
            try:
                response = await self._client.post(
                    "/v1/submissions:batch",
                    json={"submissions": [each.body for each in batch]},
                    headers={"Authorization": f"Bearer {self._write_keys[channel]}"},
                )
            except httpx.TransportError:
                await asyncio.sleep(0.3)
                continue
            if response.status_code == 202:
                return self._note(channel, batch, response.json()["items"])
            if response.status_code < 500 and response.status_code != 429:
                raise NotAnswered(response.text)
            await asyncio.sleep(0.3)
        raise NotAnswered(f"intake gave no answer in {GIVE_UP_SECONDS} s")

    def _note(self, channel: str, batch: list[Sent], items: list[dict[str, str]]) -> None:
        for each, item in zip(batch, items, strict=True):
            if item["status"] not in _DONE:
                raise NotAnswered(f"{each.name}: {item}")
            self.submission_ids[channel, each.body["message_id"]] = item["submission_id"]

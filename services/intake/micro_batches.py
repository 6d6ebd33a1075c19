"""One writer for all requests of this process: what is waiting is written together, so that the cost of a transaction is shared."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.intake.ports import Entry, Ledger, Verdict
from shared.storage import TransientStorageError

ENTRIES_MAX = 2_000
BYTES_MAX = 4 * 1024 * 1024
"""Of one transaction, so that its outbox document stays far below 16 MiB."""
_FAILURES_MAX = 2
WAITING_ENTRIES_MAX = 20_000
WAITING_BYTES_MAX = 64 * 1024 * 1024
"""Beyond this a sender is told to come again: memory is bounded and nobody waits for long."""


class Overloaded(Exception):
    """More is waiting to be written than this process takes on."""


@dataclass(slots=True)
class _Waiting:
    entries: Sequence[Entry]
    size_bytes: int
    done: asyncio.Future[list[Verdict]]


class MicroBatches:
    """Gathers the entries of concurrent requests and writes them in turn, one transaction at a time. One future per request.

    Attributes:
        running: whether entries are taken on.
    """

    def __init__(self, ledger: Ledger, wake_relay: Callable[[], None] = lambda: None) -> None:
        """`wake_relay` is called after each write, so that its events leave at once."""
        self._ledger, self._wake_relay = ledger, wake_relay
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._open: set[asyncio.Future[list[Verdict]]] = set()
        self._waiting_entries = 0
        self._waiting_bytes = 0
        self.running = False

    async def run(self) -> None:
        """Writes what arrives until it is cancelled; until it runs, callers are told to come again. What waits then is told so as well."""
        self.running = True
        try:
            await self._write_what_arrives()
        finally:
            self.running = False
            _fail(list(self._waiting), Overloaded())
            self._waiting.clear()

    async def settled(self) -> None:
        """Returns once everything that waited when it was called has been written or has failed."""
        if self._open:
            await asyncio.wait(set(self._open))

    async def write(self, entries: Sequence[Entry]) -> list[Verdict]:
        """Durable when it returns; one verdict per entry.

        Raises:
            Overloaded: too much is waiting, or the writer does not run; nothing was taken on.
            TransientStorageError: as `Ledger.write`.
        """
        if not entries:
            return []
        size = sum(len(entry.plain) for entry in entries)
        if not self.running or self._waiting_entries + len(entries) > WAITING_ENTRIES_MAX or self._waiting_bytes + size > WAITING_BYTES_MAX:
            raise Overloaded
        waiting = _Waiting(entries, size, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._waiting_entries += len(entries)
        self._waiting_bytes += size
        self._open.add(waiting.done)
        waiting.done.add_done_callback(self._open.discard)
        self._arrived.set()
        # Shielded: a sender who hangs up cancels its own wait, not the write that others share.
        return await asyncio.shield(waiting.done)

    async def _write_what_arrives(self) -> None:
        while True:
            await self._arrived.wait()
            while self._waiting:
                await self._write_together(self._gather())
            self._arrived.clear()

    def _gather(self) -> list[_Waiting]:
        """Whole requests, at least one, up to the bounds."""
        gathered = [self._waiting.popleft()]
        count, size = len(gathered[0].entries), gathered[0].size_bytes
        while self._waiting:
            count += len(self._waiting[0].entries)
            size += self._waiting[0].size_bytes
            if count > ENTRIES_MAX or size > BYTES_MAX:
                break
            gathered.append(self._waiting.popleft())
        return gathered

    async def _write_together(self, gathered: list[_Waiting]) -> None:
        error = await self._try(gathered)
        if error is None or len(gathered) == 1 or not isinstance(error, TransientStorageError):
            _fail(gathered, error)
        else:
            await self._write_apart(gathered, error)
        self._waiting_entries -= sum(len(waiting.entries) for waiting in gathered)
        self._waiting_bytes -= sum(waiting.size_bytes for waiting in gathered)

    async def _write_apart(self, gathered: list[_Waiting], error: Exception) -> None:
        """One of them may repeat what a process that died within its transaction keeps locked: that shall not hold up the others.

        Two failures mean that it is the database, and nobody waits for a third.
        """
        failures = 0
        for waiting in gathered:
            each = error if failures == _FAILURES_MAX else await self._try([waiting])
            failures += each is not None and failures < _FAILURES_MAX
            _fail([waiting], each)

    async def _try(self, gathered: list[_Waiting]) -> Exception | None:
        """Writes in one transaction and answers, or returns the error."""
        try:
            verdicts = await self._ledger.write([entry for waiting in gathered for entry in waiting.entries])
        except Exception as error:  # noqa: BLE001 - told to the requests that share the write
            return error
        self._wake_relay()
        _answer(gathered, verdicts)
        return None


def _answer(gathered: list[_Waiting], verdicts: list[Verdict]) -> None:
    start = 0
    for waiting in gathered:
        end = start + len(waiting.entries)
        if not waiting.done.done():
            waiting.done.set_result(verdicts[start:end])
        start = end


def _fail(gathered: list[_Waiting], error: Exception | None) -> None:
    for waiting in gathered:
        if error is not None and not waiting.done.done():
            waiting.done.set_exception(error)
            waiting.done.exception()  # Somebody may have hung up: an error that nobody awaits is no surprise.

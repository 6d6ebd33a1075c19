"""Sessions and transactions: snapshot reads, majority writes, run again when another transaction was faster."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

from motor.core import AgnosticClientSession
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from shared.storage.errors import TransientStorageError, translated

T = TypeVar("T")

RETRY_SECONDS = 10.0
"""How long a transaction is run again before its caller hears of the trouble."""
_FIRST_DELAY_SECONDS = 0.005
_DELAY_SECONDS_MAX = 0.5


class Transaction:
    """A running transaction: pass it to every read and write that shall belong to it."""

    __slots__ = ("native",)

    def __init__(self, native: AgnosticClientSession) -> None:
        self.native = native


class Session:
    """One server session, which runs one transaction at a time. A successor can end it by its `id`.

    Attributes:
        id: the session's identity on the server, to be stored beside what the session owns.
    """

    def __init__(self, native: AgnosticClientSession) -> None:
        self._native = native

    @property
    def id(self) -> Mapping[str, Any]:
        """The server's name of this session."""
        # The stub lacks that these are properties of motor's session.
        return cast("Mapping[str, Any]", self._native.session_id)

    async def run_once(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Runs `work` in one transaction and commits it; whatever it raises aborts the transaction.

        Raises:
            TransientStorageError: not committed, or it is unknown whether it was: read again before you decide.
        """
        await self._leave_open_transaction()
        with translated():
            self._native.start_transaction(
                read_concern=ReadConcern("snapshot"), write_concern=WriteConcern("majority"), read_preference=ReadPreference.PRIMARY
            )
        try:
            result = await work(Transaction(self._native))
        except BaseException:
            await self._leave_open_transaction()
            raise
        await self._commit()
        return result

    async def run(self, work: Callable[[Transaction], Awaitable[T]], retry_seconds: float = RETRY_SECONDS) -> T:
        """Like `run_once`, and again with a new snapshot while the trouble is transient, for up to `retry_seconds`.

        `work` may run several times, and a commit whose answer was lost is asked again first, so `work` must have no other effect.
        """
        deadline, delay = time.monotonic() + retry_seconds, _FIRST_DELAY_SECONDS
        while True:
            try:
                return await self.run_once(work)
            except TransientStorageError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(delay * (0.5 + random.random()))  # noqa: S311 - jitter
            delay = min(delay * 2, _DELAY_SECONDS_MAX)

    async def end(self) -> None:
        """Gives the session back; an open transaction is aborted."""
        await self._leave_open_transaction()
        await self._native.end_session()

    async def _commit(self) -> None:
        """Commits; an unknown result is asked again once by the driver and twice here, which is safe: a commit is idempotent."""
        with translated():
            for attempt in range(3):
                try:
                    await self._native.commit_transaction()
                except PyMongoError as error:
                    if attempt == 2 or not error.has_error_label("UnknownTransactionCommitResult"):
                        raise
                else:
                    return

    async def _leave_open_transaction(self) -> None:
        if cast("bool", self._native.in_transaction):
            with translated():  # the driver swallows the server's answer: an unreached server ends the transaction by itself
                await self._native.abort_transaction()

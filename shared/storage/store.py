"""One database of one server, and the client's settings that the delivery promise rests on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC
from typing import Any, Self, TypeVar

from bson.codec_options import CodecOptions
from motor.motor_asyncio import AsyncIOMotorClient

from shared.storage.collection import Collection, Document
from shared.storage.errors import StorageError, TransientStorageError, translated
from shared.storage.session import RETRY_SECONDS, Session, Transaction

T = TypeVar("T")

TIMEOUT_MS = 10_000
"""No call to the database takes longer; the caller decides whether to try again."""
SERVER_SELECTION_MS = 5_000
_CODEC: CodecOptions[Document] = CodecOptions(tz_aware=True, tzinfo=UTC)


class Store:
    """A service's database. Stores of other databases on the same client may take part in its transactions.

    Attributes:
        database: name without the namespace.
        namespace: prefix of the physical name; tests isolate themselves by it.
        writer: name of this process in outbox documents, set by its relay; empty where nothing relays.
    """

    def __init__(self, client: AsyncIOMotorClient[Document], database: str, namespace: str) -> None:
        self._client = client
        self.database = database
        self.namespace = namespace
        self.writer = ""
        self._native = client.get_database(namespace + database, codec_options=_CODEC)
        self._collections: dict[str, Collection] = {}

    @classmethod
    async def connect(cls, uri: str, *, database: str, namespace: str = "", timeout_ms: int = TIMEOUT_MS) -> Self:
        """A store with majority and journalled writes. Does not wait for the server: see `wait_until_ready`."""
        client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
            uri,
            w="majority",
            journal=True,
            retryWrites=True,
            retryReads=True,
            timeoutMS=timeout_ms,
            serverSelectionTimeoutMS=min(timeout_ms, SERVER_SELECTION_MS),
            maxPoolSize=32,
            appname=f"kehu-{database}",
        )
        return cls(client, database, namespace)

    async def wait_until_ready(self, seconds: float = 60.0) -> None:
        """Waits until the server answers.

        Raises:
            TransientStorageError: it did not within `seconds`.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                return await self.ping()
            except TransientStorageError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.5)

    async def ping(self) -> None:
        """Returns if a primary answers; TransientStorageError if none does."""
        with translated():
            await self._client.admin.command("ping")

    def collection(self, name: str) -> Collection:
        """The collection of this name; it must have been created by a migration before a transaction writes to it."""
        if name not in self._collections:
            self._collections[name] = Collection(self._native.get_collection(name))
        return self._collections[name]

    def other(self, database: str) -> Store:
        """Another database of the same client and namespace; transactions may span both."""
        return Store(self._client, database, self.namespace)

    async def session(self) -> Session:
        """A session of its own, for a writer that wants to be fenced by its successor."""
        with translated():
            return Session(await self._client.start_session())

    async def transaction(self, work: Callable[[Transaction], Awaitable[T]], retry_seconds: float = RETRY_SECONDS) -> T:
        """Runs `work` in one transaction: snapshot reads, majority writes. `work` may run several times and must have no other effect.

        Raises:
            DuplicateKey: an insert met a taken id; nothing stands. Read the ids first, then insert the rest.
            TransientStorageError: after `retry_seconds` of trouble.
        """
        session = await self.session()
        try:
            return await session.run(work, retry_seconds)
        finally:
            await session.end()

    async def kill_sessions(self, ids: Sequence[Mapping[str, Any]]) -> None:
        """Ends other processes' sessions with whatever transaction they hold open. Idempotent."""
        if ids:
            with translated():
                await self._client.admin.command("killSessions", list(ids))

    async def transaction_lifetime_seconds(self) -> int:
        """How long the server lets a transaction stay open (`transactionLifetimeLimitSeconds`)."""
        with translated():
            answer = await self._client.admin.command({"getParameter": 1, "transactionLifetimeLimitSeconds": 1})
        return int(answer["transactionLifetimeLimitSeconds"])

    async def create_collection(self, name: str, **options: Any) -> None:
        """Creates the collection unless it exists. For migrations; several processes may do so at once."""
        if name in await self.collection_names():
            return
        try:
            with translated():
                await self._native.create_collection(name, check_exists=False, **options)
        except StorageError:
            if name not in await self.collection_names():  # else another process was as fast
                raise

    async def collection_names(self) -> list[str]:
        """Names of the collections that exist."""
        with translated():
            return list(await self._native.list_collection_names())

    async def drop(self) -> None:
        """Drops the whole database. For tests and for a fresh start on purpose."""
        with translated():
            await self._client.drop_database(self._native.name)

    def close(self) -> None:
        """Closes the client, and with it every store made by `other`."""
        self._client.close()

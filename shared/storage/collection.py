"""A thin, typed view of one collection: plain documents in and out, our errors, transactions by argument."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from motor.core import AgnosticClientSession, AgnosticCollection
from pymongo import ReturnDocument

from shared.storage.errors import translated
from shared.storage.operations import WriteOperation
from shared.storage.session import Transaction

Document = dict[str, Any]
Filter = Mapping[str, Any]
Projection = Mapping[str, Any] | Sequence[str]
Sort = Sequence[tuple[str, int]]

_ONE_BATCH = 10_000
"""Documents asked for at once; the server ends a batch at 16 MiB anyway, and a second round trip costs more than the memory."""


class Collection:
    """One collection. Every method may block for the client's timeout and raises the errors of `shared.storage.errors`."""

    def __init__(self, native: AgnosticCollection[Document]) -> None:
        self._native = native

    @property
    def name(self) -> str:
        """Name within its database."""
        return self._native.name

    async def find_by_ids(
        self, ids: Iterable[Any], *, projection: Projection | None = None, transaction: Transaction | None = None
    ) -> dict[Any, Document]:
        """The documents with these ids, by id; ids without a document are left out. No ids: no round trip."""
        wanted = list(ids)
        if not wanted:
            return {}
        found = await self.find({"_id": {"$in": wanted}}, projection=projection, transaction=transaction)
        return {document["_id"]: document for document in found}

    async def find(
        self,
        filter: Filter,  # noqa: A002 - MongoDB's own word
        *,
        projection: Projection | None = None,
        sort: Sort | None = None,
        limit: int = 0,
        transaction: Transaction | None = None,
    ) -> list[Document]:
        """All documents that match, in memory; give a `limit` where they may be many."""
        with translated():
            cursor = self._native.find(
                filter, projection, sort=sort, limit=limit, batch_size=min(limit, _ONE_BATCH) or _ONE_BATCH, session=_session(transaction)
            )
            return list(await cursor.to_list(None))

    async def find_one(
        self,
        filter: Filter,  # noqa: A002
        *,
        projection: Projection | None = None,
        sort: Sort | None = None,
        transaction: Transaction | None = None,
    ) -> Document | None:
        """The first document that matches."""
        with translated():
            return await self._native.find_one(filter, projection, sort=sort, session=_session(transaction))

    async def count(self, filter: Filter, *, transaction: Transaction | None = None) -> int:  # noqa: A002
        """How many documents match, counted exactly."""
        with translated():
            return int(await self._native.count_documents(filter, session=_session(transaction)))

    async def aggregate(self, pipeline: Sequence[Mapping[str, Any]], *, transaction: Transaction | None = None) -> list[Document]:
        """The pipeline's result, in memory."""
        with translated():
            cursor = self._native.aggregate(list(pipeline), session=_session(transaction))
            return list(await cursor.to_list(None))

    async def distinct(self, member: str, filter: Filter | None = None, *, transaction: Transaction | None = None) -> list[Any]:  # noqa: A002
        """The different values of `member` among the documents that match."""
        with translated():
            return list(await self._native.distinct(member, filter, session=_session(transaction)))

    async def bulk(self, operations: Sequence[WriteOperation], *, transaction: Transaction | None = None) -> int:
        """Writes unordered, in one command. Returns how many documents were inserted, matched, upserted or deleted.

        Raises:
            DuplicateKey: an id was taken. Within a transaction nothing stands; outside, all other operations stand.
        """
        if not operations:
            return 0
        with translated():
            result = await self._native.bulk_write(list(operations), ordered=False, session=_session(transaction))
        return result.inserted_count + result.matched_count + result.upserted_count + result.deleted_count

    async def insert_many(self, documents: Sequence[Mapping[str, Any]], *, transaction: Transaction | None = None) -> None:
        """Inserts all, unordered; no documents: no round trip. Raises DuplicateKey as `bulk` does."""
        if not documents:
            return
        with translated():
            await self._native.insert_many([dict(document) for document in documents], ordered=False, session=_session(transaction))

    async def insert_one(self, document: Mapping[str, Any], *, transaction: Transaction | None = None) -> None:
        """Inserts one; DuplicateKey if its id is taken."""
        with translated():
            await self._native.insert_one(dict(document), session=_session(transaction))

    async def update_one(
        self,
        filter: Filter,  # noqa: A002
        update: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        upsert: bool = False,
        transaction: Transaction | None = None,
    ) -> int:
        """Returns 1 if a document matched or was upserted, else 0."""
        with translated():
            result = await self._native.update_one(filter, update, upsert=upsert, session=_session(transaction))
        return 1 if result.upserted_id is not None else int(result.matched_count)

    async def update_many(
        self,
        filter: Filter,  # noqa: A002
        update: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        transaction: Transaction | None = None,
    ) -> int:
        """Returns how many documents matched."""
        with translated():
            return int((await self._native.update_many(filter, update, session=_session(transaction))).matched_count)

    async def find_one_and_update(
        self,
        filter: Filter,  # noqa: A002
        update: Mapping[str, Any],
        *,
        upsert: bool = False,
        transaction: Transaction | None = None,
    ) -> Document | None:
        """Updates the first that matches and returns it as it is afterwards."""
        with translated():
            found: Document | None = await self._native.find_one_and_update(
                filter, update, upsert=upsert, return_document=ReturnDocument.AFTER, session=_session(transaction)
            )
        return found

    async def delete_one(self, filter: Filter, *, transaction: Transaction | None = None) -> int:  # noqa: A002
        """Returns 1 if a document was deleted, else 0."""
        with translated():
            return int((await self._native.delete_one(filter, session=_session(transaction))).deleted_count)

    async def delete_many(self, filter: Filter, *, transaction: Transaction | None = None) -> int:  # noqa: A002
        """Returns how many documents were deleted."""
        with translated():
            return int((await self._native.delete_many(filter, session=_session(transaction))).deleted_count)

    async def create_index(
        self, keys: Sequence[tuple[str, int]], *, unique: bool = False, partial: Filter | None = None, expire_after_seconds: int | None = None
    ) -> None:
        """Creates the index unless it is there. `partial` limits it to the documents that match."""
        options: dict[str, Any] = {"unique": unique}
        if partial is not None:
            options["partialFilterExpression"] = partial
        if expire_after_seconds is not None:
            options["expireAfterSeconds"] = expire_after_seconds
        with translated():
            await self._native.create_index(list(keys), **options)


def _session(transaction: Transaction | None) -> AgnosticClientSession | None:
    return None if transaction is None else transaction.native

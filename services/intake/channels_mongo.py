"""Channels, write keys and import summaries in MongoDB."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from services.intake.domain.channels import Channel, WriteKey
from services.intake.migrations import CHANNELS, IMPORTS, WRITE_KEYS
from shared.storage import Store


class MongoChannels:
    """`Channels` on MongoDB.

    Documents:
        channels    {_id, name, kind, trust, notice_version, created_at}
        write_keys  {_id, channel, hash, created_at, revoked_at}
    """

    def __init__(self, store: Store) -> None:
        self._channels, self._keys = store.collection(CHANNELS), store.collection(WRITE_KEYS)

    async def add(self, channel: Channel) -> None:
        """See `Channels.add`."""
        await self._channels.insert_one(
            {
                "_id": channel.id,
                "name": channel.name,
                "kind": channel.kind,
                "trust": channel.trust,
                "notice_version": channel.notice_version,
                "created_at": channel.created_at,
            }
        )

    async def all(self) -> list[Channel]:
        """See `Channels.all`."""
        return [_channel(document) for document in await self._channels.find({}, sort=[("_id", 1)])]

    async def find(self, channel_id: str) -> Channel | None:
        """See `Channels.find`."""
        document = await self._channels.find_one({"_id": channel_id})
        return None if document is None else _channel(document)

    async def add_key(self, key: WriteKey) -> None:
        """See `Channels.add_key`."""
        await self._keys.insert_one(
            {"_id": key.id, "channel": key.channel_id, "hash": key.key_hash, "created_at": key.created_at, "revoked_at": key.revoked_at}
        )

    async def keys(self, channel_id: str) -> list[WriteKey]:
        """See `Channels.keys`."""
        found = await self._keys.find({"channel": channel_id}, sort=[("created_at", 1), ("_id", 1)])
        return [_key(document) for document in found]

    async def revoke_key(self, channel_id: str, key_id: str, at: datetime) -> bool:
        """See `Channels.revoke_key`. The first time of revocation stays."""
        wanted = {"_id": key_id, "channel": channel_id}
        await self._keys.update_one({**wanted, "revoked_at": None}, {"$set": {"revoked_at": at}})
        return await self._keys.find_one(wanted) is not None

    async def channel_of_key(self, key_hash: bytes) -> Channel | None:
        """See `Channels.channel_of_key`."""
        key = await self._keys.find_one({"hash": key_hash, "revoked_at": None})
        return None if key is None else await self.find(key["channel"])


class MongoImports:
    """`Imports` on MongoDB: {_id: [channel, import id], ...summary}."""

    def __init__(self, store: Store) -> None:
        self._imports = store.collection(IMPORTS)

    async def save(self, import_id: str, channel_id: str, summary: dict[str, Any]) -> None:
        """See `Imports.save`."""
        await self._imports.update_one({"_id": f"{channel_id}/{import_id}"}, {"$set": summary}, upsert=True)

    async def find(self, import_id: str, channel_id: str) -> dict[str, Any] | None:
        """See `Imports.find`."""
        return await self._imports.find_one({"_id": f"{channel_id}/{import_id}"}, projection={"_id": 0})


def _channel(document: dict[str, Any]) -> Channel:
    return Channel(
        id=document["_id"],
        name=document["name"],
        kind=document["kind"],
        trust=document["trust"],
        notice_version=document["notice_version"],
        created_at=document["created_at"],
    )


def _key(document: dict[str, Any]) -> WriteKey:
    return WriteKey(document["_id"], document["channel"], document["hash"], document["created_at"], document["revoked_at"])

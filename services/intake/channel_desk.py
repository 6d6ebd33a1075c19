"""Opens channels, hands out write keys, revokes them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from services.intake.domain.channels import DEFAULT_TRUST, Channel, ChannelKind, WriteKey
from services.intake.ports import Channels
from services.intake.use_cases import utc_now
from services.intake.write_keys import WriteKeys
from shared.access import new_write_key
from shared.hosting import Problem
from shared.storage import DuplicateKey


@dataclass(frozen=True, slots=True)
class NewKey:
    """A write key on its only way out."""

    channel_id: str
    key_id: str
    write_key: str


class ChannelDesk:
    """Everything people do with channels.

    Args:
        current_notice: the notice version of channels that name none.
    """

    def __init__(self, channels: Channels, write_keys: WriteKeys, current_notice: str) -> None:
        self._channels, self._write_keys, self._current_notice = channels, write_keys, current_notice

    async def open(self, channel_id: str, name: str, kind: ChannelKind, trust: int | None, notice_version: str) -> NewKey:
        """Opens a channel with its first key.

        Raises:
            Problem: 409, there is a channel of this id.
        """
        channel_id = channel_id or f"{kind.replace('_', '-')}-{secrets.token_hex(3)}"
        level = DEFAULT_TRUST[kind] if trust is None else trust
        channel = Channel(channel_id, name or channel_id, kind, level, notice_version or self._current_notice, utc_now())
        try:
            await self._channels.add(channel)
        except DuplicateKey:
            raise Problem(409, "channel_exists", "There is a channel with this id already.", "已存在使用该标识的渠道。", "id") from None
        return await self._add_key(channel_id)

    async def all(self) -> list[tuple[Channel, list[WriteKey]]]:
        """Every channel with its keys."""
        return [(channel, await self._channels.keys(channel.id)) for channel in await self._channels.all()]

    async def new_key(self, channel_id: str) -> NewKey:
        """Another key for a channel; Problem 404 if there is none of this id."""
        await self._existing(channel_id)
        return await self._add_key(channel_id)

    async def revoke(self, channel_id: str, key_id: str) -> None:
        """Makes a key useless: here at once, in other processes within `REMEMBERED_SECONDS`. Idempotent; Problem 404 if it never was."""
        if not await self._channels.revoke_key(channel_id, key_id, utc_now()):
            raise Problem.of_status(404)
        self._write_keys.forget()

    async def close(self, channel_id: str) -> None:
        """Revokes all keys; the channel stays known, since submissions name it."""
        await self._existing(channel_id)
        for key in await self._channels.keys(channel_id):
            await self._channels.revoke_key(channel_id, key.id, utc_now())
        self._write_keys.forget()

    async def _add_key(self, channel_id: str) -> NewKey:
        shown, key_hash = new_write_key()
        key = WriteKey(secrets.token_hex(6), channel_id, key_hash, utc_now())
        await self._channels.add_key(key)
        return NewKey(channel_id, key.id, shown)

    async def _existing(self, channel_id: str) -> Channel:
        channel = await self._channels.find(channel_id)
        if channel is None:
            raise Problem.of_status(404)
        return channel

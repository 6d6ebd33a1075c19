"""Who presents this write key? Answers from memory for a moment, so that a revoked key is of no use almost at once."""

from __future__ import annotations

import time
from collections.abc import Callable

from services.intake.domain.channels import Channel
from services.intake.ports import Channels
from shared.access import Principal

REMEMBERED_SECONDS = 1.0
"""How long another process's revocation may go unnoticed; in the process that revokes, the key is dead at once."""
_REMEMBERED_MAX = 10_000


class WriteKeys:
    """Looks write keys up by hash."""

    def __init__(self, channels: Channels, remembered_seconds: float = REMEMBERED_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._channels, self._seconds, self._clock = channels, remembered_seconds, clock
        self._remembered: dict[bytes, tuple[float, Channel]] = {}

    async def principal_of(self, key_hash: bytes) -> Principal | None:
        """The channel behind the key, as `shared.access` asks for it."""
        channel = await self.channel_of(key_hash)
        return None if channel is None else Principal.of_channel(channel.id)

    async def channel_of(self, key_hash: bytes) -> Channel | None:
        """The channel whose living key has this hash, else None."""
        until, channel = self._remembered.get(key_hash, (0.0, None))
        if channel is not None and self._clock() < until:
            return channel
        return self._remember(key_hash, await self._channels.channel_of_key(key_hash))

    def forget(self) -> None:
        """Looks every key up again: channels or keys have changed."""
        self._remembered.clear()

    def _remember(self, key_hash: bytes, channel: Channel | None) -> Channel | None:
        # Only living keys are remembered, so guesses cannot fill the memory.
        self._remembered.pop(key_hash, None)
        if channel is not None:
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[key_hash] = (self._clock() + self._seconds, channel)
        return channel

"""Keeps the Kafka client's logger readable while brokers are away: its reconnect loop writes up to 40 lines a second."""

from __future__ import annotations

import logging
import time

SECONDS_BETWEEN_REPEATS = 10.0


class RateLimit(logging.Filter):
    """Lets one line per place in the code through every ten seconds; the next one says how many were left out."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, int], float] = {}
        self._left_out: dict[tuple[str, int], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        place = (record.pathname, record.lineno)
        now = time.monotonic()
        if now - self._last.get(place, -SECONDS_BETWEEN_REPEATS) < SECONDS_BETWEEN_REPEATS:
            self._left_out[place] = self._left_out.get(place, 0) + 1
            return False
        self._last[place] = now
        if left_out := self._left_out.pop(place, 0):
            record.msg = f"{record.msg} ({left_out} more like this)"
        return True


_limit = RateLimit()


def limit_client_logs() -> None:
    """Limits every logger of the client library. May be called again."""
    names = (
        "consumer.fetcher",
        "consumer.group_coordinator",
        "consumer.consumer",
        "producer.sender",
        "producer.producer",
        "conn",
        "client",
        "cluster",
    )
    for name in ("", *names):
        logger = logging.getLogger(f"aiokafka.{name}".rstrip("."))
        if _limit not in logger.filters:
            logger.addFilter(_limit)

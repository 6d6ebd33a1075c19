"""What a handler wants: documents changed, events published, records set aside."""

from __future__ import annotations

from collections.abc import Iterable

from shared.contracts.event import Outgoing
from shared.messaging.record import Record
from shared.storage import WriteOperation


class Effects:
    """Collected by a handler and carried out by the worker in the batch's transaction, all or nothing.

    Collections are written in the order of their first mention, each by one unordered bulk.
    """

    __slots__ = ("outgoing", "rejections", "writes", "written")

    def __init__(self) -> None:
        self.writes: dict[tuple[str | None, str], list[WriteOperation]] = {}
        self.outgoing: list[Outgoing] = []
        self.rejections: dict[int, str] = {}
        self.written = False

    def write(self, collection: str, *operations: WriteOperation) -> None:
        """Changes documents of the service's own database."""
        self.writes.setdefault((None, collection), []).extend(operations)

    def write_in(self, database: str, collection: str, *operations: WriteOperation) -> None:
        """Changes documents of another database of the same server."""
        self.writes.setdefault((database, collection), []).extend(operations)

    def note_written(self) -> None:
        """Says that the handler changed documents through the transaction itself, so that a pass without other effects is fenced as well."""
        self.written = True

    def publish(self, *outgoing: Outgoing) -> None:
        """Publishes after the commit, in this order per partition."""
        self.outgoing.extend(outgoing)

    def publish_all(self, outgoing: Iterable[Outgoing]) -> None:
        """As `publish`, for what is already a list."""
        self.outgoing.extend(outgoing)

    def reject(self, record: Record, reason_code: str) -> None:
        """Sets this record aside as a dead letter; where the topic says so, later ones of its key are parked behind it.

        The handler then writes and publishes nothing for it. `reason_code` is a stable word, never a text that may quote a value.
        """
        self.rejections[record.offset] = reason_code

    def __bool__(self) -> bool:
        return bool(self.written or self.outgoing or self.rejections or any(self.writes.values()))

"""A file and its mapping out of a request, streamed: the file is never on a disk, whole in memory, or parsed by a form reader."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

import yaml
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser
from starlette.requests import Request

from services.intake.domain.findings import Refused, finding

SMALL_PART_BYTES_MAX = 64 * 1024


@dataclass(slots=True)
class Upload:
    """What a request carries beside its query.

    Attributes:
        parts: small parts by name, complete before the file begins.
        file: the file's bytes in chunks.
    """

    parts: dict[str, str]
    file: AsyncIterator[bytes]


async def open_upload(request: Request) -> Upload:
    """The upload, read as far as the first bytes of its file.

    Raises:
        Refused: a multipart body that is none, a part that is too large, or no file.
    """
    kind, boundary = _content_type(request.headers.get("content-type", ""))
    if kind != "multipart/form-data":
        return Upload({}, request.stream())
    if not boundary:
        raise Refused(finding("malformed_multipart"))
    reader = _MultipartReader(boundary)
    chunks = request.stream()
    async for chunk in chunks:
        reader.feed(chunk)
        if reader.file_begun:
            return Upload(reader.parts, _rest(reader, chunks))
    raise Refused(finding("missing_field", "file"))


def plain_mapping(text: str) -> Any:
    """Plain values of a mapping written as YAML or JSON.

    Raises:
        Refused: neither.
    """
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise Refused(finding("invalid_mapping", "mapping")) from None


def _content_type(header: str) -> tuple[str, bytes]:
    message = Message()
    message["content-type"] = header
    boundary = message.get_param("boundary", "")
    return message.get_content_type() if header else "", boundary.encode("latin-1", "replace") if isinstance(boundary, str) else b""


async def _rest(reader: _MultipartReader, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for each in reader.taken():
        yield each
    async for chunk in chunks:
        reader.feed(chunk)
        for each in reader.taken():
            yield each


@dataclass(slots=True)
class _Part:
    name: str = ""
    header: bytes = b""
    value: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class _MultipartReader:
    """Collects small parts and hands on the bytes of the part called `file`."""

    def __init__(self, boundary: bytes) -> None:
        self.parts: dict[str, str] = {}
        self.file_begun = False
        self._file: list[bytes] = []
        self._part = _Part()
        self._header_value = b""
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_field,
                "on_header_value": self._header_part,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._data,
                "on_part_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        """Reads on. Raises Refused for what is no multipart body."""
        try:
            self._parser.write(chunk)
        except MultipartParseError:
            raise Refused(finding("malformed_multipart")) from None

    def taken(self) -> list[bytes]:
        """The file's bytes read since the last call."""
        taken, self._file = self._file, []
        return taken

    def _begin(self) -> None:
        self._part = _Part()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._part.header += data[start:end]

    def _header_part(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header_end(self) -> None:
        self._part.headers[self._part.header.decode("latin-1").lower()] = self._header_value.decode("utf-8", "replace")
        self._part.header = self._header_value = b""

    def _headers_finished(self) -> None:
        message = Message()
        message["content-disposition"] = self._part.headers.get("content-disposition", "")
        name = message.get_param("name", "", "content-disposition")
        self._part.name = name if isinstance(name, str) else ""
        self.file_begun = self.file_begun or self._part.name == "file"

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part.name == "file":
            self._file.append(data[start:end])
        elif len(self._part.value) + end - start > SMALL_PART_BYTES_MAX:
            raise Refused(finding("too_large", self._part.name[:100]))
        else:
            self._part.value += data[start:end]

    def _end(self) -> None:
        if self._part.name != "file":
            self.parts[self._part.name] = self._part.value.decode("utf-8", "replace")

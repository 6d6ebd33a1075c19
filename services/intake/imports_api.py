"""`POST /v1/imports`: a CSV file with its mapping, streamed."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from services.intake.domain.channels import Channel
from services.intake.domain.findings import Refused, finding
from services.intake.domain.mapping import read_mapping
from services.intake.domain.rules import Rules
from services.intake.door import RETRY_AFTER_SECONDS, Doorkeeper, json_answer, refusal
from services.intake.imports import FILE_BYTES_MAX, ImportFile
from services.intake.micro_batches import Overloaded
from services.intake.models import ImportOut, RefusalOut
from services.intake.ports import Imports
from services.intake.uploads import Upload, open_upload, plain_mapping
from shared.access import Access
from shared.hosting import Problem
from shared.storage import TransientError

IMPORTS_PATH = "/v1/imports"
LARGER_BODIES = {IMPORTS_PATH: FILE_BYTES_MAX}
_MAPPING_TEXT = "YAML or JSON: kind, columns (column to target), constants, message_id, timezone, delimiter, encoding"
_MAPPING_SCHEMA = {"type": "string", "description": _MAPPING_TEXT}
_REQUEST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": f"UTF-8 or GB18030, with a header row, at most {FILE_BYTES_MAX // 1024**2} MiB",
        "content": {
            "text/csv": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["mapping", "file"],
                    "properties": {"mapping": _MAPPING_SCHEMA, "channel": {"type": "string"}, "file": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}
ImportId = Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{0,64}$", description="Repeat it to resume an import that broke off; empty: one is drawn")]


def imports_router(access: Access, doorkeeper: Doorkeeper, import_file: ImportFile, imports: Imports, rules: Rules) -> APIRouter:
    """Files in, counts and rejected rows out."""
    router = APIRouter(tags=["imports"])
    may_import = Depends(access.require("import:manage"))

    @router.post(
        IMPORTS_PATH,
        response_model=ImportOut,
        responses={422: {"model": RefusalOut}},
        dependencies=[may_import],
        openapi_extra=_REQUEST_BODY,
        summary="Import a CSV file: the good rows go on, rejected ones are listed",
    )
    async def import_csv(
        request: Request,
        mapping: Annotated[str, Query(max_length=16_384, description="As the part `mapping`, for a plain text/csv body")] = "",
        channel: Annotated[str, Query(max_length=100, description="For holders of a token: the channel they speak for")] = "",
        import_id: ImportId = "",
    ) -> Response:
        try:
            upload = await open_upload(request)
            source = await _channel(request, upload, channel)
            chosen = read_mapping(plain_mapping(_mapping_text(upload, mapping)), rules)
            report = await import_file(upload.file, chosen, source, import_id or secrets.token_hex(8))
        except Refused as refused:
            return refusal(refused.findings)
        except (Overloaded, TransientError):
            return Problem.of_status(503, {"Retry-After": RETRY_AFTER_SECONDS}).response()
        return json_answer(report.summary(), 200)

    @router.get(IMPORTS_PATH + "/{import_id}", dependencies=[may_import], summary="What became of an import")
    async def report(request: Request, import_id: str, channel: Annotated[str, Query(max_length=100)] = "") -> ImportOut:
        source = await doorkeeper.channel(request.headers.get("authorization"), channel)
        found = await imports.find(import_id, source.id)
        if found is None:
            raise Problem.of_status(404)
        return ImportOut.model_validate(found)

    async def _channel(request: Request, upload: Upload, named: str) -> Channel:
        return await doorkeeper.channel(request.headers.get("authorization"), named or upload.parts.get("channel"))

    return router


def _mapping_text(upload: Upload, query: str) -> str:
    text = upload.parts.get("mapping", query)
    if not text:
        raise Refused(finding("missing_field", "mapping"))
    return text

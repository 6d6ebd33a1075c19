"""Every error a person or a program may meet at an HTTP door, in one shape and two languages."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from shared.storage import TransientError

_BY_STATUS: Mapping[int, tuple[str, str, str]] = {
    401: ("unauthenticated", "Present a valid write key or token.", "请提供有效的写入密钥或令牌。"),
    403: ("forbidden", "Your role does not allow this.", "您的角色无权执行此操作。"),
    404: ("not_found", "There is nothing at this address.", "此地址没有内容。"),
    405: ("method_not_allowed", "This address does not take that method.", "此地址不支持该方法。"),
    413: ("too_large", "The request is too large; send less at a time.", "请求过大，请分批发送。"),
    422: ("invalid", "The request does not fit the schema.", "请求不符合格式要求。"),
    429: ("busy", "Too much at once; try again after the stated time.", "请求过多，请在指定时间后重试。"),
    503: ("unavailable", "The service cannot do this right now; try again.", "服务暂时不可用，请重试。"),
}


class Message(BaseModel):
    """A text for people, in English and Chinese."""

    en: str
    zh: str


class ProblemBody(BaseModel):
    """The body of every error answer."""

    code: str
    message: Message
    field: str | None = None


class Problem(Exception):
    """An error answer.

    Args:
        status: HTTP status.
        code: stable reason code in snake case.
        en: what is wrong and the way out; never repeats a value that was sent.
        zh: the same in Chinese.
        field: path of the member at fault, e.g. `fields.phone`.
        headers: extra headers, e.g. Retry-After.
    """

    def __init__(self, status: int, code: str, en: str, zh: str, field: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.en = en
        self.zh = zh
        self.field = field
        self.headers = dict(headers or {})

    @classmethod
    def of_status(cls, status: int, headers: Mapping[str, str] | None = None) -> Problem:
        """The standard answer for a status."""
        code, en, zh = _BY_STATUS.get(status, ("error", HTTPStatus(status).phrase, "请求失败。"))
        return cls(status, code, en, zh, headers=headers)

    def response(self) -> JSONResponse:
        """The answer to send."""
        body: dict[str, Any] = {"code": self.code, "message": {"en": self.en, "zh": self.zh}}
        if self.field is not None:
            body["field"] = self.field
        return JSONResponse(body, status_code=self.status, headers=self.headers)


def _field_path(location: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in location if part not in ("body", "query", "path", "header"))


def install_problem_handlers(app: FastAPI) -> None:
    """Gives every error of the framework the one shape. Values that were sent are never repeated."""

    @app.exception_handler(Problem)
    async def _problem(_: Request, problem: Problem) -> JSONResponse:
        return problem.response()

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        # pydantic's `type` is a stable code; its `msg` may quote the value.
        problem = Problem.of_status(422)
        problem.code = str(first["type"])
        problem.field = _field_path(tuple(first["loc"])) or None
        return problem.response()

    @app.exception_handler(HTTPException)
    async def _status(_: Request, error: HTTPException) -> JSONResponse:
        # The framework's 400 is a body that it cannot read at all: no UTF-8, or nested without end. To the sender that is one more way not to fit.
        return Problem.of_status(422 if error.status_code == 400 else error.status_code, error.headers).response()

    @app.exception_handler(TransientError)
    async def _unavailable(_: Request, __: TransientError) -> JSONResponse:
        return Problem.of_status(503, {"Retry-After": "2"}).response()

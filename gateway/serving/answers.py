"""What goes wrong, as an answer: JSON with a letter in it, of the shape that OpenAI's clients know, for all routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from actors.errors import (
    AgentBusy,
    AgentNotStarted,
    ConfigError,
    DeadlineExceeded,
    Draining,
    DuplicateRequest,
    InvalidArgument,
    InvalidRecord,
    LimitExceeded,
    NotPermitted,
    PoolFull,
    ProviderError,
    RayUnavailable,
    Recovering,
    RequestEnded,
    RequestFailed,
    RequestOpen,
    RouterClosed,
    RouterNotFound,
    RouterUnavailable,
    SettingsError,
    StreamRouterError,
    UnknownRequest,
)
from gateway.formats.form import encode

RETRY_AFTER_S = "1"

_STATUSES: tuple[tuple[int, tuple[type[StreamRouterError], ...]], ...] = (
    (400, (InvalidArgument, InvalidRecord, SettingsError, ConfigError)),
    (403, (NotPermitted,)),
    (404, (UnknownRequest,)),
    (409, (DuplicateRequest, AgentBusy, RequestEnded, RequestOpen)),
    (429, (LimitExceeded, PoolFull)),
    (502, (RequestFailed, ProviderError)),
    (503, (RouterUnavailable, RouterClosed, RouterNotFound, RayUnavailable, Recovering, Draining, DeadlineExceeded)),
    (503, (AgentNotStarted,)),
)
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    429: "rate_limit_error",
}
_MAY_BE_TRIED_AGAIN = frozenset({429, 503})


def status_of(error: StreamRouterError) -> int:
    """Return the status that an error is answered with."""
    return next((status for status, kinds in _STATUSES if isinstance(error, kinds)), 500)


def refusal(status: int, code: str, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return an answer that says what was wrong."""
    said = {"error": {"message": text, "type": _TYPES.get(status, "api_error"), "param": None, "code": code}}
    given = dict(headers or {})
    if status in _MAY_BE_TRIED_AGAIN:
        given.setdefault("Retry-After", RETRY_AFTER_S)
    elif status == web.HTTPConflict.status_code:
        given["x-should-retry"] = "false"  # the clients of OpenAI and Letta would, by themselves
    return answer(said, status, given)


def refusal_of(error: StreamRouterError) -> web.Response:
    """Return the answer to a request that raised an error of ours."""
    return refusal(status_of(error), error.code, str(error))


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a value as JSON, which nobody keeps."""
    given = {"Cache-Control": "no-store", **(headers or {})}
    return web.Response(body=encode(value) + b"\n", status=status, content_type="application/json", headers=given)

"""The scripted provider: an HTTP server that answers like a model provider, from recordings.

Routes, each with the errors in that provider's own shape:

    POST /v1/chat/completions                              OpenAI chat
    POST /v1/responses                                     OpenAI Responses
    POST /v1/messages                                      Anthropic Messages
    POST /v1beta/models/{model}:streamGenerateContent      Gemini
    GET  /v1/models                                        the recordings, as a list of models
    GET  /health

The request's `model` picks the recording: a recording's name, else a model's name, else any of the
route's kind, in turn. The script is the server's own, changed by the header `x-script`
(`stall_s=2&cut_after=5`), changed by the query (`?events_per_s=50`). A header `x-script-key` makes
the random choices of a request repeatable whatever else is asked for at the same time.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from actors.errors import ConfigError, RecordingError
from router.scripted_provider.library import Library, Recording
from router.scripted_provider.script import SCRIPT_HEADER, Plan, Refusal, Script, parse_header, plan

KEY_HEADER = "x-script-key"

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_NOT_OURS = {"alt", "key", "beta"}  # query parameters of the real providers


def make_app(library: Library, script: Script) -> web.Application:
    """Return the server's application."""
    return _Provider(library, script).app()


class _Provider:
    def __init__(self, library: Library, script: Script) -> None:
        self._library = library
        self._script = script
        self._ordinals: Counter[str] = Counter()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/responses", self._responses)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_post("/v1beta/models/{model}:streamGenerateContent", self._gemini)
        return app

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "recordings": len(self._library.recordings)})

    async def _models(self, _: web.Request) -> web.Response:
        entries = [
            {"id": recording.name, "object": "model", "created": 0, "owned_by": recording.provider}
            for recording in self._library.recordings.values()
        ]
        return web.json_response({"object": "list", "data": entries})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, "openai-chat")

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, "openai-responses")

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, "anthropic-messages")

    async def _gemini(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, "gemini", request.match_info["model"])

    async def _answer(self, request: web.Request, api: str, model: str | None = None) -> web.StreamResponse:
        try:
            recording, decided = await self._decide(request, api, model)
        except RecordingError as error:
            return _error(api, 404, str(error))
        except ConfigError as error:
            return _error(api, 400, str(error))
        if isinstance(decided, Refusal):
            return _refuse(api, decided)
        return await _play(request, recording, decided)

    async def _decide(self, request: web.Request, api: str, model: str | None) -> tuple[Recording, Plan | Refusal]:
        wanted = model or _model_of(await request.read())
        recording = self._library.choose(api, wanted, self._next(f"{api}/{wanted}"))
        script = self._script_of(request.headers, request.query)
        # With a key of its own, a caller's first request is ordinal 0 and its retry 1, whatever others do.
        key = f"{recording.name}/{request.headers.get(KEY_HEADER, '')}"
        return recording, plan(recording.events, api, script, key, self._next(f"key/{key}"))

    def _next(self, what: str) -> int:
        self._ordinals[what] += 1
        return self._ordinals[what] - 1

    def _script_of(self, headers: Mapping[str, str], query: Mapping[str, str]) -> Script:
        asked = {key: value for key, value in query.items() if key not in _NOT_OURS}
        header = headers.get(SCRIPT_HEADER)
        if header is None and not asked:
            return self._script
        base = self._script.model_dump(exclude_unset=True)
        return Script.load(base, parse_header(header or ""), asked)


def _model_of(body: bytes) -> str:
    """Return the model that a request asks for. Raises ConfigError for what is no request for a stream."""
    try:
        asked = json.loads(body)
    except ValueError as error:
        raise ConfigError(f"the body is not JSON: {error}") from None
    model = asked.get("model") if isinstance(asked, dict) else None
    if not isinstance(model, str) or not model:
        raise ConfigError("'model' is missing: name a recording, or any model")
    if asked.get("stream") is not True:
        raise ConfigError("this provider plays recorded streams: set 'stream' to true")
    return model


async def _play(request: web.Request, recording: Recording, decided: Plan) -> web.StreamResponse:
    response = web.StreamResponse(headers=_headers(recording))
    await response.prepare(request)
    loop = asyncio.get_running_loop()
    due = loop.time()
    try:
        for step in decided.steps:
            if step.wait_s:
                due += step.wait_s  # counted from the start, so that late wake-ups do not add up
                await asyncio.sleep(due - loop.time())
            await response.write(step.data)
    except ConnectionError:
        return response  # the client has closed the connection
    if decided.ending == "cut" and request.transport is not None:
        request.transport.abort()
        return response
    await response.write_eof()
    return response


def _headers(recording: Recording) -> dict[str, str]:
    return {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache",
        "x-recording": recording.name,
        "x-recorded-provider": recording.provider,
    }


def _refuse(api: str, refusal: Refusal) -> web.Response:
    headers = {} if refusal.retry_after_s is None else {"retry-after": str(refusal.retry_after_s)}
    if refusal.body == "html":
        page = f"<html><head><title>{refusal.status}</title></head><body><h1>Bad gateway</h1></body></html>"
        return web.Response(status=refusal.status, text=page, content_type="text/html", headers=headers)
    if refusal.body == "empty":
        return web.Response(status=refusal.status, headers=headers)
    return _error(api, refusal.status, f"scripted answer {refusal.status}", headers)


def _error(api: str, status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    kind = _ERROR_TYPES.get(status, "api_error")
    body: dict[str, Any]
    if api == "anthropic-messages":
        body = {"type": "error", "error": {"type": kind, "message": text}}
    elif api == "gemini":
        body = {"error": {"code": status, "message": text, "status": kind.upper()}}
    else:
        body = {"error": {"message": text, "type": kind, "param": None, "code": None}}
    return web.json_response(body, status=status, headers=headers)

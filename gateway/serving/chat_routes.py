"""OpenAI's chat completions: the agents are its models.

POST /v1/chat/completions    run an agent, streamed or not
GET  /v1/models[/ID]         which there are
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Any

from aiohttp import web

from actors.errors import DuplicateRequest, InvalidArgument, UnknownRequest
from gateway.formats.chat import ChatForm, completion
from gateway.serving.answers import answer, refusal
from gateway.serving.asking import Gateway, body_of, permit
from gateway.serving.route import FLAG, OBJECTS, TEXT, Route, fields, said, shows, shows_or_streams

KEY_CHARACTERS_MAX = 256


class ChatRoutes:
    """Answers as OpenAI's API does."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def routes(self) -> list[Route]:
        """See `Routes`."""
        read = ("read",)
        body = said(fields(("model", "messages"), model=TEXT, messages=OBJECTS, stream=FLAG), "As OpenAI's API has it.")
        key = {"Idempotency-Key": said(TEXT, "The same one is the same run.")}
        whole = shows_or_streams("A chat completion, whole or in chunks.", {"x-request-id": "The request's ID."})
        return [
            Route(
                "POST", "/v1/chat/completions", self._create, "Run an agent.", ("run", "read"),
                headers=key, body=body, answers=whole,
            ),
            Route("GET", "/v1/models", self._models, "List the agents.", read, answers=shows("Models.")),
            Route("GET", "/v1/models/{agent}", self._model, "Show an agent.", read, answers=shows("It.")),
        ]  # fmt: skip

    async def _create(self, request: web.Request) -> web.StreamResponse:
        permit(self._gateway, request, "run")
        permit(self._gateway, request, "read")
        body = await body_of(request)
        if not isinstance(body.get("messages"), list) or not body["messages"]:
            raise InvalidArgument("messages: expected a list of at least one message")
        model = body.get("model")
        request_id = await self._run(request, model, body)
        headers = {"x-request-id": request_id}
        if not body.get("stream"):
            result = await self._gateway.router.result(request_id, raise_failed=False)
            return answer(completion(result, str(model)), headers=headers)
        options = body.get("stream_options")
        with_usage = bool(isinstance(options, dict) and options.get("include_usage"))
        key = ("chat", model, with_usage)
        make_form = partial(ChatForm, str(model), with_usage=with_usage)
        return await self._gateway.streams.respond(request, request_id, key, make_form, headers=headers)

    async def _run(self, request: web.Request, model: Any, body: dict[str, Any]) -> str:
        """Start a run, or find the one that the same request has started already. Returns its request ID."""
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return await self._gateway.run(model, _input(body))
        if not 0 < len(key) <= KEY_CHARACTERS_MAX:
            raise InvalidArgument(f"Idempotency-Key: expected 1 to {KEY_CHARACTERS_MAX} characters, got {len(key)}")
        caller = self._gateway.caller.name
        said = f"{caller}\n{model}\n{key}".encode("utf-8", "surrogatepass")  # a header may hold any bytes
        request_id = "chat-" + hashlib.sha256(said).hexdigest()[:32]
        try:
            await self._gateway.router.request(request_id)
        except UnknownRequest:
            try:
                await self._gateway.run(model, _input(body), request_id=request_id)
            except DuplicateRequest:
                return request_id  # it was started at the same time, by the same request again
        return request_id

    async def _models(self, request: web.Request) -> web.StreamResponse:
        permit(self._gateway, request, "read")
        return answer({"object": "list", "data": [_shown(name) for name in sorted(self._gateway.agents)]})

    async def _model(self, request: web.Request) -> web.StreamResponse:
        permit(self._gateway, request, "read")
        name = request.match_info["agent"]
        if name not in self._gateway.agents:
            return refusal(404, "model_not_found", f"there is no model {name[:60]!r} here; GET /v1/models names all")
        return answer(_shown(name))


def _input(body: dict[str, Any]) -> dict[str, Any]:
    """Return what an agent is called with: the request without what is the gateway's to do."""
    return {key: value for key, value in body.items() if key not in {"model", "stream", "stream_options"}}


def _shown(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "stream-router"}

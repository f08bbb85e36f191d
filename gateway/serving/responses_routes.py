"""OpenAI's Responses API: the agents are its models.

POST /v1/responses               run an agent: streamed, whole, or in the background
GET  /v1/responses/ID            how it stands; ?stream=true&starting_after=N reads on
POST /v1/responses/ID/cancel
DELETE /v1/responses/ID          forget one that has ended
"""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any

from aiohttp import web

from gateway.formats.responses import ResponsesForm
from gateway.formats.responses_input import input_of
from gateway.runs.order import AGENT_TAG
from gateway.serving.answers import answer
from gateway.serving.asking import Gateway, body_of, flag, permit, said_until_now, whole_number
from gateway.serving.route import FLAG, NUMBER, TEXT, Route, fields, said, shows, shows_or_streams
from router import RequestInfo

_RESPONSE = "/v1/responses/{id}"


class ResponsesRoutes:
    """Answers as OpenAI's Responses API does."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def routes(self) -> list[Route]:
        """See `Routes`."""
        text = {"type": ["string", "array"]}
        flags = {"stream": FLAG, "background": FLAG}
        body = said(fields(("model", "input"), model=TEXT, input=text, **flags), "As OpenAI's API has it.")
        query = {"stream": FLAG, "starting_after": said(NUMBER, "The last `sequence_number` that was had.")}
        either = shows_or_streams("A response, whole or as events.", {"x-request-id": "The response's ID."})
        gone = shows("It is gone.", fields(("id", "object", "deleted"), id=TEXT, object=TEXT, deleted=FLAG))
        return [
            Route("POST", "/v1/responses", self._create, "Run an agent.", ("run", "read"), body=body, answers=either),
            Route("GET", _RESPONSE, self._show, "Show a response, or read on.", ("read",), query, answers=either),
            Route("DELETE", _RESPONSE, self._delete, "Forget one that has ended.", ("cancel",), answers=gone),
            Route("POST", _RESPONSE + "/cancel", self._cancel, "Cancel.", ("cancel",), answers=shows("The response.")),
        ]

    async def _create(self, request: web.Request) -> web.StreamResponse:
        permit(self._gateway, request, "run")
        permit(self._gateway, request, "read")
        body = await body_of(request)
        model = body.get("model")
        request_id = f"resp_{secrets.token_hex(16)}"
        await self._gateway.run(model, input_of(body), request_id=request_id)
        if body.get("stream"):
            return await self._stream(request, request_id, str(model), 0)
        if not body.get("background"):
            await self._gateway.router.result(request_id, raise_failed=False)
        return await self._as_it_stands(await self._gateway.router.request(request_id))

    async def _show(self, request: web.Request) -> web.StreamResponse:
        request_id = request.match_info["id"]
        permit(self._gateway, request, "read", request_id)
        info = await self._gateway.router.request(request_id)
        if not flag(request.query.get("stream"), "stream"):
            return await self._as_it_stands(info)
        # A frame's number is one more than the event's.
        asked = request.query.get("starting_after")
        after = 0 if asked is None else whole_number(asked, "starting_after") + 1
        return await self._stream(request, request_id, _model_of(info), after)

    async def _stream(self, request: web.Request, request_id: str, model: str, after: int) -> web.StreamResponse:
        make_form = partial(ResponsesForm, request_id, model)
        headers = {"x-request-id": request_id}
        return await self._gateway.streams.respond(
            request, request_id, ("responses", model), make_form, after=after, headers=headers
        )

    async def _as_it_stands(self, info: RequestInfo) -> web.Response:
        form = ResponsesForm(info.request_id, _model_of(info))
        for message in await said_until_now(self._gateway, info):
            form.feed(message)
        response: dict[str, Any] = form.response()
        if not response["created_at"]:
            response["created_at"] = int(info.created_at.timestamp())
        return answer(response, headers={"x-request-id": info.request_id})

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        request_id = request.match_info["id"]
        permit(self._gateway, request, "cancel", request_id)
        await self._gateway.router.cancel(request_id)
        await self._gateway.router.result(request_id, raise_failed=False)
        return await self._as_it_stands(await self._gateway.router.request(request_id))

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        request_id = request.match_info["id"]
        permit(self._gateway, request, "cancel", request_id)
        await self._gateway.router.forget(request_id)
        return answer({"id": request_id, "object": "response", "deleted": True})


def _model_of(info: RequestInfo) -> str:
    return info.tags.get(AGENT_TAG) or info.agent_id or "agent"

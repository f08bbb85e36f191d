"""The routes that the Vercel AI SDK's `DefaultChatTransport` asks by itself.

POST /api/chat              run an agent, and read it
GET  /api/chat/ID/stream    read the run that a chat has under way, all of it; 204 where it has none
"""

from __future__ import annotations

from functools import partial
from urllib.parse import quote

from aiohttp import web

from actors.errors import InvalidArgument
from gateway.formats.ui import HEADER, UiForm
from gateway.formats.ui_input import turns_of
from gateway.serving.asking import Gateway, body_of, permit
from gateway.serving.route import OBJECTS, TEXT, Answer, Route, fields, said, streams
from gateway.serving.streams import HEADERS

CHAT_TAG = "chat"
_OWN = frozenset({"id", "messages", "trigger", "messageId", "agent"})


class UiRoutes:
    """Answers as an AI SDK server does."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def routes(self) -> list[Route]:
        """See `Routes`."""
        body = said(fields(("messages",), id=TEXT, messages=OBJECTS, agent=TEXT), "As the AI SDK sends it.")
        parts = streams("A UI message stream.", {"X-Stream-Id": "The request's ID, percent-encoded."})
        none = {204: Answer("The chat has none.")}
        return [
            Route("POST", "/api/chat", self._chat, "Run an agent.", ("run", "read"), body=body, answers=parts),
            Route(
                "GET", "/api/chat/{chat}/stream", self._resume, "Read the run that a chat has under way.", ("read",),
                answers={**parts, **none},
            ),
        ]  # fmt: skip

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        permit(self._gateway, request, "run")
        permit(self._gateway, request, "read")
        body = await body_of(request)
        given = {"messages": turns_of(body.get("messages"))}
        given |= {key: value for key, value in body.items() if key not in _OWN}
        chat = body.get("id")
        if chat is not None and not isinstance(chat, str):
            raise InvalidArgument(f"id: expected the chat's ID as text, got {type(chat).__name__}")
        tags = {} if chat is None else {CHAT_TAG: chat}
        agents = self._gateway.agents
        name = body.get("agent") or (next(iter(agents)) if len(agents) == 1 else None)
        return await self._respond(request, await self._gateway.run(name, given, tags=tags))

    async def _resume(self, request: web.Request) -> web.StreamResponse:
        permit(self._gateway, request, "read")
        tag = {CHAT_TAG: request.match_info["chat"]}
        found = await self._gateway.router.list(tag=tag, state="open", newest_first=True, limit=1)
        if not found:
            return web.Response(status=204, headers=HEADERS)
        return await self._respond(request, found[0].request_id)

    async def _respond(self, request: web.Request, request_id: str) -> web.StreamResponse:
        headers = {HEADER: "v1", "X-Stream-Id": quote(request_id, safe="")}
        make_form = partial(UiForm, request_id)
        return await self._gateway.streams.respond(request, request_id, ("ui",), make_form, headers=headers)

"""The route that a client of AG-UI posts to.

POST /agui, /agui/AGENT    run an agent, and read it; with a run that is known already, read that
"""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import quote

from aiohttp import web

from actors.errors import DuplicateRequest, InvalidArgument, UnknownRequest
from gateway.formats.agui import AguiForm, had_before
from gateway.formats.agui_input import input_of, more_of
from gateway.runs.order import THREAD_TAG
from gateway.serving.asking import Gateway, body_of, permit
from gateway.serving.route import OBJECTS, TEXT, Route, fields, streams

RUN_PREFIX = "agui-"
"""Of the request IDs of its runs; the rest is the client's `runId`."""
ID_CHARACTERS_MAX = 128


class AguiRoutes:
    """Answers as an agent of AG-UI does."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def routes(self) -> list[Route]:
        """See `Routes`."""
        needed = ("threadId", "runId", "messages")
        body = fields(needed, threadId=TEXT, runId=TEXT, messages=OBJECTS, tools=OBJECTS)
        says = "Run an agent; with a `runId` that is known, read that run."
        return [
            Route("POST", path, self._run, says, ("run", "read"), body=body, answers=streams("Events of AG-UI."))
            for path in ("/agui", "/agui/{agent}")
        ]

    async def _run(self, request: web.Request) -> web.StreamResponse:
        permit(self._gateway, request, "run")
        permit(self._gateway, request, "read")
        body = await body_of(request)
        thread_id, run_id = _id(body, "threadId"), _id(body, "runId")
        request_id = RUN_PREFIX + run_id
        is_new = await self._begin(request, body, thread_id, request_id)
        had = None if is_new else had_before(body.get("messages") or (), run_id)
        make_form = partial(AguiForm, thread_id, run_id, had)
        headers = {"X-Stream-Id": quote(request_id, safe="")}
        return await self._gateway.streams.respond(
            request, request_id, ("agui", thread_id, run_id), make_form, headers=headers
        )

    async def _begin(self, request: web.Request, body: dict[str, Any], thread_id: str, request_id: str) -> bool:
        """Start a run, unless it is known already; say whether it was started."""
        try:
            await self._gateway.router.request(request_id)
        except UnknownRequest:
            agents = self._gateway.agents
            name = request.match_info.get("agent") or (next(iter(agents)) if len(agents) == 1 else None)
            given = input_of(body)
            if self._gateway.agent(name).endpoint is None:
                given |= more_of(body)
            try:
                await self._gateway.run(name, given, request_id=request_id, tags={THREAD_TAG: thread_id})
            except DuplicateRequest:
                return False  # the same run was started at the same time
            return True
        return False


def _id(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= ID_CHARACTERS_MAX or not value.isprintable():
        raise InvalidArgument(f"{key}: expected printable text of 1 to {ID_CHARACTERS_MAX} characters")
    return value

"""The routes of Letta's API that its clients start, read, find and cancel runs by.

POST /v1/agents/ID/messages[/stream]         start a run of the agent ID, and read it
POST /v1/conversations/ID/messages           the same; ID is the agent's, or `default` with `agent_id` in the body
POST /v1/runs/ID/stream                      read a run from a cursor (`starting_after`)
GET  /v1/runs/, /v1/runs/ID[/messages,/usage,/steps]
POST /v1/agents/ID/messages/cancel           cancel runs, which are named (`run_ids`)
GET  /v1/health/
"""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import Any

from aiohttp import web

from actors.errors import InvalidArgument, StreamRouterError, UnknownRequest
from gateway.formats.letta import LettaForm, letta_usage
from gateway.formats.letta_runs import STREAM_TOKENS, input_of, response_of, run_of, status_of, whole_messages
from gateway.runs.order import AGENT_TAG
from gateway.serving.answers import answer
from gateway.serving.asking import Gateway, body_of, flag, permit, said_until_now, whole_number
from gateway.serving.route import (
    FLAG,
    NUMBER,
    OBJECT,
    OBJECTS,
    TEXT,
    Route,
    Schema,
    fields,
    said,
    shows,
    shows_or_streams,
    streams,
)
from router import RequestInfo

LIMIT_MAX = 1000
_AGENT = "/v1/agents/{agent}/messages"
_RUN = "/v1/runs/{id}"
_LIST: dict[str, Schema] = {
    "agent_id": TEXT,
    "agent_ids": {"type": "array", "items": TEXT},
    "statuses": {"type": "array", "items": TEXT},
    "stop_reason": TEXT,
    "active": FLAG,
    "after": said(TEXT, "Behind this run."),
    "limit": NUMBER,
    "order": said(TEXT, "asc or desc."),
    "ascending": FLAG,
}
_MESSAGES: dict[str, Schema] = {"after": said(TEXT, "Behind this message."), "limit": NUMBER, "order": TEXT}


class LettaRoutes:
    """Answers as Letta's server does."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def routes(self) -> list[Route]:
        """See `Routes`."""
        read, runs = ("read",), ("run", "read")
        create, both = partial(self._create, streams=False), shows_or_streams("What it says, streamed or whole.")
        stream = partial(self._create, streams=True)
        many = shows("A list.", OBJECTS)
        body = said(OBJECT, "As Letta's API has it: `input` or `messages`, `streaming`, `stream_tokens`, ...")
        cancel = fields(("run_ids",), run_ids={"type": "array", "items": TEXT})
        return [
            Route("POST", _AGENT, create, "Run an agent.", runs, body=body, answers=both),
            Route("POST", _AGENT + "/stream", stream, "The same, streamed.", runs, body=body, answers=both),
            Route(
                "POST", _AGENT + "/cancel", self._cancel, "Cancel runs.", ("cancel",),
                body=cancel, answers=shows("What became of each."),
            ),
            Route("POST", "/v1/conversations/{agent}/messages", stream, "Run an agent.", runs, body=body, answers=both),
            Route("GET", "/v1/runs/", self._list, "List runs.", read, _LIST, answers=shows("Runs.", OBJECTS)),
            Route("GET", _RUN, self._show, "Show a run.", read, answers=shows("The run.")),
            Route(
                "POST", _RUN + "/stream", self._stream, "Read a run from a cursor to its end.", read,
                body=fields(starting_after=said(NUMBER, "The last `seq_id` that was had.")), needs_body=False,
                answers=streams("Letta's messages."),
            ),
            Route("GET", _RUN + "/messages", self._messages, "Show what a run said.", read, _MESSAGES, answers=many),
            Route("GET", _RUN + "/usage", self._usage, "Show a run's tokens.", read, answers=shows("Counts.")),
            Route("GET", _RUN + "/steps", self._steps, "Show none: no steps are kept.", read, answers=many),
            Route("GET", "/v1/health/", self._health, "Say that it runs.", answers=shows("It does.")),
        ]  # fmt: skip

    # --- running and reading ----------------------------------------------------------------

    async def _create(self, request: web.Request, *, streams: bool) -> web.StreamResponse:
        permit(self._gateway, request, "run")
        permit(self._gateway, request, "read")
        body = await body_of(request)
        agent = request.match_info["agent"]
        if agent == "default":
            agent = body.get("agent_id") or ""
        tokens = bool(body.get("stream_tokens"))
        request_id = await self._gateway.run(agent, input_of(body), metadata={STREAM_TOKENS: tokens})
        # What a route does where the body leaves it open: to an agent's plain route it does not stream.
        if body.get("streaming", streams):
            return await self._respond(request, request_id, body, 0, tokens=tokens)
        result = await self._gateway.router.result(request_id, raise_failed=False)
        return answer(response_of(result), headers={"x-request-id": request_id})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        request_id = request.match_info["id"]
        permit(self._gateway, request, "read", request_id)
        body = await body_of(request) if request.can_read_body else {}
        after = body.get("starting_after") or 0
        if not isinstance(after, int) or isinstance(after, bool) or after < 0:
            raise InvalidArgument(f"starting_after: expected a whole number, 0 or more, got {after!r:.40}")
        info = await self._gateway.router.request(request_id)
        return await self._respond(request, request_id, body, after, tokens=info.metadata.get(STREAM_TOKENS, True))

    async def _respond(
        self, request: web.Request, request_id: str, body: dict[str, Any], after: int, *, tokens: bool
    ) -> web.StreamResponse:
        pings = bool(body.get("include_pings"))
        types = body.get("include_return_message_types")
        if types is not None and not (isinstance(types, list) and all(isinstance(kind, str) for kind in types)):
            raise InvalidArgument("include_return_message_types: expected a list of types")
        wanted = None if types is None else frozenset(types)
        key = ("letta", tokens, pings, wanted)
        make_form = partial(LettaForm, request_id, whole=not tokens, with_pings=pings, types=wanted)
        headers = {"x-request-id": request_id}
        return await self._gateway.streams.respond(request, request_id, key, make_form, after=after, headers=headers)

    # --- finding ----------------------------------------------------------------------------

    async def _list(self, request: web.Request) -> web.StreamResponse:
        permit(self._gateway, request, "read")
        query = request.query
        if "before" in query:
            raise InvalidArgument("before: runs are listed forwards only; use after, and order=asc or desc")
        agents = [*query.getall("agent_ids", []), *query.getall("agent_id", [])]
        statuses = {*query.getall("statuses", []), *query.getall("statuses[]", [])}
        if flag(query.get("active"), "active"):
            statuses |= {"created", "running"}
        limit = min(whole_number(query.get("limit"), "limit") or 100, LIMIT_MAX)
        newest_first = query.get("order", "desc") != "asc" and not flag(query.get("ascending"), "ascending")
        after = query.get("after")
        found = await self._found(agents, statuses, after, limit, query.get("stop_reason"), newest_first=newest_first)
        return answer([run_of(info, AGENT_TAG) for info in found])

    async def _found(
        self,
        agents: list[str],
        statuses: set[str],
        after: str | None,
        limit: int,
        stop_reason: str | None,
        *,
        newest_first: bool,
    ) -> list[RequestInfo]:
        """Return runs behind the one that is named; none where that is not there, or its pager would begin anew."""
        tag = {AGENT_TAG: agents[0]} if len(agents) == 1 else None
        found: list[RequestInfo] = []
        is_behind, cursor = after is None, None
        while len(found) < limit:
            page = await self._gateway.router.list(tag=tag, after=cursor, limit=LIMIT_MAX, newest_first=newest_first)
            for info in page:
                is_wanted = not statuses or status_of(info) in statuses
                run = run_of(info, AGENT_TAG)
                is_wanted = is_wanted and (not agents or run["agent_id"] in agents)
                is_wanted = is_wanted and (stop_reason is None or run["stop_reason"] == stop_reason)
                if is_behind and is_wanted:
                    found.append(info)
                is_behind = is_behind or info.request_id == after
            if not page.has_more:
                break
            cursor = page.cursor
        return found[:limit]

    async def _show(self, request: web.Request) -> web.StreamResponse:
        return answer(run_of(await self._info(request), AGENT_TAG))

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        info = await self._info(request)
        messages = whole_messages(await said_until_now(self._gateway, info))
        if request.query.get("order") == "desc":
            messages.reverse()
        after = request.query.get("after")
        if after is not None:
            behind = [number for number, message in enumerate(messages, 1) if message["id"] == after]
            messages = messages[behind[-1] :] if behind else []
        limit = whole_number(request.query.get("limit"), "limit") or 100
        # The messages of one step share an ID, which is the pager's cursor: a page ends where a step does.
        while limit < len(messages) and messages[limit]["id"] == messages[limit - 1]["id"]:
            limit += 1
        return answer(messages[:limit])

    async def _usage(self, request: web.Request) -> web.StreamResponse:
        info = await self._info(request)
        usage = {} if info.usage is None else info.usage.model_dump()
        return answer(letta_usage(usage, info.request_id))

    async def _steps(self, request: web.Request) -> web.StreamResponse:
        await self._info(request)
        return answer([])  # what a step was is not kept

    async def _info(self, request: web.Request) -> RequestInfo:
        request_id = request.match_info["id"]
        permit(self._gateway, request, "read", request_id)
        return await self._gateway.router.request(request_id)

    # --- cancelling -------------------------------------------------------------------------

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        permit(self._gateway, request, "cancel")
        body = await body_of(request)
        run_ids = body.get("run_ids")
        if not isinstance(run_ids, list) or not run_ids or not all(isinstance(one, str) for one in run_ids):
            raise InvalidArgument("run_ids: expected a list of the runs to cancel; which are under way nobody guesses")
        return answer({run_id: await self._cancelled(run_id) for run_id in run_ids})

    async def _cancelled(self, run_id: str) -> str:
        try:
            was_open = await self._gateway.router.cancel(run_id)
        except UnknownRequest:
            return "failed: there is no such run"
        except StreamRouterError as error:
            return f"failed: {error}"
        return "cancelled" if was_open else "failed: it has ended already"

    async def _health(self, _: web.Request) -> web.StreamResponse:
        return answer({"status": "ok", "version": version("agent-stream-router")})

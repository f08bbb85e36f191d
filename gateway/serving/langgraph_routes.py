"""The routes of LangGraph's server that its SDKs start, read, find, join and cancel runs by.

POST /threads, GET /threads/THREAD                 a thread's name; nothing is kept of it
POST /threads/THREAD/runs[/stream,/wait]           start a run of the agent `assistant_id`
POST /runs[/stream,/wait]                          the same without a thread
GET  /threads/THREAD/runs[/ID]                     runs of a thread
GET  /threads/THREAD/runs/ID/stream, /join         read a run from a cursor; wait for its end
POST /threads/THREAD/runs/ID/cancel
POST /assistants/search, GET /assistants/ID        the agents
GET  /ok, /info

A thread is the tag `thread` of its runs. A run without one is in a thread of its own name.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any
from urllib.parse import quote, urlencode

from aiohttp import web

from actors.errors import InvalidArgument, StreamRouterError, UnknownRequest
from gateway.formats.form import encode
from gateway.formats.langgraph import LangGraphForm, status_of
from gateway.formats.langgraph_input import STREAM_MODE, check_run, input_of, modes_of, more_of
from gateway.runs.order import AGENT_TAG, THREAD_TAG
from gateway.serving.answers import answer, refusal
from gateway.serving.asking import Gateway, body_of, flag, permit, whole_number
from gateway.serving.route import (
    FLAG,
    NUMBER,
    OBJECT,
    OBJECTS,
    TEXT,
    Answer,
    Route,
    Schema,
    fields,
    said,
    shows,
    streams,
)
from gateway.serving.streams import HEADERS
from router import RequestInfo

LIMIT_MAX = 1000
_NAME_CHARACTERS_MAX = 128
_RUNS = "/threads/{thread}/runs"
_RUN = _RUNS + "/{id}"
_PLACES = {"Content-Location": "The run.", "Location": "Where its client reads on after a cut."}
_BODY = fields(
    ("assistant_id", "input"),
    assistant_id=said(TEXT, "The agent."),
    input=said(OBJECT, "With `messages`."),
    stream_mode={"type": ["string", "array"]},
    metadata=OBJECT,
)
_SEARCH: dict[str, Schema] = {"limit": NUMBER, "offset": NUMBER, "graph_id": TEXT, "name": TEXT}
_LIST: dict[str, Schema] = {"limit": NUMBER, "offset": NUMBER, "status": TEXT}
_STREAM: dict[str, Schema] = {"stream_mode": {"type": "array", "items": TEXT}, "cancel_on_disconnect": FLAG}
_CANCEL: dict[str, Schema] = {"wait": FLAG, "action": said(TEXT, "interrupt.")}


class LangGraphRoutes:
    """Answers as LangGraph's server does."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def routes(self) -> list[Route]:
        """See `Routes`."""
        read, runs, run = ("read",), ("run", "read"), shows("A run.", headers=_PLACES)
        events = streams("Events of the modes that were asked for, each with its number as `id`.", _PLACES)
        last = {"Last-Event-ID": said(NUMBER, "The `id` of the last event that was had.")}
        gone = {202: Answer("It is told to end."), 204: Answer("It has ended, where `wait` is set.")}
        values = shows("The values that it came to; `__error__` where it failed.", headers=_PLACES)
        routes = [
            Route("POST", "/threads", self._thread, "Name a thread.", read, body=OBJECT, answers=shows("It.")),
            Route("GET", "/threads/{thread}", self._show_thread, "Show a thread.", read, answers=shows("It.")),
            Route("GET", _RUNS, self._list, "List a thread's runs.", read, _LIST, answers=shows("Runs.", OBJECTS)),
            Route("GET", _RUN, self._show, "Show a run.", read, answers=run),
            Route("GET", _RUN + "/join", self._join, "Wait for a run's end.", read, answers=values),
            Route("GET", _RUN + "/stream", self._stream, "Read a run on.", read, _STREAM, last, answers=events),
            Route("GET", "/runs/{id}/stream", self._stream, "Read a run on.", read, _STREAM, last, answers=events),
            Route("POST", _RUN + "/cancel", self._cancel, "Cancel a run.", ("cancel",), _CANCEL, answers=gone),
            Route(
                "POST", "/assistants/search", self._search, "List the agents.", read,
                body=fields(**_SEARCH), answers=shows("Them.", OBJECTS),
            ),
            Route("GET", "/assistants/{agent}", self._assistant, "Show an agent.", read, answers=shows("It.")),
            Route("GET", "/ok", self._ok, "Say that it runs.", answers=shows("It does.")),
            Route("GET", "/info", self._info, "Say what it is.", answers=shows("Its version.")),
        ]  # fmt: skip
        for path in (_RUNS, "/runs"):
            routes += [
                Route("POST", path, self._create, "Start a run.", runs, body=_BODY, answers=run),
                Route(
                    "POST", path + "/stream", self._create_and_stream, "And read it.", runs, body=_BODY, answers=events
                ),
                Route(
                    "POST", path + "/wait", self._create_and_wait, "And wait for it.", runs, body=_BODY, answers=values
                ),
            ]
        return routes

    # --- starting ---------------------------------------------------------------------------

    async def _create(self, request: web.Request) -> web.StreamResponse:
        info = await self._started(request)
        return answer(_run_of(info), headers=_headers(info))

    async def _create_and_stream(self, request: web.Request) -> web.StreamResponse:
        info = await self._started(request)
        return await self._respond(request, info, modes_of(info.metadata.get(STREAM_MODE)), 0)

    async def _create_and_wait(self, request: web.Request) -> web.StreamResponse:
        return await self._wait(request, await self._started(request))

    async def _started(self, request: web.Request) -> RequestInfo:
        """Start a run; return how it stands."""
        permit(self._gateway, request, "run")
        permit(self._gateway, request, "read")
        body = await body_of(request)
        check_run(body)
        modes = modes_of(body.get("stream_mode"))
        metadata = body.get("metadata") or {}
        if not isinstance(metadata, dict):
            raise InvalidArgument(f"metadata: expected an object, got {type(metadata).__name__}")
        name = body.get("assistant_id")
        given = input_of(body)
        if self._gateway.agent(name).endpoint is None:
            given |= more_of(body)
        thread = request.match_info.get("thread")
        is_alone = body.get("multitask_strategy") == "reject" and thread is not None
        request_id = await self._gateway.run(
            name,
            given,
            tags={} if thread is None else {THREAD_TAG: _named(thread)},
            metadata={**metadata, STREAM_MODE: modes},
            agent_id=f"{THREAD_TAG}-{thread}" if is_alone else None,
        )
        return await self._gateway.router.request(request_id)

    # --- reading ----------------------------------------------------------------------------

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        info = await self._found(request)
        after = whole_number(request.headers.get("Last-Event-ID"), "Last-Event-ID")
        if flag(request.query.get("cancel_on_disconnect"), "cancel_on_disconnect"):
            raise InvalidArgument("cancel_on_disconnect: a reader that leaves cancels nothing here; cancel the run")
        asked = [mode for text in request.query.getall("stream_mode", []) for mode in text.split(",") if mode]
        return await self._respond(request, info, modes_of(asked or info.metadata.get(STREAM_MODE)), after)

    async def _respond(
        self, request: web.Request, info: RequestInfo, modes: tuple[str, ...], after: int
    ) -> web.StreamResponse:
        key = ("langgraph", *sorted(modes))
        make_form = partial(LangGraphForm, info.request_id, thread_of(info), frozenset(modes), is_resumed=bool(after))
        return await self._gateway.streams.respond(
            request, info.request_id, key, make_form, after=after, headers=_headers(info, modes)
        )

    async def _join(self, request: web.Request) -> web.StreamResponse:
        return await self._wait(request, await self._found(request))

    async def _wait(self, request: web.Request, info: RequestInfo) -> web.StreamResponse:
        """Answer with what a run has come to when it ends. What it waits with are line ends, which JSON leaves out."""
        self._gateway.streams.check_room()
        response = web.StreamResponse(headers={**HEADERS, **_headers(info, ends="join")})
        response.content_type = "application/json"
        await response.prepare(request)
        form = LangGraphForm(info.request_id, thread_of(info), frozenset())
        ping_s = self._gateway.config.heartbeat_s
        try:
            async for batch in self._gateway.router.subscribe(
                info.request_id, format="dict", observer=True, ping_s=ping_s
            ):
                for message in batch.messages:
                    if message["message_type"] == "ping":
                        await response.write(b"\n")
                    else:
                        form.feed(message)
            await response.write(encode(form.values()) + b"\n")
        except StreamRouterError:
            if request.transport is not None:
                request.transport.close()  # without its end: its client comes again, to `Location`
        return response

    # --- finding ----------------------------------------------------------------------------

    async def _found(self, request: web.Request, scope: str = "read") -> RequestInfo:
        """Return how the run stands that an address names. Raises UnknownRequest where its thread has no such run."""
        request_id = request.match_info["id"]
        permit(self._gateway, request, scope, request_id)
        info = await self._gateway.router.request(request_id)
        thread = request.match_info.get("thread", thread_of(info))
        if thread != thread_of(info):
            raise UnknownRequest(f"thread {thread[:60]!r} has no run {request_id[:60]!r}")
        return info

    async def _show(self, request: web.Request) -> web.StreamResponse:
        info = await self._found(request)
        return answer(_run_of(info), headers=_headers(info))

    async def _list(self, request: web.Request) -> web.StreamResponse:
        permit(self._gateway, request, "read")
        limit = min(whole_number(request.query.get("limit"), "limit") or 10, LIMIT_MAX)
        offset = whole_number(request.query.get("offset"), "offset")
        found = [_run_of(info) for info in await self._runs(request.match_info["thread"])]
        status = request.query.get("status") or None
        wanted = [run for run in found if status in {None, run["status"]}]
        return answer(wanted[offset : offset + limit])

    async def _runs(self, thread: str) -> list[RequestInfo]:
        """Return a thread's newest runs, the newest first."""
        router = self._gateway.router
        return list(await router.list(tag={THREAD_TAG: thread}, newest_first=True, limit=LIMIT_MAX))

    async def _thread(self, request: web.Request) -> web.StreamResponse:
        permit(self._gateway, request, "read")
        body = await body_of(request)
        if body.get("supersteps"):
            raise InvalidArgument("supersteps: nothing is kept of a thread here but the runs that are in it")
        return answer(await self._thread_of_name(_named(body.get("thread_id") or str(uuid.uuid4()))))

    async def _show_thread(self, request: web.Request) -> web.StreamResponse:
        permit(self._gateway, request, "read")
        return answer(await self._thread_of_name(_named(request.match_info["thread"])))

    async def _thread_of_name(self, thread: str) -> dict[str, Any]:
        """Return a thread as it is shown: whatever has a name is one, and its runs say how it stands."""
        runs = await self._runs(thread)
        statuses = [_run_of(info)["status"] for info in runs]
        is_busy = not {"pending", "running"}.isdisjoint(statuses)
        newest = statuses[0] if statuses else "success"
        ended = {"success": "idle", "interrupted": "idle"}.get(newest, "error")
        now = datetime.now(UTC)
        return {
            "thread_id": thread,
            "created_at": (runs[-1].created_at if runs else now).isoformat(),
            "updated_at": (runs[0].created_at if runs else now).isoformat(),
            "metadata": {},
            "status": "busy" if is_busy else ended,
            "values": None,
            "interrupts": {},
        }

    # --- cancelling -------------------------------------------------------------------------

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        info = await self._found(request, "cancel")
        action = request.query.get("action") or "interrupt"
        if action != "interrupt":
            raise InvalidArgument(f"action: expected interrupt, got {action[:40]!r}; what a run has said stays said")
        waits = flag(request.query.get("wait"), "wait")
        await self._gateway.router.cancel(info.request_id)
        if not waits:
            return web.Response(status=202, headers=_headers(info))
        async for _ in self._gateway.router.subscribe(info.request_id, format="dict", observer=True):
            pass
        return web.Response(status=204, headers=_headers(info))

    # --- agents -----------------------------------------------------------------------------

    async def _search(self, request: web.Request) -> web.StreamResponse:
        permit(self._gateway, request, "read")
        body = await body_of(request)
        graph, name = body.get("graph_id"), str(body.get("name") or "").lower()
        known = sorted(self._gateway.agents)
        found = [agent for agent in known if graph in {None, agent} and name in agent.lower()]
        first = whole_number(str(body.get("offset") or 0), "offset")
        limit = whole_number(str(body.get("limit") or 10), "limit")
        return answer([_shown(agent) for agent in found[first : first + limit]])

    async def _assistant(self, request: web.Request) -> web.StreamResponse:
        permit(self._gateway, request, "read")
        name = request.match_info["agent"]
        if name not in self._gateway.agents:
            return refusal(404, "unknown_agent", f"there is no agent {name[:60]!r} here; /assistants/search names all")
        return answer(_shown(name))

    async def _ok(self, _: web.Request) -> web.StreamResponse:
        return answer({"ok": True})

    async def _info(self, _: web.Request) -> web.StreamResponse:
        return answer({"version": version("agent-stream-router"), "flags": {"assistants": True, "crons": False}})


def _named(thread: Any) -> str:
    if not isinstance(thread, str) or not 0 < len(thread) <= _NAME_CHARACTERS_MAX or not thread.isprintable():
        raise InvalidArgument(f"thread_id: expected printable text of 1 to {_NAME_CHARACTERS_MAX} characters")
    return thread


def thread_of(info: RequestInfo) -> str:
    """Return the thread that a run is in."""
    return info.tags.get(THREAD_TAG) or info.request_id


def _headers(info: RequestInfo, modes: tuple[str, ...] = (), ends: str = "stream") -> dict[str, str]:
    """Return where a run is, and where its client goes on after a cut."""
    place = f"/threads/{quote(thread_of(info), safe='')}/runs/{quote(info.request_id, safe='')}"
    query = f"?{urlencode([('stream_mode', mode) for mode in modes])}" if modes else ""
    return {
        "Content-Location": place,
        "Location": f"{place}/{ends}{query}",
        "X-Stream-Id": quote(info.request_id, safe=""),
    }


def _run_of(info: RequestInfo) -> dict[str, Any]:
    """Return a request as a run."""
    created = info.created_at.isoformat()
    return {
        "run_id": info.request_id,
        "thread_id": thread_of(info),
        "assistant_id": info.tags.get(AGENT_TAG) or info.agent_id or "",
        "created_at": created,
        "updated_at": created,
        "status": status_of(info.stop_reason, is_waiting=info.state == "waiting"),
        "metadata": {key: value for key, value in info.metadata.items() if key != STREAM_MODE},
        "multitask_strategy": "reject" if info.agent_id else None,
    }


def _shown(agent: str) -> dict[str, Any]:
    """Return an agent as an assistant."""
    return {
        "assistant_id": agent,
        "graph_id": agent,
        "name": agent,
        "description": None,
        "config": {},
        "context": {},
        "metadata": {},
        "version": 1,
        "created_at": "1970-01-01T00:00:00+00:00",
        "updated_at": "1970-01-01T00:00:00+00:00",
    }

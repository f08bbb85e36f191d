"""The routes of our own format. docs/gateway.md shows them.

POST   /v1/streams              start a run
GET    /v1/streams              what there is
GET    /v1/streams/ID           how it stands
GET    /v1/streams/ID/events    what it says: server-sent events
GET    /v1/streams/events?ids=  what several say, in one connection
POST   /v1/streams/ID/ticket    an address for a browser
DELETE /v1/streams/ID           cancel
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any
from urllib.parse import quote

from aiohttp import web

from actors.errors import (
    DuplicateRequest,
    InvalidArgument,
    LimitExceeded,
    Recovering,
    RouterUnavailable,
    StreamRouterError,
    UnknownRequest,
)
from gateway.formats.many import SEQ_DIGITS_MAX, ManyForm, Place, joined, names_in, places_in
from gateway.formats.native import MESSAGE_TYPES, NativeForm
from gateway.serving.answers import answer
from gateway.serving.asking import Gateway, body_of, flag, permit, turns_of, whole_number
from gateway.serving.entry import name_of_many
from gateway.serving.openapi import ref
from gateway.serving.route import (
    EVENTS_TYPE,
    FLAG,
    JSON_TYPE,
    NUMBER,
    OBJECT,
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
_STREAM = "/v1/streams/{id}"
_MANY = "/v1/streams/events"
MANY_MAX = 100
_HEAD_BYTES = len("Last-Event-ID: ")
_STARTS_WITH = frozenset({"agent", "input", "id", "tags", "metadata", "agent_id"})
_FILTERS = ("agent", "state", "since", "after")
_START: Schema = fields(
    ("agent", "input"),
    agent=said(TEXT, "What is to run."),
    input=said({"type": ["string", "object"]}, "Text, or the object that the agent is called with."),
    id=said(TEXT, "The request's ID; without one it gets one."),
    tags={"type": "object", "additionalProperties": TEXT},
    metadata=OBJECT,
    agent_id=said(TEXT, "Of one ID, one request runs at a time."),
)
_PLACE = {"Location": "The stream.", "X-Stream-Id": "The request's ID, percent-encoded."}
_STARTED = {
    200: Answer("The stream itself, where `Accept` is text/event-stream.", {EVENTS_TYPE: TEXT}, _PLACE),
    201: Answer("It runs.", {JSON_TYPE: fields(("id", "events"), id=TEXT, events=TEXT)}, _PLACE),
}
_LIST: dict[str, Schema] = {
    "agent": said(TEXT, "Of this agent_id."),
    "tag": said(TEXT, "With this tag: NAME=VALUE, or NAME; several times: with all of them."),
    "state": said(TEXT, "In this state."),
    "since": said(TEXT, "Opened since then."),
    "after": said(TEXT, "Behind this cursor."),
    "limit": said(NUMBER, f"At most so many, up to {LIMIT_MAX}."),
    "newest_first": FLAG,
}
_PAGE = fields(
    ("streams", "cursor", "has_more"),
    streams={"type": "array", "items": ref("Stream")},
    cursor={"type": ["string", "null"]},
    has_more=FLAG,
)
_CANCEL = {"after_step": said(FLAG, "Not before the step that is under way has ended.")}
_EVENTS: dict[str, Schema] = {
    "after": said(NUMBER, "The `seq_id` of the last message that was had."),
    "types": said(TEXT, "Messages of these types only, joined by commas."),
    "wait_s": said(NUMBER, "Wait for a request that is opened only later."),
}
_EVENTS_OF_MANY: dict[str, Schema] = {
    "ids": said(TEXT, f"Streams, separated by commas, each percent-encoded; at most {MANY_MAX}."),
    "after": said(TEXT, "The `id` of the last event that was had."),
    "types": _EVENTS["types"],
    "wait_s": _EVENTS["wait_s"],
}
# On a reconnect, any answer but 200 or 204 makes an EventSource give up for good.
_PASSES = (RouterUnavailable, Recovering, LimitExceeded)
_COME_AGAIN = b"retry: 2000\n\n"


async def come_again(request: web.Request) -> web.StreamResponse:
    """Answer an EventSource that has come back while it cannot be served; it closes, and comes again by itself."""
    response = web.StreamResponse(headers={**HEADERS, "Content-Type": NativeForm.content_type})
    response.force_close()  # so that it comes to another gateway, where there is one
    await response.prepare(request)
    await response.write(_COME_AGAIN)
    await response.write_eof()
    return response


class NativeRoutes:
    """Answers in our own format."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def routes(self) -> list[Route]:
        """See `Routes`."""
        read, run, cancel = ("read",), ("run",), ("cancel",)
        ends = {204: Answer("There is nothing behind the cursor, and the stream has ended.")}
        return [
            Route("POST", "/v1/streams", self._start, "Start a run.", run, body=_START, answers=_STARTED),
            Route("GET", "/v1/streams", self._list, "List streams.", read, _LIST, answers=shows("A page.", _PAGE)),
            Route(
                "GET", _MANY, self._events_of_many, "Read several streams in one connection.", read, _EVENTS_OF_MANY,
                {"Last-Event-ID": said(TEXT, "The cursor, as an `EventSource` sends it; goes before `after`.")},
                answers={**streams("Messages, `stream` in each; `event: end` for each, and one for all."), **ends},
            ),
            Route("GET", _STREAM, self._show, "Show how a stream stands.", read, answers=shows("It.", ref("Stream"))),
            Route("DELETE", _STREAM, self._cancel, "Cancel a run.", cancel, _CANCEL, answers=shows("Whether it ran.")),
            Route(
                "GET", _STREAM + "/events", self._events, "Read a stream from a cursor to its end.", read, _EVENTS,
                {"Last-Event-ID": said(NUMBER, "The cursor, as an `EventSource` sends it; goes before `after`.")},
                answers={**streams("Messages (`Message`), the seq_id as `id`; then `event: end`."), **ends},
            ),
            Route(
                "POST", _STREAM + "/ticket", self._ticket, "Get an address that opens a stream for a minute.", read,
                answers=shows("The address, `events`."),
            ),
        ]  # fmt: skip

    async def _start(self, request: web.Request) -> web.StreamResponse:
        permit(self._gateway, request, "run")
        body = await body_of(request)
        unknown = body.keys() - _STARTS_WITH
        if unknown:
            raise InvalidArgument(
                f"unknown keys {', '.join(sorted(unknown))}; there are {', '.join(sorted(_STARTS_WITH))}"
            )
        request_id = body.get("id")
        if request_id is not None and await self._is_known(request_id):
            raise DuplicateRequest(f"there is a stream {request_id!r} already; read it, or choose another id")
        request_id = await self._gateway.run(
            body.get("agent"),
            turns_of(body.get("input")),
            request_id=request_id,
            tags=body.get("tags"),
            metadata=body.get("metadata"),
            agent_id=body.get("agent_id"),
        )
        place = f"/v1/streams/{quote(request_id, safe='')}"
        headers = {"Location": place, "X-Stream-Id": quote(request_id, safe="")}
        if "text/event-stream" in request.headers.get("Accept", ""):
            permit(self._gateway, request, "read", request_id)
            return await self._respond(request, request_id, 0, headers)
        return answer({"id": request_id, "events": f"{place}/events"}, 201, headers)

    async def _is_known(self, request_id: Any) -> bool:
        try:
            await self._gateway.router.request(request_id)
        except UnknownRequest:
            return False
        return True

    async def _list(self, request: web.Request) -> web.StreamResponse:
        permit(self._gateway, request, "read")
        query: dict[str, Any] = {key: request.query[key] for key in _FILTERS if key in request.query}
        if tags := request.query.getall("tag", []):
            query["tag"] = tags[0] if len(tags) == 1 else _tags(tags)
        limit = whole_number(request.query.get("limit"), "limit") or 100
        if limit > LIMIT_MAX:
            raise InvalidArgument(f"limit: at most {LIMIT_MAX}")
        newest_first = flag(request.query.get("newest_first"), "newest_first")
        found = await self._gateway.router.list(**query, limit=limit, newest_first=newest_first)
        return answer({"streams": [_shown(one) for one in found], "cursor": found.cursor, "has_more": found.has_more})

    async def _show(self, request: web.Request) -> web.StreamResponse:
        request_id = request.match_info.get("id", "events")
        permit(self._gateway, request, "read", request_id)
        return answer(_shown(await self._gateway.router.request(request_id)))

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        request_id = request.match_info["id"]
        permit(self._gateway, request, "cancel", request_id)
        after_step = flag(request.query.get("after_step"), "after_step")
        was_open = await self._gateway.router.cancel(request_id, after_step=after_step)
        return answer({"id": request_id, "cancelled": was_open})

    async def _ticket(self, request: web.Request) -> web.StreamResponse:
        names = self._names(request)
        name = request.match_info["id"] if names is None else name_of_many(names)
        permit(self._gateway, request, "read", name)
        gateway = self._gateway
        for request_id in names or [name]:
            await gateway.router.request(request_id)
        place = f"/v1/streams/{quote(name, safe='')}/events?" if names is None else f"{_MANY}?ids={joined(names)}&"
        if gateway.entry.is_open:
            return answer({"events": place[:-1], "token": None, "expires_in_s": None})
        ticket = gateway.ticket(name)
        return answer(
            {"events": f"{place}token={ticket}", "token": ticket, "expires_in_s": int(gateway.config.ticket_s)}
        )

    def _names(self, request: web.Request) -> list[str] | None:
        """Return which streams `ids` names; None: there is no `ids`. Raises InvalidArgument."""
        names = names_in(request.rel_url.raw_query_string)
        cursor_bytes = sum(len(quote(name, safe="")) + SEQ_DIGITS_MAX + 3 for name in names or ()) + _HEAD_BYTES
        if len(names or ()) > MANY_MAX or cursor_bytes > self._gateway.config.head_bytes_max:
            raise InvalidArgument(
                f"ids: at most {MANY_MAX} streams, and a cursor over them of at most head_bytes_max "
                f"({self._gateway.config.head_bytes_max}); got {len(names or ())} and {cursor_bytes}"
            )
        return names

    async def _events_of_many(self, request: web.Request) -> web.StreamResponse:
        names = self._names(request)
        if names is None:
            return await self._show(request)  # of a stream that is called `events`
        permit(self._gateway, request, "read", name_of_many(names))
        last_id = request.headers.get("Last-Event-ID")
        places = places_in(request.query.get("after") if last_id is None else last_id, names)
        try:
            return await self._resume_many(request, places)
        except StreamRouterError as error:
            if last_id is None or not isinstance(error, _PASSES):
                raise
            return await come_again(request)

    async def _resume_many(self, request: web.Request, places: dict[str, Place]) -> web.StreamResponse:
        form = ManyForm(places, _types(request.query.get("types")))
        if form.have_all_ended:
            return web.Response(status=204, headers=HEADERS)
        self._gateway.streams.check_room(len(places))
        wait_s = whole_number(request.query.get("wait_s"), "wait_s")
        left = [name for name, place in places.items() if not place.has_ended]
        found = await asyncio.gather(*(self._known(name, wait_s) for name in left), return_exceptions=True)
        is_resumed = any(place.seq_id or place.has_ended for place in places.values())
        lost: dict[str, StreamRouterError] = {}
        for name, info in zip(left, found, strict=True):
            if isinstance(info, UnknownRequest) and is_resumed:
                lost[name] = info  # the others go on
            elif isinstance(info, BaseException):
                raise info
        return await self._gateway.streams.respond_many(request, form, lost, is_resumed=is_resumed)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        request_id = request.match_info["id"]
        permit(self._gateway, request, "read", request_id)
        last_id = request.headers.get("Last-Event-ID")
        after = whole_number(request.query.get("after") if last_id is None else last_id, "after")
        try:
            return await self._resume(request, request_id, after)
        except StreamRouterError as error:
            if last_id is None or not isinstance(error, _PASSES):
                raise
            return await come_again(request)

    async def _resume(self, request: web.Request, request_id: str, after: int) -> web.StreamResponse:
        self._gateway.streams.check_room()
        info = await self._known(request_id, whole_number(request.query.get("wait_s"), "wait_s"))
        if after and info.state == "sealed" and after >= info.last_seq_id:
            return web.Response(status=204, headers=HEADERS)  # an EventSource comes no more
        return await self._respond(request, request_id, after)

    async def _known(self, request_id: str, wait_s: int) -> RequestInfo:
        """Return how a request stands, which may be opened only later. Raises UnknownRequest."""
        router = self._gateway.router
        if wait_s:
            await router.locate(request_id, wait_s=min(wait_s, 60))
        return await router.request(request_id)

    async def _respond(
        self, request: web.Request, request_id: str, after: int, headers: dict[str, str] | None = None
    ) -> web.StreamResponse:
        types = _types(request.query.get("types"))
        key = ("native", *sorted(types or ()))
        make_form = partial(NativeForm, request_id, types)
        return await self._gateway.streams.respond(request, request_id, key, make_form, after=after, headers=headers)


def _types(text: str | None) -> frozenset[str] | None:
    if not text:
        return None
    types = frozenset(text.split(","))
    unknown = types - MESSAGE_TYPES
    if unknown:
        raise InvalidArgument(f"types: {', '.join(sorted(unknown))[:80]}; known are {', '.join(sorted(MESSAGE_TYPES))}")
    return types


def _tags(texts: list[str]) -> dict[str, str | None]:
    """Return several tags, each as `name` (whatever its value) or `name=value`."""
    pairs = [text.partition("=") for text in texts]
    return {name: value if sign else None for name, sign, value in pairs}


def _shown(info: RequestInfo) -> dict[str, Any]:
    """Return a request as it is shown; `owner` is the service's own."""
    shown = info.model_dump(mode="json", exclude={"owner", "request_id"})
    return {"id": info.request_id, **shown}

"""What whoever looks at runs asks beside the runs themselves; the page at `/` does.

GET /v1/about                     what is served here, and what the caller may do
GET /v1/streams/ID/readers        who reads a stream, and how far behind each is
GET /v1/streams/ID/as/FORMAT      its bytes in any of the formats, as that format's own clients have them
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from aiohttp import web

from actors.errors import InvalidArgument
from gateway.formats.agui import AguiForm
from gateway.formats.chat import ChatForm
from gateway.formats.langgraph import MODES, LangGraphForm
from gateway.formats.letta import LettaForm
from gateway.formats.native import NativeForm
from gateway.formats.responses import ResponsesForm
from gateway.formats.ui import UiForm
from gateway.runs.order import AGENT_TAG
from gateway.serving.agui_routes import RUN_PREFIX
from gateway.serving.answers import answer
from gateway.serving.asking import Gateway, permit, whole_number
from gateway.serving.langgraph_routes import thread_of
from gateway.serving.route import NUMBER, TEXT, Route, Schema, fields, said, shows, streams
from gateway.serving.tap import MakeForm
from gateway.serving.whose import Source
from router import RequestInfo, StreamRouter

LAGGARDS = 200
"""Of so many requests the service's own lag is asked for: those that lag most."""
LOOK_S = 1.0
"""So long one look at the service is good for all who ask."""

_Form = tuple[tuple[Any, ...], MakeForm]
"""What a tap is known by, which is what the format's own routes know it by, and what makes the form."""


def _agent_of(info: RequestInfo) -> str:
    return info.tags.get(AGENT_TAG) or info.agent_id or "agent"


def _chat(info: RequestInfo) -> _Form:
    model = _agent_of(info)
    return ("chat", model, True), partial(ChatForm, model, with_usage=True)


def _responses(info: RequestInfo) -> _Form:
    return ("responses", _agent_of(info)), partial(ResponsesForm, info.request_id, _agent_of(info))


def _agui(info: RequestInfo) -> _Form:
    thread_id, run_id = thread_of(info), info.request_id.removeprefix(RUN_PREFIX)
    return ("agui", thread_id, run_id), partial(AguiForm, thread_id, run_id)


def _langgraph(info: RequestInfo) -> _Form:
    modes = frozenset(MODES)
    return ("langgraph", *sorted(modes)), partial(LangGraphForm, info.request_id, thread_of(info), modes)


FORMS: dict[str, Callable[[RequestInfo], _Form]] = {
    "native": lambda info: (("native",), partial(NativeForm, info.request_id)),
    "letta": lambda info: (("letta", True, False, None), partial(LettaForm, info.request_id)),
    "chat": _chat,
    "responses": _responses,
    "ui": lambda info: (("ui",), partial(UiForm, info.request_id)),
    "agui": _agui,
    "langgraph": _langgraph,
}
"""Of each format what makes its bytes of a run that anybody has started."""


_READER = fields(
    ("format", "at", "behind", "unsent_bytes"),
    format=TEXT,
    at={"type": ["integer", "null"]},
    behind=said({"type": ["integer", "null"]}, "Events of its format; null: it has yet to catch up."),
    unsent_bytes=NUMBER,
)
_CONSUMER = fields(("behind", "unread_bytes"), behind=NUMBER, unread_bytes=NUMBER)
_READERS = shows(
    "Its readers here, and whom its publisher waits for.",
    fields(
        ("id", "last_seq_id", "here", "consumer"),
        id=TEXT,
        last_seq_id=NUMBER,
        here={"type": "array", "items": _READER},
        consumer={"oneOf": [_CONSUMER, {"type": "null"}]},
    ),
)
_NAMES: Schema = {"type": "array", "items": TEXT}
_ABOUT = shows("It.", fields(("formats", "agents", "scopes"), formats=_NAMES, agents=_NAMES, scopes=_NAMES))


class LookingRoutes:
    """Answers about streams."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._looks: dict[StreamRouter, tuple[float, dict[str, dict[str, int]]]] = {}  # of each tenant, and when

    def routes(self) -> list[Route]:
        """See `Routes`."""
        read = ("read",)
        stream = "/v1/streams/{id}"
        after = {"after": said(NUMBER, "The number of the last event that was had, as the format counts.")}
        return [
            Route("GET", "/v1/about", self._about, "Say what is served, and what the caller may do.", answers=_ABOUT),
            Route("GET", stream + "/readers", self._readers, "Say who reads a stream.", read, answers=_READERS),
            Route(
                "GET", stream + "/as/{format}", self._as, "Read a stream in any of the formats.", read, after,
                answers=streams("What that format's own clients have."),
            ),
        ]  # fmt: skip

    async def _about(self, _: web.Request) -> web.StreamResponse:
        config = self._gateway.config
        agents, scopes = sorted(self._gateway.agents), sorted(self._gateway.caller.scopes)
        return answer({"formats": list(config.formats), "agents": agents, "scopes": scopes})

    async def _readers(self, request: web.Request) -> web.StreamResponse:
        request_id = request.match_info["id"]
        permit(self._gateway, request, "read", request_id)
        info = await self._gateway.router.request(request_id)
        source = await self._gateway.source(request_id)
        here = self._gateway.streams.readers_of(source)
        consumer = None if info.state == "sealed" else await self._lag(source)
        return answer({"id": request_id, "last_seq_id": info.last_seq_id, "here": here, "consumer": consumer})

    async def _lag(self, source: Source) -> dict[str, int] | None:
        """Return how far the slowest reader that its publisher waits for is behind; None: less than the worst are."""
        now_s = time.monotonic()
        looked_at_s, lags = self._looks.get(source.router, (0.0, {}))
        if now_s - looked_at_s > LOOK_S:
            self._looks[source.router] = (now_s, lags)
            view = await source.router.overview(LAGGARDS)
            lags = {one.request_id: {"behind": one.lag, "unread_bytes": one.unread_bytes} for one in view.streams}
            self._looks[source.router] = (now_s, lags)
        return lags.get(source.request_id)

    async def _as(self, request: web.Request) -> web.StreamResponse:
        request_id, name = request.match_info["id"], request.match_info["format"]
        permit(self._gateway, request, "read", request_id)
        if name not in self._gateway.config.formats:
            raise InvalidArgument(
                f"there is no format {name[:40]!r} here; there are {', '.join(self._gateway.config.formats)}"
            )
        after = whole_number(request.query.get("after"), "after")
        key, make_form = FORMS[name](await self._gateway.router.request(request_id))
        return await self._gateway.streams.respond(request, request_id, key, make_form, after=after)

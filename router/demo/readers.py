"""The demo's readers: a process of their own that connects to the router by name."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from actors.errors import RouterUnavailable, StreamRouterError
from router import StreamRouter
from router.demo.recorded_content import Content, received

TAIL_CHARS = 200


@dataclass
class Received:
    """All that a reader had of one request. `seen_at[i]` is when message `seq_ids[i]` was handed to it."""

    request_id: str
    seq_ids: list[int] = field(default_factory=list)
    seen_at: list[float] = field(default_factory=list)
    content: Content = field(default_factory=Content)
    stop_reason: str | None = None
    terminals: int = 0
    error: str | None = None


@dataclass
class Progress:
    """What has come for one request since the last call of `progress`."""

    request_id: str
    seq_ids: list[int]
    seen_at: list[float]
    tail: str
    stop_reason: str | None


class Readers:
    """Reads requests side by side, on one connection; runs as a Ray actor."""

    def __init__(self, name: str, namespace: str) -> None:
        self._name, self._namespace = name, namespace
        self._open = AsyncExitStack()
        self._router: StreamRouter | None = None
        self._under_way: dict[str, Received] = {}
        self._tails: dict[str, str] = {}
        self._told: dict[str, int] = {}

    async def connect(self) -> None:
        """Connect to the router. Raises what `StreamRouter.connect` raises."""
        entrance = StreamRouter.connect(self._name, namespace=self._namespace)
        self._router = await self._open.enter_async_context(entrance)

    async def close(self) -> None:
        """Disconnect from the router."""
        await self._open.aclose()

    async def follow(self, request_id: str) -> Received:
        """Read a request from its first message to its end."""
        if self._router is None:
            raise RouterUnavailable("these readers are not connected yet; call connect() first")
        got = self._under_way[request_id] = Received(request_id)
        messages: list[dict[str, Any]] = []
        try:
            async for batch in self._router.subscribe(request_id, after=0, format="dict"):
                now = time.time()
                for message in batch:
                    got.seq_ids.append(message["seq_id"])
                    got.seen_at.append(now)
                    messages.append(message)
                    self._look_at(got, message)
        except StreamRouterError as error:
            got.error = f"{error} [{error.code}]"
        got.content = received(messages)
        return got

    def progress(self) -> list[Progress]:
        """Return what is new since the last call, of the requests where something is."""
        news = []
        for request_id, got in self._under_way.items():
            told = self._told.get(request_id, 0)
            if len(got.seq_ids) > told:
                self._told[request_id] = len(got.seq_ids)
                tail = self._tails.get(request_id, "")
                news.append(Progress(request_id, got.seq_ids[told:], got.seen_at[told:], tail, got.stop_reason))
        return news

    def _look_at(self, got: Received, message: dict[str, Any]) -> None:
        kind = message["message_type"]
        if kind == "stop_reason":
            got.terminals += 1
            got.stop_reason = message["stop_reason"]
        elif kind == "error_message":
            got.error = message["message"]
        else:
            tail = self._tails.get(got.request_id, "") + _words(message)
            self._tails[got.request_id] = tail[-TAIL_CHARS:]


def _words(message: dict[str, Any]) -> str:
    """Return the text of a message for the live view."""
    kind = message["message_type"]
    if kind == "assistant_message":
        return str(message["content"])
    if kind == "reasoning_message":
        return str(message["reasoning"])
    if kind == "tool_call_message":
        call = message["tool_call"]
        name = f" {call['name']} " if call.get("name") else ""
        return f"{name}{call.get('arguments') or ''}"
    return ""

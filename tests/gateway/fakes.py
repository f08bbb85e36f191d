"""A router, and what starts agents, as a gateway sees them: without Ray. Shared by tests; has no tests of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import aiohttp

from actors.errors import RequestOpen, StreamRouterError, UnknownRequest
from gateway.config import gateway_section
from gateway.runs.order import Order
from gateway.serving.serve import serve
from router import Batch, Listing, RequestInfo, RouterConfig, StreamRouter
from router.status.overview import Overview, StreamOverview
from tests.gateway.said import Message, Pushed, batch_of, translated

DEADLINE_S = 10.0
CREATED = datetime(2026, 1, 1, tzinfo=UTC)


class Stream:
    """One request, which says what it is told to say."""

    def __init__(self, request_id: str, number: int, tags: dict[str, str], metadata: Mapping[str, Any]) -> None:
        self.request_id = request_id
        self.tags = tags
        self.metadata = dict(metadata)
        self.created_at = CREATED + timedelta(seconds=number)
        self.said: list[Message] = []
        self.has_ended = False
        self.error: StreamRouterError | None = None
        self.subscriptions = 0
        self.readers = 0
        self._news = asyncio.Event()

    def say(self, messages: Sequence[Message], *, end: bool = False) -> None:
        """Say messages."""
        self.said += [{**message, "run_id": self.request_id} for message in messages]
        self.has_ended = end
        self._tell()

    def fail(self, error: StreamRouterError) -> None:
        """Have every reader hear an error."""
        self.error = error
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def batches(self, ping_s: float, after: int = 0) -> AsyncIterator[Batch[Message]]:
        """Give what a subscription gives."""
        self.subscriptions += 1
        self.readers += 1
        had = after
        try:
            while True:
                news = self._news
                if had < len(self.said) or self.has_ended:
                    new, had = self.said[had:], len(self.said)
                    yield batch_of(new, end=self.has_ended)
                    if self.has_ended:
                        return
                elif self.error is not None:
                    raise self.error
                else:
                    try:
                        await asyncio.wait_for(news.wait(), ping_s)
                    except TimeoutError:
                        yield Batch([{"message_type": "ping"}], had)
        finally:
            self.readers -= 1

    @property
    def info(self) -> RequestInfo:
        """How it stands."""
        return RequestInfo(
            request_id=self.request_id,
            created_at=self.created_at,
            state="sealed" if self.has_ended else "open",
            owner="tests",
            agent_id=None,
            tags=self.tags,
            metadata=self.metadata,
            last_seq_id=len(self.said),
            stop_reason=self.said[-2]["stop_reason"] if self.has_ended else None,
            usage=None,
        )


class FakeRouter:
    """Requests by name."""

    def __init__(self, subject: str | None = None) -> None:
        """`subject`: of a service with tenants, whose token this has."""
        self.config = RouterConfig.model_validate({"tenants": {"enabled": subject is not None}})
        self.client_id = "tests" if subject is None else f"tests|{subject}|read|0"
        self.tenants: dict[str, FakeRouter] = {}
        self.streams: dict[str, Stream] = {}
        self.asked: list[dict[str, Any]] = []
        self.error: StreamRouterError | None = None
        self.page_max = 1000

    async def narrowed(self, subject: str) -> FakeRouter:
        assert "|*|" in self.client_id
        return self.of_tenant(subject)

    def of_tenant(self, subject: str) -> FakeRouter:
        """The router of one tenant."""
        return self.tenants.setdefault(subject, FakeRouter(subject))

    async def close(self) -> None:
        pass

    def gather_reads(self, gather_ms: float) -> None:
        self.gather_ms = gather_ms

    def open(self, request_id: str, metadata: Mapping[str, Any] | None = None, **tags: str) -> Stream:
        """Open a request."""
        stream = self.streams[request_id] = Stream(request_id, len(self.streams), tags, metadata or {})
        return stream

    def _stream(self, request_id: str) -> Stream:
        if self.error is not None:
            raise self.error
        if request_id not in self.streams:
            raise UnknownRequest(
                f"no request {request_id!r}: never opened here, its time-to-live is over, or it was forgotten"
            )
        return self.streams[request_id]

    def subscribe(self, request_id: str, **options: Any) -> Pushed:
        assert options["observer"] is True
        assert options["format"] == "dict"
        return Pushed(self._stream(request_id).batches(options.get("ping_s") or DEADLINE_S, options.get("after", 0)))

    async def request(self, request_id: str) -> RequestInfo:
        return self._stream(request_id).info

    async def locate(self, request_id: str, **_: Any) -> None:
        self._stream(request_id)

    async def cancel(self, request_id: str, **_: Any) -> bool:
        stream = self._stream(request_id)
        if stream.has_ended:
            return False
        stream.say(ended(stream, "cancelled"), end=True)
        return True

    async def forget(self, request_id: str) -> None:
        if not self._stream(request_id).has_ended:
            raise RequestOpen(f"request {request_id!r} has not ended; cancel it first, or wait for its end")
        del self.streams[request_id]

    async def overview(self, streams_max: int) -> Overview:
        self.asked.append({"overview": streams_max})
        opened = [stream for stream in self.streams.values() if not stream.has_ended]
        lags = [StreamOverview.model_construct(request_id=one.request_id, lag=7, unread_bytes=70) for one in opened]
        return Overview.model_construct(streams=lags[:streams_max])

    async def list(self, **query: Any) -> Listing:
        self.asked.append(query)
        if self.error is not None:
            raise self.error
        wanted = query.get("tag")
        has_tag = wanted.items() if isinstance(wanted, dict) else set()
        state = query.get("state")
        every = [stream.info for stream in self.streams.values()]
        found = [one for one in every if has_tag <= one.tags.items() and state in (None, one.state)]
        if query.get("newest_first"):
            found.reverse()
        first = int(query.get("after") or 0)
        page = found[first : first + min(query["limit"], self.page_max)]
        return Listing(page, str(first + len(page)), first + len(page) < len(found))


def ended(stream: Stream, stop_reason: str) -> list[Message]:
    """Return the terminal of a stream."""
    stop, usage = translated([b"[DONE]"])[-2:]
    first = len(stream.said) + 1
    return [{**stop, "stop_reason": stop_reason, "seq_id": first}, {**usage, "seq_id": first + 1}]


class FakeRunners:
    """Opens a request for each order, and keeps the orders."""

    def __init__(self, router: FakeRouter) -> None:
        self._router = router
        self.orders: list[Order] = []
        self.error: StreamRouterError | None = None
        self.says: list[Message] | None = None
        """What every run says, to its end."""

    async def run(self, order: Order) -> None:
        if self.error is not None:
            raise self.error
        self.orders.append(order)
        router = self._router if order.tenant is None else self._router.of_tenant(order.tenant)
        stream = router.open(order.request_id, order.metadata, **order.all_tags)
        if self.says is not None:
            stream.say(self.says, end=True)

    async def check(self, path: str) -> None:
        pass


class Served:
    """A gateway that serves, and what stands behind it."""

    def __init__(self, url: str, router: FakeRouter, runners: FakeRunners, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.router = router
        self.runners = runners
        self.http = http

    async def json(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Ask; return the status, and the answer as JSON."""
        async with self.http.request(method, self.url + path, **options) as answered:
            return answered.status, await answered.json()

    async def text(self, path: str, **options: Any) -> tuple[int, str]:
        """Read an address to its end."""
        async with self.http.get(self.url + path, **options) as answered:
            return answered.status, await answered.text()


@asynccontextmanager
async def served(subject: str | None = None, **section: Any) -> AsyncIterator[Served]:
    """Serve a router without Ray; `subject`: of a service with tenants, that of the gateway's own token."""
    config = gateway_section({"port": 0, "agents": {"ada": {"run": "agents:ada"}}, "drain_s": 1, **section})
    router = FakeRouter(subject)
    runners = FakeRunners(router)
    async with serve(cast("StreamRouter", router), config, runners) as url, aiohttp.ClientSession() as http:
        yield Served(url, router, runners, http)


async def until(holds: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
    """Wait until something holds; it is looked at after every turn of the loop."""
    async with asyncio.timeout(deadline_s):
        while not holds():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0)

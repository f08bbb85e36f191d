"""The calls of a `StreamRouter` for people: one answer, one message at a time."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable
from typing import Any, overload

from actors.errors import RouterUnavailable
from actors.protocol.states import Role
from actors.result import Result
from router.client.arguments import check
from router.client.links.link import Link
from router.client.reading.assembly import Coalesce, shaper_for
from router.client.reading.batch import Shaper
from router.client.reading.messages import Messages
from router.client.reading.parts import PartShaper
from router.client.reading.poller import Pollers
from router.client.reading.results import Progress, Results, result_of
from router.client.reading.subscription import Subscription
from router.client.reading.whereabouts import Location, Whereabouts


class ReadingCalls(ABC):
    """What `StreamRouter` says to people who read; it says how a request is read."""

    _caller: tuple[str, ...]
    _pollers: Pollers

    @abstractmethod
    def _read(
        self,
        request_id: str,
        shaper: Shaper,
        after: int,
        wait_s: float,
        ping_s: float | None = None,
        *,
        observer: bool = False,
        falls_through: bool = False,
    ) -> Subscription:
        """Return a subscription; the arguments are checked. `falls_through`: to the archive, where there is one."""

    @abstractmethod
    def _shard(self, request_id: str) -> Link:
        """Return the link to the router that knows a request."""

    @abstractmethod
    def _check_open(self) -> None:
        """Raise RouterClosed where it was closed."""

    def gather_reads(self, gather_ms: float) -> None:
        """Let what comes so soon after other messages come together, in place of `subscriber.gather_ms`.

        It counts for all that this reads, once it reads from another stream actor, or has polled one anew. Raises
        InvalidArgument.
        """
        (gather_ms,) = check("StreamRouter.gather_reads", gather_ms=gather_ms)
        self._pollers.gather_s = gather_ms / 1000

    @overload  # a text is one ID, not several of a character each
    def result(  # type: ignore[overload-overlap]
        self,
        request_ids: str,
        *,
        raise_failed: bool = True,
        wait_s: float = ...,
        progress: bool | Progress | None = None,
    ) -> Coroutine[Any, Any, Result]: ...
    @overload
    def result(
        self,
        request_ids: Iterable[str],
        *,
        raise_failed: bool = True,
        wait_s: float = ...,
        progress: bool | Progress | None = None,
    ) -> Results: ...
    def result(
        self,
        request_ids: str | Iterable[str],
        *,
        raise_failed: bool = True,
        wait_s: float = 0.0,
        progress: bool | Progress | None = None,
    ) -> Coroutine[Any, Any, Result] | Results:
        """Wait for a request's end and return what it came to: `result = await router.result("req-1")`.

        Of several IDs it returns `Results`: `async for result in ...` gives each as it ends, `await ...` all in
        order; `progress(ended, all)` is called at each end, and `progress=True` draws a bar on a terminal. A request
        that is not open yet is unknown; `wait_s` waits for it so long. What is known no more (`sealed_ttl_s`) is taken
        out of the archive, where there is one. A failed end raises RequestFailed, RequestCancelled, RequestTimedOut or
        RequestLost, with the result as `error.result`; `raise_failed=False` returns it like any other. Raises
        InvalidArgument, InvalidRequestId, RouterClosed; reading raises what `Subscription.__anext__` names.
        """
        ids, raise_failed, wait_s, progress = check(
            "StreamRouter.result",
            request_ids=request_ids,
            raise_failed=raise_failed,
            wait_s=wait_s,
            progress=progress,
        )
        self._check_open()
        read = functools.partial(self._result, raise_failed=raise_failed, wait_s=wait_s)
        return read(ids) if isinstance(ids, str) else Results(ids, read, progress)

    async def _result(self, request_id: str, *, raise_failed: bool, wait_s: float) -> Result:
        subscription = self._read(request_id, PartShaper(joins=True), 0, wait_s, falls_through=True)
        return await result_of(subscription, raise_failed=raise_failed)

    def messages(
        self,
        request_id: str,
        *,
        after: int = 0,
        coalesce: Coalesce = "message",
        wait_s: float = 0.0,
        observer: bool = False,
    ) -> Messages:
        """Return an asynchronous iterator over a request's messages after a cursor, one at a time.

        Each is whole (`coalesce="message"`), and comes as soon as it is known to be: a tool call when its
        arguments are complete, a text when something follows it. With `coalesce="tokens"` each piece comes as it
        is. Where retention has dropped messages, a `GapMessage` says which. Resume with `after=message.seq_id`.
        A request that is not open yet is unknown; `wait_s` waits for it so long, and what is known no more is taken out
        of the archive, where there is one. `observer`: as for `subscribe`. Raises
        InvalidArgument, InvalidRequestId, RouterClosed; reading raises what `Messages.__anext__` names.
        """
        request_id, after, coalesce, wait_s, observer = check(
            "StreamRouter.messages",
            request_id=request_id,
            after=after,
            coalesce=coalesce,
            wait_s=wait_s,
            observer=observer,
        )
        self._check_open()
        read = self._read(request_id, shaper_for(coalesce), after, wait_s, observer=observer, falls_through=True)
        return Messages(read, coalesce)

    async def show(self, request_ids: str | Iterable[str], *, wait_s: float = 0.0) -> None:
        """Show what requests say, live, until they have ended: HTML in a notebook, a live view in a terminal.

        Elsewhere it writes lines. It is an observer: no agent waits for it. Of several requests each has a
        row. One that cannot be read says so in its place. `wait_s`: as for `messages`. Raises InvalidArgument,
        InvalidRequestId, RouterClosed.
        """
        from router.client.showing.live import show  # noqa: PLC0415  # what draws takes long to import

        ids, wait_s = check("StreamRouter.show", request_ids=request_ids, wait_s=wait_s)
        self._check_open()
        read = functools.partial(self.messages, coalesce="tokens", wait_s=wait_s, observer=True)
        await show([ids] if isinstance(ids, str) else ids, read)

    async def locate(self, request_id: str, *, wait_s: float = 0.0) -> Location:
        """Return where a request is; `handle.pull.remote(request_id, after_seq, ...)` reads it.

        A request that is not open yet is unknown; `wait_s` waits for it so long.
        Raises UnknownRequest, InvalidArgument, InvalidRequestId, RouterUnavailable, RouterClosed.
        """
        request_id, wait_s = check("StreamRouter.locate", request_id=request_id, wait_s=wait_s)
        self._check_open()
        link = self._shard(request_id)
        listener = Whereabouts(link, request_id)
        link.locate(request_id, listener)
        try:
            actor_id, epoch, state = await listener.find(wait_s)
            handle = await link.handles.of(actor_id)
        finally:
            link.lose_interest((Role.READER, request_id), listener)
        if handle is None:
            raise RouterUnavailable(f"request {request_id!r} is being placed anew; ask again")
        return Location(handle, epoch, state, *self._caller)

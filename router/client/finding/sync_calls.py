"""The calls of a `SyncStreamRouter` that find requests, without `await`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from actors.errors import StreamRouterError
from router.client.finding.calls import FindingCalls, State
from router.client.finding.listing import Listing, RequestInfo
from router.client.reading.assembly import Coalesce
from router.client.reading.merge import Merge
from router.client.reading.merging import Merged
from router.client.reading.sync_calls import Run, SyncReadable

T = TypeVar("T")


class SyncFindingCalls(ABC):
    """What `SyncStreamRouter` says of the requests that there are."""

    _router: FindingCalls

    @abstractmethod
    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the router's event loop, and wait for it."""

    def request(self, request_id: str) -> RequestInfo:
        """See `StreamRouter.request`."""
        return self._run(self._router.request(request_id))

    def list(
        self,
        *,
        agent: str | None = None,
        tag: str | Mapping[str, str | None] | None = None,
        state: State | None = None,
        since: datetime | str | None = None,
        after: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> Listing:
        """See `StreamRouter.list`."""
        return self._run(
            self._router.list(
                agent=agent,
                tag=tag,
                state=state,
                since=since,
                after=after,
                limit=limit,
                newest_first=newest_first,
            )
        )

    def merge(
        self,
        request_ids: str | Iterable[str] | None = None,
        *,
        agent: str | None = None,
        tag: str | Mapping[str, str | None] | None = None,
        all: bool = False,  # noqa: A002  # the plain word
        since: datetime | str | None = None,
        follow: bool = True,
        after: str | None = None,
        coalesce: Coalesce = "message",
        wait_s: float = 0.0,
        observer: bool = False,
    ) -> SyncMerge:
        """See `StreamRouter.merge`."""
        merge = self._router.merge(
            request_ids,
            agent=agent,
            tag=tag,
            all=all,
            since=since,
            follow=follow,
            after=after,
            coalesce=coalesce,
            wait_s=wait_s,
            observer=observer,
        )
        return SyncMerge(merge, self._run)


class SyncMerge(SyncReadable[Merged]):
    """`Merge` as a plain iterator. Leaving a `for` loop over it gives all cursors up at once."""

    _reading: Merge

    def __init__(self, merge: Merge, run: Run) -> None:
        super().__init__(merge, run)

    @property
    def cursor(self) -> str:
        """See `Merge.cursor`."""
        return self._reading.cursor

    @property
    def failed(self) -> Mapping[str, StreamRouterError]:
        """See `Merge.failed`."""
        return self._reading.failed

"""The calls of a `SyncStreamRouter` that find requests, without `await`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from datetime import datetime
from typing import Any, TypeVar

from router.client.finding_calls import FindingCalls, State
from router.client.listing import Listing, RequestInfo

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

"""The calls of a `StreamRouter` that find requests by what was said of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Literal

from actors.errors import InvalidArgument, from_wire
from actors.protocol.finding import ListAnswer, ListCall, Row
from actors.protocol.frames import pack, read
from router.client.arguments import check
from router.client.caller import until_recovered
from router.client.link import Link
from router.client.listing import ListCursor, Listing, RequestInfo, info_of, listing

State = Literal["waiting", "open", "sealed"]


class FindingCalls(ABC):
    """What `StreamRouter` says of the requests that there are."""

    client_id: str
    _caller: tuple[str, ...]
    _links: list[Link]

    @abstractmethod
    def _check_open(self) -> None:
        """Raise RouterClosed where this end was closed."""

    @abstractmethod
    def _shard(self, request_id: str) -> Link:
        """Return the link to the router of a request."""

    async def request(self, request_id: str) -> RequestInfo:
        """Return how a request stands: when it was created, its state, its labels, how it ended.

        Raises UnknownRequest at once, InvalidArgument, InvalidRequestId, NotPermitted, RouterUnavailable, RouterClosed.
        """
        (request_id,) = check("StreamRouter.request", request_id=request_id)
        self._check_open()
        link = self._shard(request_id)

        async def once() -> RequestInfo:
            error, frame = await link.ask("request", request_id, *self._caller)
            if error is not None:
                raise from_wire(error[0], error[1])
            return info_of(read(Row, frame))

        return await until_recovered(once)

    async def list(
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
        """Return requests in the order of their creation, `limit` at most, over all routers.

        Those that fit all that is given: of an `agent`; with a `tag` ("name", "name=value", or a mapping, of which
        None means any value); in a `state`; created `since` then (UTC where it names no zone). `after`: the
        `cursor` of a listing, to go on behind it, also with requests that did not exist then. A router that has just
        restarted is waited for until it knows all. With tenants, those of the caller. Raises InvalidArgument,
        NotPermitted, RouterUnavailable, RouterClosed.
        """
        agent, tags, state, since_number, cursor, limit, newest_first = check(
            "StreamRouter.list",
            agent=agent,
            tag=tag,
            state=state,
            since=since,
            after=after,
            limit=limit,
            newest_first=newest_first,
        )
        self._check_open()
        count = len(self._links)
        cursor = cursor or ListCursor.at_the_beginning(count, newest_first=newest_first)
        if cursor.newest_first != newest_first or len(cursor.positions) != count:
            raise InvalidArgument(
                "StreamRouter.list: after is the cursor of a listing of the same service in the same order; this one "
                f"is of {len(cursor.positions)} routers, newest_first={cursor.newest_first}"
            )
        wanted = ListCall(
            self.client_id, agent, tags or [], state, since_number or 0, 0, limit, newest_first=newest_first
        )
        return await listing([partial(_ask, link) for link in self._links], wanted, cursor)


async def _ask(link: Link, wanted: ListCall) -> ListAnswer:
    return read(ListAnswer, await link.ask("list", pack(wanted)))

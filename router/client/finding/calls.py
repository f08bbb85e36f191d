"""The calls of a `StreamRouter` that find requests by what was said of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Literal

from actors.errors import InvalidArgument, Recovering, from_wire
from actors.protocol.finding import ListAnswer, ListCall, Row
from actors.protocol.frames import pack, read
from router.client.arguments import check
from router.client.finding.following import follow_requests
from router.client.finding.listing import Ask, ListCursor, Listing, RequestInfo, info_of, listing
from router.client.links.caller import until_recovered
from router.client.links.link import Link
from router.client.reading.assembly import Coalesce, shaper_for
from router.client.reading.batch import Shaper
from router.client.reading.merge import Merge
from router.client.reading.merge_cursor import Asked, MergeCursor
from router.client.reading.merging import Find, Merging, OnChange
from router.client.reading.reader import Reader
from router.config import RouterConfig

FOUND_AT_ONCE = 1_000
"""A merge takes in so many requests at once."""

State = Literal["waiting", "open", "sealed"]


class FindingCalls(ABC):
    """What `StreamRouter` says of the requests that there are."""

    client_id: str
    config: RouterConfig
    _caller: tuple[str, ...]
    _links: list[Link]

    @abstractmethod
    def _check_open(self) -> None:
        """Raise RouterClosed where this end was closed."""

    @abstractmethod
    def _reader(
        self,
        request_id: str,
        shaper: Shaper,
        after: int,
        wait_s: float,
        ping_s: float | None = None,
        *,
        observer: bool = False,
        on_change: OnChange | None = None,
    ) -> Reader:
        """Return a reader of a request; the arguments are checked."""

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
        restarted is waited for until its stream actors have said what they hold, and, where that is nothing, until
        publishers have, too; see `Listing.is_partial`. With tenants, those of the caller. Raises InvalidArgument,
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
        cursor = self._place(cursor, "StreamRouter.list", newest_first=newest_first)
        wanted = ListCall(
            self.client_id, agent, [*(tags or ())], state, since_number or 0, 0, limit, newest_first=newest_first
        )
        asks = self._asks()

        async def once() -> Listing:
            listed = await listing(asks, wanted, cursor)
            if listed.is_partial and not listed:
                raise Recovering(
                    "a router has restarted, and whether there are requests that fit only their publishers can say, "
                    "which have not all been heard yet; ask again in a moment"
                )
            return listed

        return await until_recovered(once)

    def _asks(self) -> Sequence[Ask]:
        return [partial(_ask, link) for link in self._links]

    def _place(self, cursor: ListCursor | None, call: str, *, newest_first: bool = False) -> ListCursor:
        """Return a place in a listing, or the one before all. Raises InvalidArgument for one of another listing."""
        count = len(self._links)
        cursor = cursor or ListCursor.at_the_beginning(count, newest_first=newest_first)
        if cursor.newest_first != newest_first or len(cursor.positions) != count:
            raise InvalidArgument(
                f"{call}: after is the cursor of a listing of the same service in the same order; this one "
                f"is of {len(cursor.positions)} routers, newest_first={cursor.newest_first}"
            )
        return cursor

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
    ) -> Merge:
        """Read many requests in one loop: `async for request_id, message in router.merge(agent="ada"): ...`.

        Those that are named, until all have ended; or those of an `agent`, with a `tag`, or `all` there are (created
        `since` then), and what appears of them for ever, unless `follow=False`: then what is there now. No request
        keeps out another, and none costs a task. A request that cannot be read (unknown, lost) says so in an
        `error_message` without a `seq_id`, which is its last, and in `failed`; the others go on. `after`: the `cursor`
        of a merge of the same requests, to go on behind it. `coalesce`, `wait_s` and `observer`: as for `messages`,
        `wait_s` for those that are named. Raises InvalidArgument, InvalidRequestId, RouterClosed; reading raises what
        `Merge.__anext__` names.
        """
        ids, agent, tags, is_all, since_number, follows, cursor, coalesce, wait_s, observer = check(
            "StreamRouter.merge",
            request_ids=request_ids,
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
        self._check_open()
        is_asked = agent is not None or tags is not None
        if [ids is not None, is_asked, is_all].count(True) != 1:
            raise InvalidArgument("StreamRouter.merge: either requests are named, or agent and tag, or all=True")
        cursor = cursor or MergeCursor()
        find: Find | None = None
        if ids is not None:
            cursor.name([ids] if isinstance(ids, str) else ids)
        else:
            cursor.ask(Asked(agent, tuple(tags or ()), since_number or 0))
            wanted = ListCall(
                self.client_id, agent, [*(tags or ())], None, since_number or 0, 0, FOUND_AT_ONCE, newest_first=False
            )
            cursor.listed = self._place(cursor.listed, "StreamRouter.merge")
            find = partial(follow_requests, self._asks(), wanted, follows=follows)
            wait_s = max(wait_s, self.config.stream_actors.open_timeout_s)  # listed, it may still wait for its actor

        def make_reader(request_id: str, after: int, on_change: OnChange) -> Reader:
            return self._reader(request_id, shaper_for(coalesce), after, wait_s, observer=observer, on_change=on_change)

        return Merge(Merging(cursor, make_reader, find, coalesce=coalesce))


async def _ask(link: Link, wanted: ListCall) -> ListAnswer:
    return read(ListAnswer, await link.ask("list", pack(wanted)))

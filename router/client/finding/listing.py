"""What is told of requests: `StreamRouter.list`, `StreamRouter.request`. Pure but for the asking, which it is handed.

Theory. Each router lists its requests in the order of their creation, a page at a time. A listing of all routers
takes the request that is first among the first of each, again and again; a router whose page is used up is asked for
the next one before anything is taken. The cursor is how far each router has been looked at, so that a listing goes on
without a gap and without a repetition whatever appears, ends or goes in between.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, ClassVar, Literal, NamedTuple, Self, overload

from pydantic import BaseModel, ConfigDict

from actors.protocol.finding import NUMBER_MAX, ListAnswer, ListCall, Row
from actors.protocol.frames import checked
from actors.protocol.labels import read_labels

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = re.compile(r"([<>])(\d{1,19}(?:,\d{1,19})*)")

Ask = Callable[[ListCall], Awaitable[ListAnswer]]
"""Asks one router."""


class Usage(BaseModel):
    """The token counts of an ended request. `reported` False: no provider gave any."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    step_count: int = 1
    reported: bool = False


class RequestInfo(BaseModel):
    """One request as its router knows it.

    `owner`: the process that publishes it. `last_seq_id`: the newest message that its router has heard of; there may
    be more by now. `stop_reason` and `usage` are those of an ended request (`state` sealed).
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    request_id: str
    created_at: datetime
    state: Literal["waiting", "open", "sealed"]
    owner: str
    agent_id: str | None
    tags: dict[str, str]
    metadata: dict[str, Any]
    last_seq_id: int
    stop_reason: str | None
    usage: Usage | None


@dataclass(slots=True)
class Listing(Sequence[RequestInfo]):
    """Requests, as `StreamRouter.list` returns them. Iterate over it, index it, take its length.

    `cursor`: pass it as `after` for what follows, now or later. `has_more`: something follows already. `is_partial`:
    a router has just restarted, and requests that only their publishers know of may be missing; some seconds later,
    the same call lists them.
    """

    requests: list[RequestInfo]
    cursor: str
    has_more: bool
    is_partial: bool = False

    def __iter__(self) -> Iterator[RequestInfo]:
        return iter(self.requests)

    def __len__(self) -> int:
        return len(self.requests)

    @overload
    def __getitem__(self, index: int) -> RequestInfo: ...
    @overload
    def __getitem__(self, index: slice) -> list[RequestInfo]: ...
    def __getitem__(self, index: int | slice) -> RequestInfo | list[RequestInfo]:
        return self.requests[index]


class ListCursor(NamedTuple):
    """How far each router has been looked at."""

    newest_first: bool
    positions: tuple[int, ...]

    @classmethod
    def at_the_beginning(cls, routers: int, *, newest_first: bool) -> Self:
        """Return the cursor before all requests."""
        return cls(newest_first, (NUMBER_MAX if newest_first else 0,) * routers)

    @classmethod
    def of_text(cls, text: Any) -> Self:
        """Return the cursor that was written as this. Raises ValueError."""
        found = _CURSOR.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise ValueError(f"no cursor of a listing: {text!r:.60}")
        return cls(found[1] == "<", tuple(min(int(number), NUMBER_MAX) for number in found[2].split(",")))

    def text(self) -> str:
        """Return the cursor as text."""
        return ("<" if self.newest_first else ">") + ",".join(map(str, self.positions))


class _Router:
    """One router's requests, a page at a time."""

    __slots__ = ("_ask", "_position", "_through", "is_all", "is_partial", "rows")

    def __init__(self, ask: Ask, position: int) -> None:
        self._ask = ask
        self._position = self._through = position
        self.rows: deque[Row] = deque()
        self.is_all = self.is_partial = False

    @property
    def position(self) -> int:
        """Up to where its requests have been taken, or none was there to take."""
        return self._position if self.rows else self._through

    async def fill(self, wanted: ListCall) -> None:
        """Ask for the next page. Raises what asking does, ProtocolViolation."""
        answer = await self._ask(wanted._replace(after=self._through))
        self.rows.extend(rows_of(answer))
        self._through, self.is_all = answer.through, answer.is_all
        self.is_partial = self.is_partial or answer.is_partial

    def take(self) -> Row:
        """Take the first request."""
        row = self.rows.popleft()
        self._position = row.created
        return row


async def listing(asks: Sequence[Ask], wanted: ListCall, cursor: ListCursor) -> Listing:
    """List requests of all routers in the order of their creation. Raises what asking does, ProtocolViolation."""
    routers = [_Router(ask, position) for ask, position in zip(asks, cursor.positions, strict=True)]
    first = max if wanted.newest_first else min
    found: list[RequestInfo] = []
    while len(found) < wanted.limit:
        left = wanted._replace(limit=wanted.limit - len(found))
        used_up = [router for router in routers if not router.rows and not router.is_all]
        if used_up:
            await asyncio.gather(*(router.fill(left) for router in used_up))
            continue
        heads = [(router.rows[0], router) for router in routers if router.rows]
        if not heads:
            break
        _, router = first(heads, key=lambda head: head[0].created)
        found.append(info_of(router.take()))
    behind = ListCursor(wanted.newest_first, tuple(map(attrgetter("position"), routers)))
    has_more = any(router.rows or not router.is_all for router in routers)
    return Listing(found, behind.text(), has_more, any(router.is_partial for router in routers))


def rows_of(answer: ListAnswer) -> list[Row]:
    """Return the requests in an answer. Raises ProtocolViolation."""
    return [checked(Row, parts) for parts in answer.rows]


def info_of(row: Row) -> RequestInfo:
    """Return what a router says of a request. Raises ProtocolViolation."""
    tags, metadata = read_labels(row.labels)
    return RequestInfo.model_validate(
        {
            "request_id": row.request_id,
            "created_at": moment_of(row.created),
            "state": row.phase,
            "owner": row.owner,
            "agent_id": row.agent_id,
            "tags": tags,
            "metadata": metadata,
            "last_seq_id": row.last_seq_id,
            "stop_reason": row.stop_reason,
            "usage": row.usage,
        }
    )


def moment_of(number: int) -> datetime:
    """Return when the request with this number was created."""
    return datetime.fromtimestamp(number / 1e6, UTC)

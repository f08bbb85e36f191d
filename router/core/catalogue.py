"""All requests of one router in the order in which they were created, and by what they are looked for. Pure.

Theory. Each request has a number (`Request.created`): when it was created, in microseconds since 1970, and greater
than that of every request created here before. It survives a restart, with the session. An index is a sorted row of
such numbers: all requests, those of a tenant, of an agent, with a tag, in a phase. A question names some of them;
the shortest is walked from where the asker stands, and each number on it is looked up in the others. One answer
looks at `LOOKED_AT_MAX` numbers and no more, and says how far it has come, so that no question holds up the router.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Hashable, Iterator
from itertools import islice
from typing import NamedTuple

from actors.protocol.labels import tags_of
from actors.tenants import SEPARATOR
from router.core.request import Request

LOOKED_AT_MAX = 10_000
"""So many requests are looked at for one answer."""

LABELS_BYTES_MAX = 1024 * 1024
"""An answer ends behind the request with which its labels become more than this."""


class Wanted(NamedTuple):
    """What is asked for: requests that fit all of it, `after` a number in the order asked for, `limit` at most."""

    subject: str | None = None
    """Those of one tenant; None: of everybody."""
    agent_id: str | None = None
    """By its full name."""
    tags: tuple[tuple[str, str | None], ...] = ()
    """Names of tags with a value, or None for any."""
    phase: str | None = None
    since: int = 0
    after: int = 0
    limit: int = 100
    newest_first: bool = False


class Found(NamedTuple):
    """What was found."""

    requests: list[Request]
    through: int
    """All up to this number, in the order asked for, have been looked at."""
    is_all: bool
    """Nothing follows."""
    is_partial: bool = False
    """There may be others, of which this router has not heard again since it restarted."""


class _Index:
    """A sorted row of numbers.

    To take one out of a long row moves all that follow it, which at 50,000 kept requests costs more than all else
    that ends one. So a number that goes is only noted, until half of the row has gone or somebody looks at it.
    """

    __slots__ = ("_gone", "_row")

    def __init__(self) -> None:
        self._row: list[int] = []
        self._gone: set[int] = set()

    def __contains__(self, number: int) -> bool:
        row = self._row
        at = bisect_left(row, number)
        return at < len(row) and row[at] == number and number not in self._gone

    def __len__(self) -> int:
        return len(self._row) - len(self._gone)

    def add(self, number: int) -> None:
        row = self._row
        if number in self._gone:
            self._gone.remove(number)
        elif not row or number > row[-1]:
            row.append(number)
        else:
            row.insert(bisect_left(row, number), number)

    def remove(self, number: int) -> None:
        if self._row and self._row[-1] == number:
            self._row.pop()  # the one that came last, as a request that waits has when it gets its place
        else:
            self._gone.add(number)
        if 2 * len(self._gone) >= len(self._row):
            self.numbers()

    def numbers(self) -> list[int]:
        """Return the row as it is."""
        if self._gone:
            gone, self._gone = self._gone, set()
            self._row = [number for number in self._row if number not in gone]
        return self._row

    def walk(self, since: int, after: int, *, newest_first: bool) -> Iterator[int]:
        numbers = self.numbers()
        if newest_first:
            end = bisect_left(numbers, after)
            return reversed(numbers[max(bisect_left(numbers, since), end - LOOKED_AT_MAX - 1) : end])
        start = max(bisect_left(numbers, since), bisect_right(numbers, after))
        return iter(numbers[start : start + LOOKED_AT_MAX + 1])


class Catalogue:
    """The indexes of one router's requests."""

    def __init__(self) -> None:
        self._requests: dict[int, Request] = {}
        self._indexes: dict[Hashable, _Index] = {}
        self._newest = 0
        self._clock_offset_s = 0.0
        self._watched: Counter[Hashable] = Counter()
        self.news: dict[Hashable, None] = {}
        """What `take_news` would name."""

    def set_clock(self, wall_now: float, now: float) -> None:
        """Say what the time is: seconds since 1970, and by the clock that this router lives by."""
        self._clock_offset_s = wall_now - now

    def number(self, now: float) -> int:
        """Return a number for a request that is created now."""
        return max(self._newest + 1, int((now + self._clock_offset_s) * 1e6))

    # --- changes ----------------------------------------------------------------------------

    def add(self, request: Request) -> None:
        """Take in a request; one without a number, or with one that another has, gets the next that is free."""
        number = request.created or self._newest + 1
        while number in self._requests:
            number += 1
        request.take_number(number)
        self._newest = max(self._newest, number)
        self._requests[number] = request
        for key in _keys(request):
            self._put(key, number)
        self.put_phase(request)

    def remove(self, request: Request) -> None:
        """Forget a request."""
        number = request.created
        self.take_phase(request)
        for key in _keys(request):
            self._take(key, number)
        del self._requests[number]

    def take_phase(self, request: Request) -> None:
        """Its phase is about to change; `put_phase` follows."""
        for key in _phase_keys(request):
            self._take(key, request.created)

    def put_phase(self, request: Request) -> None:
        """Its phase has changed."""
        for key in _phase_keys(request):
            self._put(key, request.created)

    def _put(self, key: Hashable, number: int) -> None:
        index = self._indexes.get(key)
        if index is None:
            index = self._indexes[key] = _Index()
        index.add(number)
        if key in self._watched:
            self.news[key] = None

    def _take(self, key: Hashable, number: int) -> None:
        index = self._indexes[key]
        index.remove(number)
        if not len(index):
            del self._indexes[key]

    # --- questions --------------------------------------------------------------------------

    def find(self, wanted: Wanted) -> Found:
        """Return the requests that fit, as far as one answer goes."""
        nothing = Found([], wanted.after, is_all=True)
        indexes: list[_Index] = []
        for key in _wanted_keys(wanted):
            index = self._indexes.get(key)
            if index is None:
                return nothing
            indexes.append(index)
        indexes.sort(key=len)
        shortest, *others = indexes
        walk = shortest.walk(wanted.since, wanted.after, newest_first=wanted.newest_first)
        found: list[Request] = []
        through, size = wanted.after, 0
        for number in islice(walk, LOOKED_AT_MAX):
            if len(found) == wanted.limit or size > LABELS_BYTES_MAX:
                return Found(found, through, is_all=False)
            through = number
            if all(number in other for other in others):
                request = self._requests[number]
                found.append(request)
                size += len(request.labels)
        return Found(found, through, is_all=next(walk, None) is None)

    # --- whoever waits for more -------------------------------------------------------------

    def watch(self, wanted: Wanted) -> Hashable:
        """Note the index that every request enters which begins to fit; `take_news` names it when one has entered."""
        *_, key = _wanted_keys(wanted)
        self._watched[key] += 1
        return key

    def unwatch(self, key: Hashable) -> None:
        """Note it no longer. One call for each of `watch`."""
        self._watched[key] -= 1
        if not self._watched[key]:
            del self._watched[key]

    def take_news(self) -> list[Hashable]:
        """Return the watched indexes that a request has entered since this was asked last."""
        news, self.news = [*self.news], {}
        return news

    def look_again(self) -> None:
        """Let all who wait for more look again."""
        self.news.update(dict.fromkeys(self._watched))

    # --- whether that is right --------------------------------------------------------------

    def validate(self, requests: dict[str, Request]) -> Iterator[str]:
        """Return how this differs from what is known, a line each; it looks at everything."""
        if {*self._requests.values()} != {*requests.values()}:
            yield f"the catalogue has {len(self._requests)} requests, {len(requests)} are known, or others"
            return
        right: dict[Hashable, list[int]] = {}
        for number, request in sorted(self._requests.items()):
            if request.created != number:
                yield f"{request.request_id}: its number is {request.created}, the catalogue has it as {number}"
            for key in (*_keys(request), *_phase_keys(request)):
                right.setdefault(key, []).append(number)
        if right != {key: index.numbers() for key, index in self._indexes.items()}:
            yield "an index of the catalogue names others than those that belong there"


_EVERYBODYS: tuple[str | None, ...] = (None,)


def _subjects(request: Request) -> tuple[str | None, ...]:
    """Return in whose lists a request is: everybody's, and its tenant's."""
    subject, separator, _ = request.request_id.partition(SEPARATOR)
    return (None, subject) if separator else _EVERYBODYS


def _keys(request: Request) -> Iterator[Hashable]:
    """Return what a request is found by, but for its phase."""
    if request.agent_id is not None:
        yield "agent", request.agent_id
    tags = tags_of(request.labels) if request.labels else {}
    for subject in _subjects(request):
        yield "all", subject
        for name, value in tags.items():
            yield "tag", subject, name
            yield "tag", subject, name, value


def _phase_keys(request: Request) -> list[Hashable]:
    return [("phase", subject, request.phase) for subject in _subjects(request)]


def _wanted_keys(wanted: Wanted) -> Iterator[Hashable]:
    """Return the indexes that a request must be in to fit; the last one is entered by all that begin to."""
    subject = wanted.subject
    yield "all", subject
    for name, value in wanted.tags:
        yield ("tag", subject, name) if value is None else ("tag", subject, name, value)
    if wanted.agent_id is not None:
        yield "agent", wanted.agent_id
    if wanted.phase is not None:
        yield "phase", subject, wanted.phase

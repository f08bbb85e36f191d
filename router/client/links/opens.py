"""Registrations on their way to a router: one call is out at a time, and what comes meanwhile rides in the next.

Theory. A registration says what its publisher knows of the request, so it is made when its call is: while it waited,
news may have come, such as a later epoch. It is asked for until it is answered, at whatever router is there by then;
where that is another one than at first, it says "not yet", and the registration is made anew. Its number says that it
was answered: from then on it is to be said again to a router that begins anew, and before that it is not, since the
call that is out may have reached that one already. What came between the two is told by the answer itself: who gave it
knows what it has opened; and where that was an earlier router, the present one does not (`Link.take_news`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from actors.errors import ProtocolViolation, Recovering, StreamRouterError, from_wire
from actors.protocol.calls import OpenAnswer, OpenCall, Registration
from actors.protocol.frames import checked, pack, read
from actors.protocol.states import News, Role
from router.client.links.caller import as_named
from router.client.links.pumps import Connection

OPENS_MAX = 512


class Opening(NamedTuple):
    """A registration on its way: `register` makes it.

    `taken_in` hears the number with which the router took it in, before its news.
    """

    request_id: str
    register: Callable[[], Registration]
    future: asyncio.Future[None]
    taken_in: Callable[[int], None]


class Opens:
    """Registrations on their way to the router."""

    def __init__(self, link: Connection) -> None:
        self._link = link
        self._waiting: list[Opening] = []
        self._calls_made = 0
        self._busy = False

    def put(
        self, request_id: str, register: Callable[[], Registration], taken_in: Callable[[int], None]
    ) -> asyncio.Future[None]:
        """Open a request; the future is done when the router has answered."""
        future: asyncio.Future[None] = self._link.promise()
        self._waiting.append(Opening(request_id, register, future, taken_in))
        if not self._busy:
            self._busy = True
            self._link.spawn(self._pump())
        return future

    async def _pump(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:OPENS_MAX], self._waiting[OPENS_MAX:]
                if wanted := [opening for opening in batch if self._is_wanted(opening)]:
                    await self._open(wanted)
        finally:
            self._busy = False

    def _is_wanted(self, opening: Opening) -> bool:
        """Whether somebody publishes it still: one who was refused meanwhile has left, and may come again as new."""
        is_wanted = self._link.hears((Role.PUBLISHER, opening.request_id))
        if not is_wanted and not opening.future.done():
            opening.future.set_result(None)
        return is_wanted

    async def _open(self, batch: list[Opening]) -> None:
        link = self._link
        self._calls_made += 1
        try:
            registrations = [opening.register() for opening in batch]
            frame = pack(OpenCall(link.client_id, self._calls_made, link.answers.seen, registrations))
            made, answer = await link.caller.call("open", frame)
            errors, numbers, news = _read_open_answer(answer, len(batch))
        except Exception as error:  # noqa: BLE001  # one registration must not leave the others without an answer
            await self._open_failed(batch, error)
            return
        opened: set[str] = set()
        for opening, refusal, number in zip(batch, errors, numbers, strict=True):
            if refusal is not None:
                self._refused(opening, from_wire(refusal[0], refusal[1]))
                continue
            opened.add(opening.request_id)
            opening.taken_in(number)
            if not opening.future.done():
                opening.future.set_result(None)
        link.take_news(news, made, is_all=True, opened=opened)

    def _refused(self, opening: Opening, error: StreamRouterError) -> None:
        """Tell a refusal; unless it is to be asked again, it holds for what else waits to be said of that request."""
        futures = [opening.future]
        if not isinstance(error, Recovering):
            request_id = opening.request_id
            for same in [other for other in self._waiting if other.request_id == request_id]:
                self._waiting.remove(same)
                futures.append(same.future)
        for told in futures:
            if not told.done():
                told.set_exception(error)

    async def _open_failed(self, batch: list[Opening], error: Exception) -> None:
        if len(batch) > 1 and self._link.caller.error is None:
            for one in batch:
                await self._open([one])
            return
        named = as_named(error, "a request could not be opened")
        for opening in batch:
            if not opening.future.done():
                opening.future.set_exception(named)


def _read_open_answer(answer: bytes, count: int) -> tuple[list[Any], list[Any], News]:
    errors, numbers, news = read(OpenAnswer, answer)
    if not count == len(errors) == len(numbers):
        raise ProtocolViolation(f"{count} requests were to be opened, the answer is about {len(errors)}")
    return errors, numbers, checked(News, news)

"""The calls of a `StreamRouter` that end a request from outside, and that forget one that has ended."""

from __future__ import annotations

from abc import ABC, abstractmethod

from actors.errors import from_wire
from router.client.arguments import check
from router.client.links.caller import until_recovered
from router.client.links.link import Link


class EndingCalls(ABC):
    """What `StreamRouter` does to a request that somebody else publishes, or has published."""

    _caller: tuple[str, ...]

    @abstractmethod
    def _check_open(self) -> None:
        """Raise RouterClosed where this end was closed."""

    @abstractmethod
    def _shard(self, request_id: str) -> Link:
        """Return the link to the router of a request."""

    async def cancel(self, request_id: str, *, after_step: bool = False, detail: str | None = None) -> bool:
        """Cancel a request, at once or when the step under way ends; False where it had ended already.

        Its producer is told at once, even while its provider stalls. Raises UnknownRequest,
        InvalidArgument, InvalidRequestId, RouterUnavailable, RouterClosed.
        """
        request_id, after_step, detail = check(
            "StreamRouter.cancel", request_id=request_id, after_step=after_step, detail=detail
        )
        self._check_open()
        return await self._cancel(self._shard(request_id), request_id, after_step=after_step, detail=detail)

    async def _cancel(
        self, link: Link, request_id: str, *, after_step: bool = False, detail: str | None = None
    ) -> bool:
        async def once() -> bool:
            error, was_open = await link.ask("cancel", request_id, after_step, detail, *self._caller)
            if error is not None:
                raise from_wire(error[0], error[1])
            return bool(was_open)

        return await until_recovered(once)

    async def forget(self, request_id: str) -> None:
        """Forget a request that has ended, at once, as when its `sealed_ttl_s` is over.

        When this returns, no router and no stream actor holds anything of it: it is as if it had never been there, and
        its ID may be published anew. Whoever is still reading it hears UnknownRequest. An archive and recordings keep
        what they have. Raises RequestOpen (it has not ended: cancel it first), UnknownRequest, NotPermitted,
        InvalidArgument, InvalidRequestId, RouterUnavailable, RouterClosed.
        """
        (request_id,) = check("StreamRouter.forget", request_id=request_id)
        self._check_open()
        link = self._shard(request_id)
        number = 0

        async def once() -> int:
            error, known = await link.ask("forget", request_id, number, *self._caller)
            if error is not None:
                raise from_wire(error[0], error[1])
            return int(known)

        # First which one it is. A call that comes again, or late, must not forget another one of the same ID.
        number = await until_recovered(once)
        await until_recovered(once)

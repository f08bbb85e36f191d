"""What `StreamRouter.start` and `.connect` return: enter it with `async with`, or with plain `with` from a script."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from router.client.stream_router import StreamRouter
    from router.client.sync import SyncStreamRouter

StreamRouterOpening = Callable[[], Coroutine[Any, Any, "StreamRouter"]]


class Entrance:
    """What `start` and `connect` return: enter it with `async with`, or with plain `with` from a script."""

    def __init__(self, prepare: Callable[[], StreamRouterOpening]) -> None:
        # Ray wants to be initialised in the caller's own thread, since it sets signal handlers.
        self._prepare = prepare
        self._router: StreamRouter | None = None
        self._sync: SyncStreamRouter | None = None

    async def __aenter__(self) -> StreamRouter:
        self._router = await self._prepare()()
        return self._router

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._router is not None:
            await self._router.close()

    def __enter__(self) -> SyncStreamRouter:
        from router.client.sync import SyncStreamRouter  # noqa: PLC0415  # it imports this module

        self._sync = SyncStreamRouter(self._prepare())
        return self._sync

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sync is not None:
            self._sync.close()

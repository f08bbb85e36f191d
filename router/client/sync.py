"""The synchronous face, for plain scripts and notebooks: the same words, without `await`.

    with StreamRouter.start() as router:
        with router.publish("req-1") as stream:
            stream.chunk(b"...")
        for batch in router.subscribe("req-1"):
            for message in batch: ...

An event loop runs in a thread of its own; every call here is one there.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

from pydantic import BaseModel

from actors.settings import StreamSettings
from router.client.batch import Batch
from router.client.publisher import Chunk, Publisher
from router.client.stream_router import Location, StreamRouter
from router.client.subscription import Subscription
from router.status.overview import Description, Overview

T = TypeVar("T")


class SyncStreamRouter:
    """`StreamRouter` for code without an event loop. May be used from several threads."""

    def __init__(self, open_door: Callable[[], Coroutine[Any, Any, StreamRouter]]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stream-router", daemon=True)
        self._thread.start()
        try:
            self._router = self._run(open_door())
        except BaseException:
            self._stop_loop()
            raise

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C while waiting: do not leave the call behind.
            future.cancel()
            raise

    def publish(
        self, request_id: str, settings: StreamSettings | Mapping[str, Any] | None = None, **options: Any
    ) -> SyncPublisher:
        """See `StreamRouter.publish`."""
        return SyncPublisher(self._router.publish(request_id, settings, **options), self._run)

    def subscribe(self, request_id: str, **options: Any) -> SyncSubscription:
        """See `StreamRouter.subscribe`."""
        return SyncSubscription(self._router.subscribe(request_id, **options), self._run)

    def cancel(self, request_id: str, **options: Any) -> bool:
        """See `StreamRouter.cancel`."""
        return self._run(self._router.cancel(request_id, **options))

    def locate(self, request_id: str, **options: Any) -> Location:
        """See `StreamRouter.locate`."""
        return self._run(self._router.locate(request_id, **options))

    def describe(self) -> Description:
        """See `StreamRouter.describe`."""
        return self._run(self._router.describe())

    def overview(self, streams_max: int = 20) -> Overview:
        """See `StreamRouter.overview`."""
        return self._run(self._router.overview(streams_max))

    def drain(self) -> int:
        """See `StreamRouter.drain`."""
        return self._run(self._router.drain())

    def close(self) -> None:
        """See `StreamRouter.close`."""
        try:
            self._run(self._router.close())
        finally:
            self._stop_loop()

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


Run = Callable[[Coroutine[Any, Any, Any]], Any]


class SyncPublisher:
    """`Publisher` without `await`; a cancel shows itself as RequestCancelled in the next call."""

    def __init__(self, publisher: Publisher, run: Run) -> None:
        self._publisher = publisher
        self._run = run

    def __enter__(self) -> Self:
        self._run(self._publisher.open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._publisher.__aexit__(kind, error, trace))

    def chunk(self, chunk: Chunk) -> None:
        """See `Publisher.chunk`."""
        self._run(self._publisher.chunk(chunk))

    def step_start(self, **fields: Any) -> None:
        """See `Publisher.step_start`."""
        self._run(self._publisher.step_start(**fields))

    def step_end(self) -> None:
        """See `Publisher.step_end`."""
        self._run(self._publisher.step_end())

    def message(self, message: Mapping[str, Any] | BaseModel) -> None:
        """See `Publisher.message`."""
        self._run(self._publisher.message(message))

    def finish(self, stop_reason: str | None = None, usage: Mapping[str, Any] | None = None) -> None:
        """See `Publisher.finish`."""
        self._run(self._publisher.finish(stop_reason, usage))

    def fail(self, error_type: str, message: str, detail: str | None = None) -> None:
        """See `Publisher.fail`."""
        self._run(self._publisher.fail(error_type, message, detail))

    @property
    def next_seq(self) -> int:
        """See `Publisher.next_seq`."""
        return self._publisher.next_seq

    @property
    def stop_reason(self) -> str | None:
        """See `Publisher.stop_reason`."""
        return self._publisher.stop_reason

    @property
    def cancel_requested(self) -> str | None:
        """See `Publisher.cancel_requested`."""
        return self._publisher.cancel_requested


class SyncSubscription(Iterator["Batch[Any]"]):
    """`Subscription` as a plain iterator."""

    def __init__(self, subscription: Subscription, run: Run) -> None:
        self._subscription = subscription
        self._run = run

    def __next__(self) -> Batch[Any]:
        batch: Batch[Any] | None = self._run(_next_or_none(self._subscription))
        if batch is None:
            raise StopIteration
        return batch

    @property
    def last_seq_id(self) -> int:
        """See `Subscription.last_seq_id`."""
        return self._subscription.last_seq_id

    def close(self) -> None:
        """See `Subscription.aclose`."""
        self._run(self._subscription.aclose())


async def _next_or_none(subscription: Subscription) -> Batch[Any] | None:
    # StopAsyncIteration cannot cross from one event loop's future to another thread.
    try:
        return await subscription.__anext__()
    except StopAsyncIteration:
        return None

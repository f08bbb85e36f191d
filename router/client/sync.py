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
import contextlib
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from types import TracebackType
from typing import Any, Self, TypeVar

from actors.errors import RouterClosed
from actors.settings import StreamSettings
from router.client.finding.sync_calls import SyncFindingCalls
from router.client.launch.calls import SyncLaunchingCalls
from router.client.passing import arrived_sync
from router.client.publishing.encoding import Chunk
from router.client.publishing.publisher import Publisher
from router.client.publishing.pumping import threaded
from router.client.reading.batch import Batch
from router.client.reading.sync_calls import Run, SyncIterator, SyncReadingCalls
from router.client.reading.whereabouts import Location
from router.client.stream_router import StreamRouter
from router.status.overview import Description, Overview

T = TypeVar("T")


CLOSED = "this StreamRouter was closed; open another one"
JOIN_DEADLINE_S = 10.0


class SyncStreamRouter(SyncReadingCalls, SyncLaunchingCalls, SyncFindingCalls):
    """`StreamRouter` for code without an event loop. May be used from several threads."""

    _router: StreamRouter

    def __init__(self, open_door: Callable[[], Coroutine[Any, Any, StreamRouter]]) -> None:
        self._background = _Background()
        self._closing = threading.Lock()
        # A router that nobody holds any more must not leave its thread behind.
        self._finalizer = weakref.finalize(self, self._background.stop)
        self._finalizer.atexit = False
        try:
            self._router = self._run(open_door())
        except BaseException:
            self._finalizer()
            self._background.join()
            raise

    def __reduce__(self) -> tuple[Any, ...]:
        return arrived_sync, self._router.__reduce__()[1]

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._background.run(coroutine)

    def publish(
        self, request_id: str, settings: StreamSettings | Mapping[str, Any] | None = None, **options: Any
    ) -> SyncPublisher:
        """See `StreamRouter.publish`."""
        return SyncPublisher(self._router.publish(request_id, settings, **options), self._background.run)

    def subscribe(self, request_id: str, **options: Any) -> SyncSubscription:
        """See `StreamRouter.subscribe`."""
        return SyncSubscription(self._router.subscribe(request_id, **options), self._background.run)

    def cancel(self, request_id: str, **options: Any) -> bool:
        """See `StreamRouter.cancel`."""
        return self._run(self._router.cancel(request_id, **options))

    def forget(self, request_id: str) -> None:
        """See `StreamRouter.forget`."""
        self._run(self._router.forget(request_id))

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

    def resume(self) -> None:
        """See `StreamRouter.resume`."""
        self._run(self._router.resume())

    def warm(self) -> None:
        """See `StreamRouter.warm`."""
        self._run(self._router.warm())

    def stop(self) -> None:
        """See `StreamRouter.stop`."""
        self._run(self._router.stop())

    def close(self) -> None:
        """See `StreamRouter.close`: calls that wait in other threads end with RouterClosed."""
        with self._closing:
            if not self._background.is_stopped:
                try:
                    self._run(self._router.close())
                finally:
                    self._finalizer()
                    self._background.join()


class _Background:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.is_stopped = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="stream-router", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        loop = self._loop
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            # Whoever still waits in another thread must hear that nothing will come.
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there, and wait for it. Raises what it raises, or RouterClosed."""
        future: Future[T] | None = None
        try:
            if self.is_stopped:
                raise RouterClosed(CLOSED)
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            return future.result()
        except CancelledError:
            if self.is_stopped:
                raise RouterClosed(CLOSED) from None
            raise
        except RuntimeError:
            if future is None and self._loop.is_closed():
                raise RouterClosed(CLOSED) from None
            raise
        finally:
            if future is None:
                coroutine.close()
            else:
                # Ctrl-C while waiting: do not leave the call behind.
                future.cancel()

    def stop(self) -> None:
        """Let the loop and its thread end."""
        if not self.is_stopped:
            self.is_stopped = True
            with contextlib.suppress(RuntimeError):  # it is closed already
                self._loop.call_soon_threadsafe(self._loop.stop)

    def join(self) -> None:
        """Wait for the thread's end."""
        if threading.current_thread() is not self._thread:
            self._thread.join(JOIN_DEADLINE_S)


class SyncPublisher:
    """`Publisher` without `await`; a cancel shows itself as RequestCancelled in the next call."""

    def __init__(self, publisher: Publisher, run: Run) -> None:
        self._publisher = publisher
        self._run = run

    def open(self) -> Self:
        """See `Publisher.open`."""
        self._run(self._publisher.open())
        return self

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._publisher.__aexit__(kind, error, trace))

    def chunk(self, chunk: Chunk) -> None:
        """See `Publisher.chunk`."""
        self._run(self._publisher.chunk(chunk))

    def chunks(self, chunks: Iterable[Chunk]) -> None:
        """See `Publisher.chunks`."""
        self._run(self._publisher.chunks(chunks))

    def pump(self, source: Any) -> Any:
        """See `Publisher.pump`; a source that is iterated without `await` is read in a thread of its own."""
        if hasattr(source, "__iter__") and not hasattr(source, "__aiter__"):
            source = threaded(source)
        return self._run(self._publisher.pump(source))

    def step_start(self, **fields: Any) -> None:
        """See `Publisher.step_start`."""
        self._run(self._publisher.step_start(**fields))

    def step_end(self) -> None:
        """See `Publisher.step_end`."""
        self._run(self._publisher.step_end())

    def message(self, message: Mapping[str, Any] | Any) -> None:
        """See `Publisher.message`."""
        self._run(self._publisher.message(message))

    @contextlib.contextmanager
    def tool_running(self) -> Iterator[None]:
        """See `Publisher.tool_running`."""
        running = self._publisher.tool_running()
        self._run(running.__aenter__())
        try:
            yield
        finally:
            self._run(running.__aexit__(None, None, None))

    def finish(self, stop_reason: str | None = None, usage: Mapping[str, Any] | Any | None = None) -> None:
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


class SyncSubscription(SyncIterator[Batch[Any]]):
    """`Subscription` as a plain iterator."""

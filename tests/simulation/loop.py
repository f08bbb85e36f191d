"""An event loop without a clock and without I/O, in which processes can be killed and stopped.

Theory. Time moves only when nothing is left to do at the present moment; it then jumps to the next
timer. Everything that runs bears the process it belongs to in its context. A killed process runs no
further line, not even a `finally`: its callbacks are thrown away, as SIGKILL would. A stopped
process's callbacks wait until it goes on, as with SIGSTOP. With the same callbacks in, the same
order comes out: nothing here depends on hashes, addresses, threads or the time of day.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any

PROCESS: ContextVar[Process | None] = ContextVar("PROCESS", default=None)


class Process:
    """One simulated process: alive or dead, running or stopped, on a node, with a clock of its own."""

    __slots__ = ("alive", "clock_offset_s", "context", "name", "node", "on_death", "stalled", "stopped")

    def __init__(self, name: str, node: str = "", clock_offset_s: float = 0.0) -> None:
        self.name = name
        self.node = node
        self.alive = True
        self.stopped = False
        self.clock_offset_s = clock_offset_s
        self.stalled: list[asyncio.Handle] = []
        self.on_death: list[Callable[[], None]] = []
        self.context = copy_context()
        self.context.run(PROCESS.set, self)


class Hangs(Exception):
    """What runs in a thread goes on at this time, and not before."""

    def __init__(self, until_s: float) -> None:
        super().__init__(until_s)
        self.until_s = until_s


class SimulatedLoop(asyncio.AbstractEventLoop):
    """Runs callbacks in order, in simulated time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        self.tasks: list[asyncio.Task[Any]] = []
        self.errors: list[dict[str, Any]] = []
        self.outside = copy_context()  # of no process: the network, the script of faults
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._made = 0
        self.is_in_thread = False

    # --- what asyncio asks of a loop ------------------------------------------------------------

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)  # there is one thread

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._made += 1
        heapq.heappush(self._timers, (when, self._made, handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name or "task", context=context)
        task._log_destroy_pending = False
        self.tasks.append(task)
        return task

    def run_in_executor(self, _executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        future = self.create_future()
        self._run_in_thread(future, func, args)
        return future

    def _run_in_thread(self, future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.is_in_thread = True
        try:
            result = func(*args)
        except Hangs as hangs:
            self.call_at(hangs.until_s, self._run_in_thread, future, func, args)
            return
        except Exception as error:
            if not future.done():
                future.set_exception(error)
            return
        finally:
            self.is_in_thread = False
        if not future.done():
            future.set_result(result)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.errors.append(context)

    # --- processes ------------------------------------------------------------------------------

    def spawn(self, process: Process | None, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine in a process (None: outside of all)."""
        context = self.outside if process is None else process.context
        return self.create_task(coroutine, context=context.copy())

    def kill(self, process: Process) -> None:
        process.alive = False
        process.stalled.clear()
        for note in process.on_death:
            note()

    def stop(self, process: Process) -> None:
        process.stopped = True

    def go_on(self, process: Process) -> None:
        process.stopped = False
        self._ready.extend(process.stalled)
        process.stalled.clear()

    # --- running --------------------------------------------------------------------------------

    def run(self, until_s: float, is_over: Callable[[], bool], *, steps_max: int = 2_000_000) -> None:
        """Run until `is_over`, until that time, or until nothing will ever happen again."""
        asyncio._set_running_loop(self)
        try:
            while not is_over() and self.now <= until_s:
                self._run_ready(steps_max)
                if not self._timers:
                    return
                when, _, handle = heapq.heappop(self._timers)
                if not handle._cancelled:
                    self.now = max(self.now, when)
                    self._ready.append(handle)
        finally:
            asyncio._set_running_loop(None)

    def _run_ready(self, steps_max: int) -> None:
        ready = self._ready
        while ready:
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(PROCESS)
            if process is not None and (process.stopped or not process.alive):
                if process.alive:
                    process.stalled.append(handle)
                continue
            self.steps += 1
            if self.steps > steps_max:
                raise RuntimeError(f"{steps_max} steps and no end: someone runs in circles")
            handle._run()

    def close(self) -> None:
        """Throw away what has not ended; nothing of it runs any further, except to unwind."""
        self._ready.clear()
        self._timers.clear()
        asyncio._set_running_loop(self)
        try:
            for task in self.tasks:  # unwinding may add to it
                if not task.done():
                    try:
                        task.get_coro().close()
                    except RuntimeError:
                        continue  # it awaits while it unwinds; it is being thrown away all the same
        finally:
            asyncio._set_running_loop(None)
        self.tasks.clear()
        self._ready.clear()
        self._timers.clear()

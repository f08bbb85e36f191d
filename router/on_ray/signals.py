"""Signals in a program that holds a Ray."""

from __future__ import annotations

import signal
import threading
from types import FrameType


def end_in_order_on_termination() -> None:
    """Make SIGTERM do what Ctrl-C does: end in order. Call it after Ray was initialised.

    `ray.init` puts in a handler of its own, which prints a stack and aborts the process, so that
    nothing is closed and no terminal is written. Does nothing outside the main thread.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _as_ctrl_c)


def _as_ctrl_c(_number: int, frame: FrameType | None) -> None:
    """Do what Ctrl-C does now: under `asyncio.run` it cancels the main task, where an exception would hit any."""
    on_interrupt = signal.getsignal(signal.SIGINT)
    if not callable(on_interrupt):  # ignored, as a shell's script has it for what it runs in the background
        raise KeyboardInterrupt
    on_interrupt(signal.SIGINT, frame)

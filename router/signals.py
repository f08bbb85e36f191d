"""Signals in a program that holds a Ray."""

from __future__ import annotations

import signal
import threading


def end_in_order_on_termination() -> None:
    """Make SIGTERM do what Ctrl-C does: end in order. Call it after Ray was initialised.

    `ray.init` puts in a handler of its own, which prints a stack and aborts the process, so that
    nothing is closed and no terminal is written. Does nothing outside the main thread.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))

"""The timers of one request: which of them run, when the first runs out, and what it is called.

Each is named in the terminal that it causes and set by a setting of the same end. What starts them:

    timeout_request          the request's open
    timeout_first_message    the request's open, until the first message
    timeout_stall            the last content of the provider, while it may speak
    timeout_idle_reader      the last acknowledgement of a reader

Pure: times are seconds of the caller's clock.
"""

from __future__ import annotations

from typing import NamedTuple

from actors.settings import StreamSettings

# An end from outside waits so long for items that were announced before it.
END_WAIT_S = 20.0


class Timeout(NamedTuple):
    """A timer that runs."""

    at: float
    stop_reason: str
    detail: str


class Since(NamedTuple):
    """When what starts the timers of a request happened last."""

    opened_at: float
    content_at: float
    read_at: float


def running(settings: StreamSettings, since: Since, *, awaits_first: bool, may_speak: bool) -> list[Timeout]:
    """Return the timers that run.

    `awaits_first`: no message has come yet. `may_speak`: content has come, the producer has credit and
    no tool is at work; without credit its silence is the readers' doing.
    """
    found = []
    if settings.request_timeout_s is not None:
        found.append(_timeout(since.opened_at, "request_timeout_s", settings.request_timeout_s))
    if settings.first_message_timeout_s is not None and awaits_first:
        found.append(_timeout(since.opened_at, "first_message_timeout_s", settings.first_message_timeout_s))
    if settings.stall_timeout_s is not None and may_speak:
        found.append(_timeout(since.content_at, "stall_timeout_s", settings.stall_timeout_s))
    if settings.idle_reader_timeout_s is not None:
        found.append(_timeout(since.read_at, "idle_reader_timeout_s", settings.idle_reader_timeout_s))
    return found


def _timeout(since: float, setting: str, seconds: float) -> Timeout:
    return Timeout(since + seconds, _STOP_REASONS[setting], f"{setting} of {seconds:g} s ran out")


_STOP_REASONS = {
    "request_timeout_s": "timeout_request",
    "first_message_timeout_s": "timeout_first_message",
    "stall_timeout_s": "timeout_stall",
    "idle_reader_timeout_s": "timeout_idle_reader",
}

"""Every error this product raises, by name.

An error is a letter to the person on call: what was expected, what came, what to do next.
Each class has a `code`, the stable word used on the wire, in metrics and in exit messages, so
that an error raised inside an actor is raised again, as the same class, in the caller's process.

Ray wraps exceptions of remote methods; ours never travel that way. They cross processes as
`(code, text)` pairs (`to_wire` / `from_wire`), never as pickled exception objects.
"""

from __future__ import annotations

from typing import Any, ClassVar


class StreamRouterError(Exception):
    """Base class of all errors of this package."""

    code: ClassVar[str] = "error"

    def to_wire(self) -> tuple[str, str]:
        """Return `(code, text)`, the form in which an error crosses processes."""
        return self.code, str(self)


def first_line(error: BaseException, chars_max: int = 300) -> str:
    """Return what an error says, in one line; its type where it says nothing, as a TimeoutError does."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:chars_max]


# --- what was sent in ---------------------------------------------------------------------------


class MalformedChunk(StreamRouterError):
    """A chunk that is not JSON, or JSON of a shape that no provider adapter can read."""

    code = "malformed_chunk"


class ChunkTooLarge(StreamRouterError):
    """A chunk over `chunk_bytes_max`."""

    code = "chunk_too_large"


class InvalidRecord(StreamRouterError):
    """Something other than a chunk was published in a form that cannot be read."""

    code = "invalid_record"


class MessageTooLarge(InvalidRecord):
    """A record (a whole message, a usage) over `message_bytes_max`."""

    code = "message_too_large"


class InvalidArgument(StreamRouterError, ValueError):
    """An argument of a public call has the wrong type or is out of range; nothing was done."""

    code = "invalid_argument"


class InvalidRequestId(InvalidArgument):
    """A request ID that is empty, too long or holds control characters."""

    code = "invalid_request_id"


class SettingsError(StreamRouterError):
    """Unknown or contradictory `StreamSettings`."""

    code = "settings_error"


class ConfigError(StreamRouterError):
    """A configuration file that is missing, not YAML, or has a wrong key or value."""

    code = "config_error"


class RecordingError(StreamRouterError):
    """A recording that is missing, empty, or not one of the formats that can be read."""

    code = "recording_error"


# --- the life of a request ----------------------------------------------------------------------


class UnknownRequest(StreamRouterError):
    """No request of that ID is known (never opened, its time-to-live is over, or it was forgotten)."""

    code = "unknown_request"


class DuplicateRequest(StreamRouterError):
    """The request ID is open with another publisher, or was opened with other settings."""

    code = "duplicate_request"


class RequestOpen(StreamRouterError):
    """The request has not ended, and what was asked for is done only to one that has."""

    code = "request_open"


class RequestEnded(StreamRouterError):
    """Something was published to a request that has ended; the text names its stop reason."""

    code = "request_ended"


class RequestFailed(StreamRouterError):
    """The request ended neither by itself nor by a limit of the model's; the text names its stop reason.

    `result`: what it had come to by then, a `router.Result`, where `StreamRouter.result` raised this; else None.
    """

    code = "request_failed"

    def __init__(self, text: str = "", result: Any = None) -> None:
        super().__init__(text)
        self.result: Any = result


class RequestCancelled(RequestFailed):
    """The request was cancelled. Raised in the publisher, whose producer should stop, and by `StreamRouter.result`."""

    code = "request_cancelled"


class NotOpened(StreamRouterError):
    """A publisher was used before it was opened."""

    code = "not_opened"


class AlreadyReading(StreamRouterError):
    """Two tasks ask one subscription for its next batch at the same time."""

    code = "already_reading"


class AgentFenced(StreamRouterError):
    """The agent has gone on to another request: this one may publish nothing more."""

    code = "agent_fenced"


class AgentNotStarted(StreamRouterError):
    """An agent that `start` or `map` was to run never came to open its request; the text says what Ray says."""

    code = "agent_not_started"


class AgentBusy(StreamRouterError):
    """The agent has a request under way and its policy is to reject a second one."""

    code = "agent_busy"


class BufferFull(StreamRouterError):
    """The stream has no credit and its policy is to fail (`when_full="fail"`)."""

    code = "buffer_full"


class RequestLost(RequestFailed):
    """No survivor of a crash can restore the request."""

    code = "request_lost"


class RequestTimedOut(RequestFailed):
    """One of the request's own timers has run out (`stall_timeout_s` and its like)."""

    code = "request_timed_out"


# --- the machine under it -----------------------------------------------------------------------


class PoolFull(StreamRouterError):
    """Every stream actor is at `max_streams_per_actor` and the pool at `max_actors`."""

    code = "pool_full"


class LimitExceeded(StreamRouterError):
    """A limit of the namespace was reached (open streams, bytes, opens per second)."""

    code = "limit_exceeded"


class RouterUnavailable(StreamRouterError):
    """The router did not answer within the deadline; it may be restarting, or be gone."""

    code = "router_unavailable"


class NotPermitted(StreamRouterError):
    """The service is shared by tenants, and this process has no valid token, or one without the scope for this."""

    code = "not_permitted"


class RouterClosed(StreamRouterError):
    """The `StreamRouter` of this process was closed, or its event loop has ended."""

    code = "router_closed"


class Recovering(StreamRouterError):
    """A restarted router cannot say yet whether it has what was asked for; ask again."""

    code = "recovering"


class InternalError(StreamRouterError):
    """A remote method failed in a way that it should not: a fault of this package. It was not retried."""

    code = "internal_error"


class RouterNotFound(StreamRouterError):
    """No router of that name runs on the cluster."""

    code = "router_not_found"


class RouterExists(StreamRouterError):
    """A router of that name runs already, with another configuration."""

    code = "router_exists"


class RayUnavailable(StreamRouterError):
    """No Ray cluster could be reached or started."""

    code = "ray_unavailable"


class Draining(StreamRouterError):
    """The router takes no new requests: it is being drained or stopped."""

    code = "draining"


class DeadlineExceeded(StreamRouterError):
    """An answer did not come within its deadline."""

    code = "deadline_exceeded"


class ProtocolViolation(StreamRouterError):
    """A frame from another process that the protocol does not allow (cut short, future seq…)."""

    code = "protocol_violation"


class ProviderError(StreamRouterError):
    """An HTTP provider refused, failed, or cut its stream."""

    code = "provider_error"


def _by_code(base: type[StreamRouterError]) -> dict[str, type[StreamRouterError]]:
    found = {base.code: base}
    for sub in base.__subclasses__():
        found.update(_by_code(sub))
    return found


ERRORS_BY_CODE: dict[str, type[StreamRouterError]] = _by_code(StreamRouterError)


def from_wire(code: str, text: str) -> StreamRouterError:
    """Return the error that `to_wire` described; an unknown code becomes the base class."""
    return ERRORS_BY_CODE.get(code, StreamRouterError)(text)

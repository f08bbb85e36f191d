"""What may be on the way to a stream actor, shared out among its open sessions. Pure.

An ended request stays readable for a while, and is sent nothing more: it has no share. Otherwise an actor whose
requests are short would have thousands of ended ones, and its few open ones hardly a chunk on the way each.
"""

from __future__ import annotations

from actors.members import Members

# What may be on the way to this actor, all its streams together, and the share of one stream.
IN_FLIGHT_BYTES_MAX = 64 * 1024 * 1024
WINDOW_BYTES_MIN = 4 * 1024
WINDOW_BYTES_MAX = 256 * 1024


class Windows:
    """The open sessions of one actor, and the window that each has: `bytes`."""

    __slots__ = ("_open", "bytes")

    def __init__(self) -> None:
        self._open: Members[str] = Members()
        self.bytes: int = WINDOW_BYTES_MAX

    def note(self, request_id: str, *, is_open: bool) -> None:
        """Note whether a request is open here (saying it twice does no harm)."""
        if is_open:
            self._open.add(request_id)
        else:
            self._open.discard(request_id)
        share = IN_FLIGHT_BYTES_MAX // max(len(self._open), 1)
        self.bytes = max(WINDOW_BYTES_MIN, min(WINDOW_BYTES_MAX, share))

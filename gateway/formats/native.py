"""Our own messages as server-sent events, as a browser's `EventSource` reads and resumes them.

    id: 7
    data: {"message_type":"assistant_message",...,"seq_id":7,"content":"Hel"}

The `id` is the message's `seq_id`, which is the cursor. After the terminal comes `event: end`, which bears the last
`id` again; a connection that ends without it is to be made again. `types` leaves out all messages of other types.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import get_args

from actors.messages import Message
from gateway.formats.form import Fields, Frame, comment, encode

RETRY_MS = 1000
MESSAGE_TYPES = frozenset(
    str(model.model_fields["message_type"].default) for model in get_args(get_args(Message)[0])
) - {"ping"}
_PING = comment("ping")


class NativeForm:
    """Makes the frames of one request."""

    __slots__ = ("_number", "_request_id", "_stop_reason", "_types")

    content_type: str = "text/event-stream; charset=utf-8"
    opening: bytes = f"retry: {RETRY_MS}\n\n".encode()

    def __init__(self, request_id: str, types: AbstractSet[str] | None = None) -> None:
        """`types`: of these messages only; None: of all."""
        self._request_id = request_id
        self._types = types
        self._number = 0
        self._stop_reason: str | None = None

    def feed(self, message: Fields) -> list[Frame]:
        """See `Form`."""
        kind = message["message_type"]
        if kind == "stop_reason":
            self._stop_reason = message["stop_reason"]
        number = self._number = message["seq_id"]
        if self._types is not None and kind not in self._types:
            return [Frame(number, b"")]
        # As `Frame(...)`, which is a call of Python's for each message.
        return [tuple.__new__(Frame, (number, b"id: %d\ndata: %b\n\n" % (number, encode(message))))]

    def gap(self, first: int, last: int) -> list[Frame]:
        """See `Form`."""
        self._number = last
        said = {
            "message_type": "gap",
            "run_id": self._request_id,
            "first_seq_id": first,
            "last_seq_id": last,
            "seq_id": last,
        }
        return [Frame(last, b"id: %d\ndata: %b\n\n" % (last, encode(said)))]

    def end(self) -> list[Frame]:
        """See `Form`."""
        said = {"stop_reason": self._stop_reason, "last_seq_id": self._number}
        return [Frame(self._number + 1, b"id: %d\nevent: end\ndata: %b\n\n" % (self._number, encode(said)))]

    def ping(self) -> bytes:
        """See `Form`."""
        return _PING

    def broken(self, code: str, text: str) -> bytes:
        """See `Form`. An `EventSource` connects again by itself."""
        return comment(f"interrupted, {code}: {text}")

"""Several streams in one connection, as server-sent events of our own format.

    id: a=7,b=3
    data: {"stream":"a","message_type":"assistant_message",...,"seq_id":7,"content":"Hel"}

The `id` is a cursor over all of them: the last `seq_id` that was had of each, by its name, percent-encoded; with a `!`
behind it where its end was had too. Each stream ends with `event: end` of its own; when all have ended comes one more,
of no stream. The events of one stream come in their order; in what order those of two come says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from actors.errors import InvalidArgument
from gateway.formats.form import Fields, comment, encode
from gateway.formats.native import RETRY_MS

SEQ_DIGITS_MAX = 18
_ENDED = "!"
_PING = comment("ping")


class Place(NamedTuple):
    """How far one stream was had. `has_ended`: with its end."""

    seq_id: int = 0
    has_ended: bool = False


def names_in(raw_query: str) -> list[str] | None:
    """Return the streams that `ids` names, separated by commas; None: there is no `ids`. Raises InvalidArgument.

    `raw_query`: as it came, since a comma in a name is percent-encoded.
    """
    values = [value for key, _, value in (part.partition("=") for part in raw_query.split("&")) if key == "ids"]
    if not values:
        return None
    names = [unquote(part.replace("+", " ")) for part in ",".join(values).split(",") if part]
    if not names or len(set(names)) != len(names):
        raise InvalidArgument(f"ids: expected streams separated by commas, each once, got {','.join(values)[:80]!r}")
    return names


def joined(names: Iterable[str]) -> str:
    """Return names as `ids` has them."""
    return ",".join(quote(name, safe="") for name in names)


def places_in(text: str | None, names: Sequence[str]) -> dict[str, Place]:
    """Return how far each stream was had, by a cursor. Raises InvalidArgument."""
    places = dict.fromkeys(names, Place())
    for part in (text or "").split(","):
        name, _, number = part.partition("=")
        if not part:
            continue
        digits = number.removesuffix(_ENDED)
        is_number = digits.isascii() and digits.isdecimal() and len(digits) <= SEQ_DIGITS_MAX
        if unquote(name) not in places or not is_number:
            raise InvalidArgument(f"after: expected a cursor over the streams of ids, as a=7,b=3, got {part[:80]!r}")
        places[unquote(name)] = Place(int(digits), number.endswith(_ENDED))
    return places


class ManyForm:
    """Makes the bytes of several requests, in the order in which they are fed."""

    content_type: str = "text/event-stream; charset=utf-8"
    opening: bytes = f"retry: {RETRY_MS}\n\n".encode()

    def __init__(self, places: Mapping[str, Place], types: AbstractSet[str] | None = None) -> None:
        """`types`: of these messages only; None: of all."""
        self._places = dict(places)
        self._types = types
        self._reasons: dict[str, str] = {}
        self._names = {name: quote(name, safe="") for name in places}

    @property
    def places(self) -> Mapping[str, Place]:
        """How far each stream was had."""
        return self._places

    @property
    def have_all_ended(self) -> bool:
        """Whether nothing more comes."""
        return all(place.has_ended for place in self._places.values())

    def cursor(self) -> str:
        """Return the cursor of a reader who has had all until now."""
        return ",".join(
            f"{self._names[name]}={place.seq_id}{_ENDED if place.has_ended else ''}"
            for name, place in self._places.items()
        )

    def reason(self, name: str) -> str | None:
        """Return why a stream ended, as it was said here."""
        return self._reasons.get(name)

    def feed(self, name: str, message: Fields) -> bytes:
        """Return the bytes of a message."""
        kind = message["message_type"]
        if kind == "stop_reason":
            self._reasons[name] = message["stop_reason"]
        self._places[name] = Place(message["seq_id"])
        if self._types is not None and kind not in self._types:
            return b""
        return self._event({"stream": name, **message})

    def gap(self, name: str, first: int, last: int) -> bytes:
        """Return the bytes that say that messages are there no more."""
        self._places[name] = Place(last)
        said = {"message_type": "gap", "first_seq_id": first, "last_seq_id": last, "seq_id": last}
        return self._event({"stream": name, **said})

    def end(self, name: str, stop_reason: str | None, error: Mapping[str, Any] | None = None) -> bytes:
        """Return the bytes that end a stream, and all of them where it is the last. `error`: why it cannot be read."""
        last = self._places[name].seq_id
        self._places[name] = Place(last, has_ended=True)
        said = {"stream": name, "stop_reason": stop_reason, "last_seq_id": last}
        data = self._event(said if error is None else {**said, "error": error}, b"event: end\n")
        return data + (self.end_of_all() if self.have_all_ended else b"")

    def end_of_all(self) -> bytes:
        """Return the bytes that say that all streams have ended."""
        return self._event({"stream": None}, b"event: end\n")

    def _event(self, said: Mapping[str, Any], kind: bytes = b"") -> bytes:
        return b"id: %b\n%bdata: %b\n\n" % (self.cursor().encode(), kind, encode(said))

    def ping(self) -> bytes:
        """Return the bytes that are sent while nothing is said."""
        return _PING

    def broken(self, code: str, text: str) -> bytes:
        """Return the bytes that are sent before the connection is closed too early."""
        return comment(f"interrupted, {code}: {text}")

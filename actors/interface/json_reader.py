"""A reader of one JSON object that arrives in pieces.

The theory. Arguments of a tool call are one JSON object, cut anywhere. The reader walks over each
fragment once and reports what happens at the object's top level, as events:

    OPEN  (KEY PIECE* END)*  CLOSE  AFTER*        or, from any point on,  FAIL+

- OPEN: the opening brace, with the space ahead of it.
- KEY: a key, decoded, once its value has begun. `lead` is what stood between the last value (or the
  brace) and the key: a comma, space. `raw` is the key as written, with the colon and the space after.
- PIECE: a piece of the value, in order. `raw` as written; `text` decoded, for the keys that were asked
  for at the start (`wanted`), None for all others. Of a value that is not a string, `text` is `raw`; of null, nothing.
- END: the value is over; CLOSE: the object is; AFTER: what stands behind it.
- FAIL: no strict reader could go on here; `raw` is the rest, and so is every later fragment.

All raw texts (and leads) joined are the input. The events do not depend on the cuts, but for how
values are cut into pieces, and keys and numbers come whole.

Inside nested values the same machine runs with a stack of open brackets, and reports nothing but
pieces. Runs of characters are skipped by regular expressions, never one at a time; what cannot be
read yet (half an escape) is kept, at most five characters, and put in front of the next fragment.
So the cost is linear in the length, however it is cut.

What is held is bounded: a key (with the space round it) or a number longer than HELD_CHARS_MAX, or
brackets nested deeper than DEPTH_MAX, are a FAIL.

Three liberties, as `json.loads(strict=False)` takes the first two: control characters stand for
themselves in strings; `NaN` and `Infinity` are numbers; and an escape that JSON does not know stands
for itself (`relaxed` then says so).
"""

from __future__ import annotations

import json
import re
from enum import IntEnum
from typing import Any, NamedTuple

import demjson3

HELD_CHARS_MAX = 64 * 1024
DEPTH_MAX = 1000


class Kind(IntEnum):
    """What an event says; the module's header tells when each comes."""

    OPEN = 0
    KEY = 1
    PIECE = 2
    END = 3
    CLOSE = 4
    AFTER = 5
    FAIL = 6


class Event(NamedTuple):
    """One thing that happened at the object's top level."""

    kind: Kind
    raw: str
    text: str | None = None
    lead: str = ""


class _State(IntEnum):
    START = 0  # nothing but space so far
    FIRST_KEY = 1  # behind an opening brace: a key or the closing brace
    NEXT_KEY = 2  # behind a comma in an object
    KEY_STRING = 3
    COLON = 4
    FIRST_ITEM = 5  # behind an opening bracket: a value or the closing bracket
    VALUE = 6
    STRING = 7
    SCALAR = 8
    AFTER_VALUE = 9
    DONE = 10
    FAILED = 11


_SPACE = re.compile(r"[ \t\n\r]*")
_STRING_RUN = re.compile(r'(?:[^"\\]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+')
_HALF_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_SCALAR_RUN = re.compile(r"[-+.0-9A-Za-z]*")
_SCALAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null|NaN|-?Infinity")
_SCALAR_STARTS = frozenset("-0123456789tfnNI")
_SURROGATE = re.compile("[\ud800-\udfff]")
_HIGH_SURROGATES = ("\ud800", "\udbff")


def replace_surrogates(text: str) -> str:
    """Put U+FFFD in place of each half of a surrogate pair, which no UTF-8 can hold."""
    return _SURROGATE.sub("\ufffd", text)


class JsonReader:
    """Reads one JSON object in pieces. `feed` gives events; `rest` what is still held back."""

    __slots__ = (
        "_held",
        "_held_chars",
        "_high",
        "_is_wanted",
        "_key",
        "_lead",
        "_scalar",
        "_stack",
        "_state",
        "_wanted",
        "relaxed",
    )

    def __init__(self, wanted: tuple[str, ...] = ()) -> None:
        self._wanted = wanted
        self._state = _State.START
        self._stack: list[str] = []
        self._held = ""  # half an escape: goes in front of the next fragment
        self._held_chars = 0  # in the three lists below
        self._lead: list[str] = []  # space and comma ahead of a key
        self._key: list[str] = []  # a key, its colon, and the space up to its value
        self._scalar: list[str] = []  # a number or a word, until it is whole
        self._is_wanted = False
        self._high = ""  # the first half of a surrogate pair whose second half may come
        self.relaxed = False

    @property
    def is_done(self) -> bool:
        """True: the object is complete."""
        return self._state is _State.DONE

    @property
    def has_failed(self) -> bool:
        """True: this is no JSON object, so far as a strict reader can tell."""
        return self._state is _State.FAILED

    def is_inside_string(self, fragment: str) -> bool:
        """Tell whether a fragment is nothing but a piece, without escapes, of a top-level string under way.

        Then `feed` may be left out: the fragment is its own raw and decoded text, and no state changes.
        """
        return (
            self._state is _State.STRING
            and len(self._stack) == 1
            and not self._held
            and not self._high
            and '"' not in fragment
            and "\\" not in fragment
        )

    def rest(self) -> str:
        """Return (and forget) the raw text that has been fed but is in no event yet."""
        parts = [*self._lead, *self._key]
        if self._state is _State.SCALAR and len(self._stack) == 1:
            parts += self._scalar
        parts.append(self._held)
        self._lead, self._key, self._scalar, self._held = [], [], [], ""
        return "".join(parts)

    def feed(self, fragment: str) -> list[Event]:  # noqa: C901, PLR0912, PLR0915  # one machine, one loop
        """Return the events of one more fragment."""
        if self._held:
            fragment, self._held = self._held + fragment, ""
        out: list[Event] = []
        at, end = 0, len(fragment)
        # Where the current top-level value's not yet reported part begins.
        mark = 0
        stack = self._stack
        while at < end:
            state = self._state
            if state is _State.STRING or state is _State.KEY_STRING:
                stop = _STRING_RUN.match(fragment, at).end()  # type: ignore[union-attr]  # matches the empty string
                if stop == end:
                    at = stop
                elif fragment[stop] == '"':
                    at = stop + 1
                    if state is _State.KEY_STRING:
                        self._state = _State.COLON
                        if len(stack) == 1:
                            self._hold(self._key, fragment[mark:at])
                            mark = at
                    else:
                        self._state = _State.AFTER_VALUE
                        if len(stack) == 1:
                            self._string_piece(fragment[mark:at], out, is_last=True)
                            mark = at
                elif _HALF_ESCAPE.match(fragment, stop):
                    self._held = fragment[stop:]
                    fragment = fragment[:stop]
                    at = end = stop
                else:
                    # An escape that JSON does not know: it stands for itself.
                    self.relaxed = True
                    at = stop + 2
                    # The reader of the piece sees the same; a quote or backslash is never skipped here.
                continue
            if state is _State.SCALAR:
                stop = _SCALAR_RUN.match(fragment, at).end()  # type: ignore[union-attr]  # matches the empty string
                self._hold(self._scalar, fragment[at:stop])
                if stop < end:
                    scalar = "".join(self._scalar)
                    if not _SCALAR.fullmatch(scalar) or self._held_chars > HELD_CHARS_MAX:
                        # The characters were good ones; what they spell is not.
                        is_top = len(stack) == 1
                        self._fail((scalar if is_top else fragment[mark:stop]) + fragment[stop:], out)
                        return out
                    self._scalar, self._held_chars = [], 0
                    self._state = _State.AFTER_VALUE
                    if len(stack) == 1:
                        text = "" if scalar == "null" else scalar
                        out.append(Event(Kind.PIECE, scalar, text if self._is_wanted else None))
                        out.append(Event(Kind.END, ""))
                        mark = stop
                elif len(stack) == 1:
                    mark = stop
                at = stop
                continue
            if state is _State.DONE:
                out.append(Event(Kind.AFTER, fragment[at:]))
                return out
            if state is _State.FAILED:
                out.append(Event(Kind.FAIL, fragment[at:]))
                return out

            stop = _SPACE.match(fragment, at).end()  # type: ignore[union-attr]  # matches the empty string
            depth = len(stack)
            if stop == end:
                at = stop
                if depth <= 1:
                    self._hold_outer(state, fragment[mark:stop])
                    mark = stop
                continue
            char = fragment[stop]
            if state is _State.VALUE or state is _State.FIRST_ITEM:
                if char == "]" and state is _State.FIRST_ITEM:
                    at = stop + 1
                    stack.pop()
                    self._state = _State.AFTER_VALUE
                    if depth == 2:  # noqa: PLR2004  # the value itself closes
                        self._value_piece(fragment[mark:at], out, is_last=True)
                        mark = at
                    continue
                if char != '"' and char not in "{[" and char not in _SCALAR_STARTS:
                    break
                if depth == DEPTH_MAX and char in "{[":
                    break
                if depth == 1:
                    self._hold(self._key, fragment[mark:stop])
                    mark = stop
                    if self._held_chars > HELD_CHARS_MAX:
                        break
                    self._begin_value(out)
                at = stop + 1
                if char == '"':
                    self._state = _State.STRING
                elif char == "{":
                    stack.append("{")
                    self._state = _State.FIRST_KEY
                elif char == "[":
                    stack.append("[")
                    self._state = _State.FIRST_ITEM
                else:
                    at = stop
                    self._state = _State.SCALAR
            elif state is _State.AFTER_VALUE:
                top = stack[-1]
                if char == ",":
                    at = stop + 1
                    self._state = _State.NEXT_KEY if top == "{" else _State.VALUE
                elif (char == "}" and top == "{") or (char == "]" and top == "["):
                    at = stop + 1
                    stack.pop()
                    if depth == 1:
                        self._close(fragment[mark:at], out)
                        mark = at
                    elif depth == 2:  # noqa: PLR2004  # the value itself closes
                        self._value_piece(fragment[mark:at], out, is_last=True)
                        mark = at
                else:
                    break
            elif state is _State.FIRST_KEY or state is _State.NEXT_KEY:
                if char == '"':
                    if depth == 1:
                        self._hold(self._lead, fragment[mark:stop])
                        mark = stop
                    at = stop + 1
                    self._state = _State.KEY_STRING
                elif char == "}" and state is _State.FIRST_KEY:
                    at = stop + 1
                    stack.pop()
                    self._state = _State.AFTER_VALUE
                    if depth == 1:
                        self._close(fragment[mark:at], out)
                        mark = at
                    elif depth == 2:  # noqa: PLR2004  # the value itself closes
                        self._value_piece(fragment[mark:at], out, is_last=True)
                        mark = at
                else:
                    break
            elif state is _State.COLON:
                if char != ":":
                    break
                at = stop + 1
                self._state = _State.VALUE
            else:  # START
                if char != "{":
                    break
                at = stop + 1
                stack.append("{")
                self._state = _State.FIRST_KEY
                out.append(Event(Kind.OPEN, "".join(self._lead) + fragment[mark:at]))
                self._lead, self._held_chars = [], 0
                mark = at
        else:
            if mark < end:
                self._end_of_fragment(fragment[mark:end], out)
            if self._held_chars > HELD_CHARS_MAX:
                self._fail("".join(self._scalar) if len(stack) == 1 else "", out)
            return out
        self._fail(fragment[mark:], out)
        return out

    # --- pieces ---------------------------------------------------------------------------------

    def _begin_value(self, out: list[Event]) -> None:
        written = "".join(self._key)
        key = _decode(written[1 : written.rindex('"')])
        self._is_wanted = key in self._wanted
        out.append(Event(Kind.KEY, written, replace_surrogates(key), "".join(self._lead)))
        self._lead, self._key, self._held_chars = [], [], 0

    def _value_piece(self, raw: str, out: list[Event], *, is_last: bool = False) -> None:
        out.append(Event(Kind.PIECE, raw, raw if self._is_wanted else None))
        if is_last:
            out.append(Event(Kind.END, ""))

    def _string_piece(self, raw: str, out: list[Event], *, is_last: bool = False) -> None:
        # `raw` may hold the opening quote and the closing one; unescaped, neither can stand elsewhere.
        if not self._is_wanted:
            out.append(Event(Kind.PIECE, raw))
        else:
            inner = raw[1:] if raw[0] == '"' else raw
            if is_last and inner:
                inner = inner[:-1]
            text = _decode(inner) if "\\" in inner else inner
            if self._high:
                text, self._high = join_surrogates(self._high, text)
            if text and _HIGH_SURROGATES[0] <= text[-1] <= _HIGH_SURROGATES[1]:
                text, self._high = text[:-1], text[-1]
            if is_last and self._high:
                text, self._high = text + "\ufffd", ""
            out.append(Event(Kind.PIECE, raw, replace_surrogates(text)))
        if is_last:
            out.append(Event(Kind.END, ""))

    def _end_of_fragment(self, raw: str, out: list[Event]) -> None:
        """Report, or keep, the part of a fragment since the last event."""
        state = self._state
        if len(self._stack) > 1:
            self._value_piece(raw, out)
        elif state is _State.STRING:
            self._string_piece(raw, out)
        elif state is _State.KEY_STRING:
            self._hold(self._key, raw)
        else:
            self._hold_outer(state, raw)

    def _hold_outer(self, state: _State, raw: str) -> None:
        """Keep space and punctuation of the top level until what follows tells where they belong."""
        self._hold(self._key if state is _State.COLON or state is _State.VALUE else self._lead, raw)

    def _hold(self, where: list[str], raw: str) -> None:
        where.append(raw)
        self._held_chars += len(raw)

    def _close(self, raw: str, out: list[Event]) -> None:
        out.append(Event(Kind.CLOSE, "".join(self._lead) + raw))
        self._lead, self._held_chars = [], 0
        self._state = _State.DONE

    def _fail(self, raw: str, out: list[Event]) -> None:
        kept = "".join([*self._lead, *self._key])
        self._lead, self._key, self._scalar, self._held_chars = [], [], [], 0
        self._state = _State.FAILED
        out.append(Event(Kind.FAIL, kept + raw))


# --- strings ------------------------------------------------------------------------------------


def _decode(inner: str) -> str:
    """Decode the inside of a JSON string; escapes that JSON does not know stand for themselves."""
    if "\\" not in inner:
        return inner
    try:
        return str(json.loads(f'"{inner}"', strict=False))
    except ValueError:
        return str(json.loads(f'"{_mend_escapes(inner)}"', strict=False))


def _mend_escapes(inner: str) -> str:
    parts: list[str] = []
    at = 0
    while at < len(inner):
        stop = _STRING_RUN.match(inner, at).end()  # type: ignore[union-attr]  # matches the empty string
        parts.append(inner[at:stop])
        if stop < len(inner):
            # Only an unknown escape (or half of one, at the very end) stops the run.
            follows = inner[stop + 1 : stop + 2]
            parts.append(follows if follows == "'" else "\\\\" + follows)
            stop += 1 + len(follows)
        at = stop
    return "".join(parts)


def join_surrogates(high: str, text: str) -> tuple[str, str]:
    """Put the held first half of a pair in front of `text`; return the text and what is still held."""
    if not text:
        return "", high
    if "\udc00" <= text[0] <= "\udfff":
        pair = (high + text[0]).encode("utf-16", "surrogatepass").decode("utf-16")
        return pair + text[1:], ""
    return "\ufffd" + text, ""


# --- whole texts --------------------------------------------------------------------------------

LENIENT_CHARS_MAX = 16 * 1024
UNREADABLE: Any = object()


def read_leniently(text: str) -> Any:
    """Return the value of JSON-like text (single quotes, bare keys, comments …), or UNREADABLE.

    Strict JSON is tried first, then demjson3 (as the reference does). Longer text than
    LENIENT_CHARS_MAX is not given to demjson3, which would hold up its whole process.
    """
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        pass
    if len(text) > LENIENT_CHARS_MAX:
        return UNREADABLE
    try:
        return demjson3.decode(text)
    except (demjson3.JSONException, ValueError, RecursionError, ArithmeticError, LookupError, TypeError):
        return UNREADABLE


def to_json(value: Any) -> str | None:
    """Return a value of `read_leniently` as JSON text, in the form that the reference writes (ASCII).

    None for what no JSON text can say: keys that are objects, nesting beyond the interpreter's depth.
    """
    try:
        return json.dumps(value, default=str)
    except (RecursionError, ValueError, TypeError):
        return None

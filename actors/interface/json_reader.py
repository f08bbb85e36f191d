"""A reader of one JSON object that arrives in fragments.

Theory. The arguments of a tool call are one JSON object, cut at any place. The reader goes over each
fragment once and reports what happens at the top level of the object, as events:

    OPEN  (KEY PIECE* END)*  CLOSE  AFTER*        or, from any point on,  FAIL+

- OPEN: the opening brace, with the space in front of it.
- KEY: a key, decoded, reported once its value begins. `lead` is the text between the last value (or the
  brace) and the key: a comma, space. `raw` is the key as written, with the colon and the space behind it.
- PIECE: a piece of the value, in order. `raw` is the text as written. `text` is the decoded text for the
  keys named in `wanted`, None for all others. If the value is not a string, `text` is `raw`; for null it is empty.
- END: the value is over. CLOSE: the object is over. AFTER: text behind the object.
- FAIL: a strict JSON reader cannot go on here. `raw` is the rest of the fragment; so is every later fragment.

All leads and raw texts joined are the input. The events do not depend on the cuts, except that a string,
object or array is cut into pieces where the input is. Keys, numbers and words always come whole.

The machine. A state says what may come next. Inside a run of characters (a string, a number or word, the
text behind the object or behind a failure) the step of the state takes as much as it can. Everywhere
else comes space, then one character; state and character choose the action:

    state         "         number, word   {         [         :       ,      }       ]
    START                                  open
    FIRST_KEY     key                                                         close
    NEXT_KEY      key
    COLON                                                      colon
    VALUE         string    scalar         object    array
    FIRST_ITEM    string    scalar         object    array                            close
    AFTER_VALUE                                                        comma  close   close

An empty cell is a failure, and so is a closing bracket that does not match the open one. Nested values run
through the same states, with a stack of the brackets that must close; they report nothing but pieces.

Cost. Regular expressions skip runs of characters. An escape that is cut in two is held (at most five
characters) and put in front of the next fragment. So the cost is linear in the length, however it is cut.

Limits. A key (with the space round it) or a number longer than HELD_CHARS_MAX is a FAIL; so are brackets
nested deeper than DEPTH_MAX.

Three liberties. Control characters in strings, and the numbers `NaN` and `Infinity`, are allowed, as in
`json.loads(strict=False)`. An escape that JSON does not know stands for itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from enum import IntEnum
from typing import ClassVar, NamedTuple

from actors.interface.surrogates import join_surrogates, replace_surrogates

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
    """One thing that happened at the top level of the object."""

    kind: Kind
    raw: str
    text: str | None = None
    lead: str = ""


class _State(IntEnum):
    START = 0  # nothing but space so far
    FIRST_KEY = 1  # behind an opening brace: a key or the closing brace
    NEXT_KEY = 2  # behind a comma in an object
    COLON = 3  # behind a key
    VALUE = 4  # behind a colon, or behind a comma in an array
    FIRST_ITEM = 5  # behind an opening bracket: a value or the closing bracket
    AFTER_VALUE = 6
    KEY_STRING = 7  # inside a key
    STRING = 8  # inside a string value
    SCALAR = 9  # inside a number or a word
    DONE = 10
    FAILED = 11


_SPACE = re.compile(r"[ \t\n\r]*")
_STRING_RUN = re.compile(r'(?:[^"\\]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+')
_HALF_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_SCALAR_RUN = re.compile(r"[-+.0-9A-Za-z]*")
_SCALAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null|NaN|-?Infinity")
_SCALAR_STARTS = "-0123456789tfnNI"
_HIGH_SURROGATES = ("\ud800", "\udbff")
_END = Event(Kind.END, "")
# A step or an action: takes the fragment and a place in it, returns the place to go on from.
_Step = Callable[["JsonReader", str, int], int]


class JsonReader:
    """Reads one JSON object in fragments: `feed` returns events, `rest` the text still held back."""

    __slots__ = (
        "_held",
        "_held_chars",
        "_high",
        "_is_wanted",
        "_key",
        "_lead",
        "_mark",
        "_out",
        "_scalar",
        "_stack",
        "_state",
        "_wanted",
        "is_in_string",
    )

    def __init__(self, wanted: tuple[str, ...] = ()) -> None:
        self._wanted = wanted
        self._state = _State.START
        self._stack: list[str] = []  # the brackets that must close, the innermost last
        self._out: list[Event] = []
        self._mark = 0  # where the part of the fragment begins that is in no event yet
        self._held = ""  # half an escape: goes in front of the next fragment
        self._held_chars = 0  # in the three lists below
        self._lead: list[str] = []  # space and comma in front of a key
        self._key: list[str] = []  # a key, its colon, and the space up to its value
        self._scalar: list[str] = []  # a number or a word, until it is whole
        self._is_wanted = False  # the current top-level value belongs to a key of `wanted`
        self._high = ""  # the first half of a surrogate pair whose second half may come
        # True: a top-level string is being read, and nothing is held. A fragment without a quote and a backslash is
        # then its text, raw and decoded, and changes no state: the caller may skip `feed`.
        self.is_in_string: bool = False

    @property
    def is_done(self) -> bool:
        """True: the object is complete."""
        return self._state is _State.DONE

    def rest(self) -> str:
        """Return (and forget) the raw text that was fed but is in no event yet."""
        parts = [*self._lead, *self._key]
        if len(self._stack) == 1:
            # Inside nested values a scalar is reported as it comes.
            parts += self._scalar
        parts.append(self._held)
        self._lead, self._key, self._scalar, self._held, self._held_chars = [], [], [], "", 0
        return "".join(parts)

    def feed(self, fragment: str) -> list[Event]:
        """Return the events of one more fragment."""
        if self._held:
            fragment, self._held = self._held + fragment, ""
        steps = self._STEPS
        at, end = 0, len(fragment)
        self._mark = 0
        while at < end:
            at = steps[self._state](self, fragment, at)
        end -= len(self._held)
        if self._mark < end:
            self._end_fragment(fragment[self._mark : end])
        if self._held_chars > HELD_CHARS_MAX:
            self._fail("")
        self.is_in_string = self._state is _State.STRING and len(self._stack) == 1 and not self._held and not self._high
        out, self._out = self._out, []
        return out

    # --- steps: a run of characters, or space and one action ----------------------------------------

    def _between_runs(self, fragment: str, at: int) -> int:
        actions = self._ACTIONS[self._state]
        action = actions.get(fragment[at])
        if action is None:
            at = _SPACE.match(fragment, at).end()  # type: ignore[union-attr]  # matches the empty string
            if at == len(fragment):
                return at
            action = actions.get(fragment[at])
            if action is None:
                return self._fail(fragment)
        return action(self, fragment, at)

    def _in_string(self, fragment: str, at: int) -> int:
        stop = _STRING_RUN.match(fragment, at).end()  # type: ignore[union-attr]  # matches the empty string
        if stop == len(fragment):
            return stop
        if fragment[stop] == '"':
            return self._end_string(fragment, stop + 1)
        if _HALF_ESCAPE.match(fragment, stop):
            self._held = fragment[stop:]
            return len(fragment)
        # An escape that JSON does not know. `_decode` sees the same; a quote or backslash is never skipped here.
        return stop + 2

    def _in_scalar(self, fragment: str, at: int) -> int:
        stop = _SCALAR_RUN.match(fragment, at).end()  # type: ignore[union-attr]  # matches the empty string
        self._hold(self._scalar, fragment[at:stop])
        is_top = len(self._stack) == 1
        if is_top:
            self._mark = stop
        if stop == len(fragment):
            return stop
        scalar = "".join(self._scalar)
        if not _SCALAR.fullmatch(scalar) or self._held_chars > HELD_CHARS_MAX:
            # The characters are allowed in a number or word; what they spell is neither.
            return self._fail(fragment)
        self._scalar, self._held_chars = [], 0
        self._state = _State.AFTER_VALUE
        if is_top:
            self._piece(scalar, "" if scalar == "null" else scalar)
            self._out.append(_END)
        return stop

    def _after(self, fragment: str, at: int) -> int:
        self._out.append(Event(Kind.AFTER if self.is_done else Kind.FAIL, fragment[at:]))
        self._mark = len(fragment)
        return self._mark

    # --- actions: the character at `at` -------------------------------------------------------------

    def _open(self, fragment: str, at: int) -> int:
        self._stack.append("}")
        self._state = _State.FIRST_KEY
        self._top_event(Kind.OPEN, fragment, at + 1)
        return at + 1

    def _begin_key(self, fragment: str, at: int) -> int:
        if len(self._stack) == 1:
            self._hold(self._lead, fragment[self._mark : at])
            self._mark = at
        self._state = _State.KEY_STRING
        return at + 1

    def _colon(self, _fragment: str, at: int) -> int:
        self._state = _State.VALUE
        return at + 1

    def _begin_string(self, fragment: str, at: int) -> int:
        if len(self._stack) == 1 and not self._report_key(fragment, at):
            return self._fail(fragment)
        self._state = _State.STRING
        return at + 1

    def _begin_scalar(self, fragment: str, at: int) -> int:
        if len(self._stack) == 1 and not self._report_key(fragment, at):
            return self._fail(fragment)
        self._state = _State.SCALAR
        return at

    def _begin_object(self, fragment: str, at: int) -> int:
        return self._begin_nested(fragment, at, "}", _State.FIRST_KEY)

    def _begin_array(self, fragment: str, at: int) -> int:
        return self._begin_nested(fragment, at, "]", _State.FIRST_ITEM)

    def _begin_nested(self, fragment: str, at: int, closing: str, state: _State) -> int:
        depth = len(self._stack)
        if depth == DEPTH_MAX or (depth == 1 and not self._report_key(fragment, at)):
            return self._fail(fragment)
        self._stack.append(closing)
        self._state = state
        return at + 1

    def _comma(self, _fragment: str, at: int) -> int:
        self._state = _State.NEXT_KEY if self._stack[-1] == "}" else _State.VALUE
        return at + 1

    def _close(self, fragment: str, at: int) -> int:
        if fragment[at] != self._stack[-1]:
            return self._fail(fragment)
        self._stack.pop()
        at += 1
        depth = len(self._stack)
        self._state = _State.AFTER_VALUE if depth else _State.DONE
        if depth == 0:
            self._top_event(Kind.CLOSE, fragment, at)
        elif depth == 1:
            raw = fragment[self._mark : at]
            self._piece(raw, raw)
            self._out.append(_END)
            self._mark = at
        return at

    # --- events -------------------------------------------------------------------------------------

    def _top_event(self, kind: Kind, fragment: str, at: int) -> None:
        """Report the object's own brace, with what was held in front of it."""
        self._out.append(Event(kind, "".join(self._lead) + fragment[self._mark : at]))
        self._lead, self._held_chars = [], 0
        self._mark = at

    def _report_key(self, fragment: str, at: int) -> bool:
        """Report the key whose value begins at `at`. False: it is longer than may be held."""
        self._hold(self._key, fragment[self._mark : at])
        self._mark = at
        if self._held_chars > HELD_CHARS_MAX:
            return False
        written = "".join(self._key)
        key = _decode(written[1 : written.rindex('"')])
        self._is_wanted = key in self._wanted
        self._out.append(Event(Kind.KEY, written, replace_surrogates(key), "".join(self._lead)))
        self._lead, self._key, self._held_chars = [], [], 0
        return True

    def _end_string(self, fragment: str, at: int) -> int:
        """Take a closing quote, which ends at `at`."""
        is_key = self._state is _State.KEY_STRING
        self._state = _State.COLON if is_key else _State.AFTER_VALUE
        if len(self._stack) > 1:
            return at
        raw, self._mark = fragment[self._mark : at], at
        if is_key:
            self._hold(self._key, raw)
        else:
            self._piece(raw, self._decoded(raw, is_last=True) if self._is_wanted else None)
            self._out.append(_END)
        return at

    def _end_fragment(self, raw: str) -> None:
        """Report, or hold, the part of a fragment since the last event."""
        state = self._state
        if len(self._stack) > 1:
            self._piece(raw, raw)
        elif state is _State.STRING:
            self._piece(raw, self._decoded(raw, is_last=False) if self._is_wanted else None)
        elif state in (_State.KEY_STRING, _State.COLON, _State.VALUE):
            self._hold(self._key, raw)
        else:
            self._hold(self._lead, raw)

    def _piece(self, raw: str, text: str | None) -> None:
        self._out.append(Event(Kind.PIECE, raw, text if self._is_wanted else None))

    def _decoded(self, raw: str, *, is_last: bool) -> str:
        """Decode a piece of a string. Half a surrogate pair at its end waits for the next piece."""
        # `raw` may hold the opening quote and the closing one; unescaped, neither can stand elsewhere.
        inner = raw[1:] if raw[0] == '"' else raw
        if is_last and inner:
            inner = inner[:-1]
        text = _decode(inner)
        if self._high:
            text, self._high = join_surrogates(self._high, text)
        if text and _HIGH_SURROGATES[0] <= text[-1] <= _HIGH_SURROGATES[1]:
            text, self._high = text[:-1], text[-1]
        if is_last and self._high:
            text, self._high = text + "\ufffd", ""
        return replace_surrogates(text)

    def _hold(self, where: list[str], raw: str) -> None:
        where.append(raw)
        self._held_chars += len(raw)

    def _fail(self, fragment: str) -> int:
        """Report all that is in no event yet as the rest, and return the end of the fragment."""
        self._out.append(Event(Kind.FAIL, self.rest() + fragment[self._mark :]))
        self._state = _State.FAILED
        self._mark = len(fragment)
        return self._mark

    # --- the table of the module's header ---------------------------------------------------------

    _KEYS: ClassVar[dict[str, _Step]] = {'"': _begin_key}
    _VALUES: ClassVar[dict[str, _Step]] = {
        '"': _begin_string,
        "{": _begin_object,
        "[": _begin_array,
        **dict.fromkeys(_SCALAR_STARTS, _begin_scalar),
    }
    # By state and character.
    _ACTIONS: ClassVar[tuple[dict[str, _Step], ...]] = (
        {"{": _open},  # START
        {**_KEYS, "}": _close},  # FIRST_KEY
        _KEYS,  # NEXT_KEY
        {":": _colon},  # COLON
        _VALUES,  # VALUE
        {**_VALUES, "]": _close},  # FIRST_ITEM
        {",": _comma, "}": _close, "]": _close},  # AFTER_VALUE
    )
    # By state.
    _STEPS: ClassVar[tuple[_Step, ...]] = (
        *(_between_runs,) * len(_ACTIONS),
        _in_string,  # KEY_STRING
        _in_string,  # STRING
        _in_scalar,  # SCALAR
        _after,  # DONE
        _after,  # FAILED
    )


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

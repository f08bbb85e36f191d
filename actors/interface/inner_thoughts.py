"""Takes the inner thoughts, and the assistant's message, out of a tool call's arguments.

Theory. The JSON text of the arguments goes in, in fragments. Parts come out, in order:

- THOUGHTS: a piece of the inner thoughts, decoded. THOUGHTS_END once they are over.
- MESSAGE: a piece of the assistant's message, decoded. MESSAGE_END once it is over.
- ARGUMENTS: a piece of the remaining arguments, as the model wrote them. All of these joined are valid
  JSON text without the extracted keys. A key is removed with the comma in front of it; if it is the
  first, with the comma behind it.
- AFTER: text behind the closing brace of the arguments, also if it is only space.
- BROKEN: text from where the arguments are not JSON any more.

An extracted value that is not a string comes as its JSON text; null as nothing.

Each event of `JsonReader` has its own method here. Adjacent texts of the arguments are kept, and come
out as one part, ahead of the next part of another kind or at the end of the fragment.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, ClassVar

from actors.interface.json_reader import Event, JsonReader
from actors.interface.json_text import as_shown_text


class Part(IntEnum):
    """What a piece of the arguments belongs to."""

    THOUGHTS = 0
    THOUGHTS_END = 1
    MESSAGE = 2
    MESSAGE_END = 3
    ARGUMENTS = 4
    AFTER = 5
    BROKEN = 6


Parts = list[tuple[Part, str]]


def message_parts(message: Any) -> Parts:
    """Return the parts of the assistant's message where its arguments were read as a whole."""
    text = as_shown_text(message)
    return [*([(Part.MESSAGE, text)] if text else []), (Part.MESSAGE_END, "")]


class ArgumentsReader:
    """Splits the arguments of one call into parts. A key that is None is not looked for."""

    __slots__ = (
        "_current",
        "_first_lead",
        "_has_kept",
        "_kept",
        "_message_key",
        "_opening",
        "_out",
        "_reader",
        "_thoughts_key",
    )

    def __init__(self, thoughts_key: str | None, message_key: str | None) -> None:
        self._thoughts_key = thoughts_key
        self._message_key = message_key
        self._reader = JsonReader(tuple(key for key in (thoughts_key, message_key) if key is not None))
        self._current = Part.ARGUMENTS  # what the value being read belongs to
        self._opening = ""  # the opening brace, until the first text of the arguments is kept
        self._first_lead: str | None = None
        self._has_kept = False
        self._out: Parts = []
        # The arguments' text since the last part of another kind; joined once, so that no text is copied twice.
        self._kept: list[str] = []

    @property
    def is_done(self) -> bool:
        """True: the arguments are complete."""
        return self._reader.is_done

    def part_of(self, fragment: str) -> Part | None:
        """Return the part that a fragment is a piece of, unchanged and as a whole; None: ask `feed`."""
        is_inside = self._reader.is_in_string and '"' not in fragment and "\\" not in fragment
        return self._current if is_inside else None

    def feed(self, fragment: str) -> Parts:
        """Return the parts in one more fragment."""
        for event in self._reader.feed(fragment):
            self._ON[event.kind](self, event)
        self._flush()
        out, self._out = self._out, []
        return out

    def rest(self) -> str:
        """Return (once) the remaining text of arguments that never closed, as far as it was not given out."""
        rest = self._reader.rest()
        if self._current is not Part.ARGUMENTS:
            return ""
        if not self._has_kept:
            rest = self._opening + rest.lstrip(", \t\r\n")
            self._has_kept = True
        return rest

    # --- events -------------------------------------------------------------------------------------

    def _open(self, event: Event) -> None:
        self._opening = event.raw

    def _key(self, event: Event) -> None:
        if self._first_lead is None:
            self._first_lead = event.lead
        if event.text == self._thoughts_key:
            self._current = Part.THOUGHTS
        elif event.text == self._message_key:
            self._current = Part.MESSAGE
        else:
            self._keep((event.lead if self._has_kept else self._first_lead) + event.raw)

    def _piece(self, event: Event) -> None:
        if self._current is Part.ARGUMENTS:
            self._kept.append(event.raw)
        elif event.text:
            self._put(self._current, event.text)

    def _end(self, _event: Event) -> None:
        if self._current is not Part.ARGUMENTS:
            self._put(Part.THOUGHTS_END if self._current is Part.THOUGHTS else Part.MESSAGE_END, "")
            self._current = Part.ARGUMENTS

    def _close(self, event: Event) -> None:
        self._keep(event.raw)

    def _after(self, event: Event) -> None:
        self._put(Part.AFTER, event.raw)

    def _fail(self, event: Event) -> None:
        self._put(Part.BROKEN, event.raw if self._has_kept else self._opening + event.raw)
        self._has_kept = True

    # By kind of event.
    _ON: ClassVar[tuple[Callable[[ArgumentsReader, Event], None], ...]] = (
        _open,  # OPEN
        _key,  # KEY
        _piece,  # PIECE
        _end,  # END
        _close,  # CLOSE
        _after,  # AFTER
        _fail,  # FAIL
    )

    # --- parts --------------------------------------------------------------------------------------

    def _keep(self, raw: str) -> None:
        if not self._has_kept:
            self._has_kept = True
            self._kept.append(self._opening)
        self._kept.append(raw)

    def _put(self, part: Part, text: str) -> None:
        self._flush()
        self._out.append((part, text))

    def _flush(self) -> None:
        kept = self._kept
        if kept:
            self._out.append((Part.ARGUMENTS, kept[0] if len(kept) == 1 else "".join(kept)))
            kept.clear()

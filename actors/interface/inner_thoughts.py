"""Takes the inner thoughts, and the assistant's message, out of a tool call's arguments.

In goes the JSON text of the arguments, in pieces; out come parts, in order:

- THOUGHTS: a piece of the inner thoughts, decoded. THOUGHTS_END once they are over.
- MESSAGE: a piece of the assistant's message, decoded. MESSAGE_END once it is over.
- ARGUMENTS: a piece of the remaining arguments, as the model wrote them. All of these joined are valid
  JSON text without the extracted keys: with a key goes the comma ahead of it, or, for the first, the
  comma behind it.
- AFTER: what stands behind the arguments' closing brace, if only space.
- BROKEN: from where the text is no JSON any more.

A value that is no string is extracted as its JSON text; null as nothing.
"""

from __future__ import annotations

from enum import IntEnum

from actors.interface.json_reader import JsonReader, Kind


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


class ArgumentsReader:
    """Splits the arguments of one call. A key that is None is not looked for."""

    __slots__ = (
        "_current",
        "_first_lead",
        "_has_kept",
        "_kept",
        "_message_key",
        "_opening",
        "_reader",
        "_thoughts_key",
    )

    def __init__(self, thoughts_key: str | None, message_key: str | None) -> None:
        self._thoughts_key = thoughts_key
        self._message_key = message_key
        self._reader = JsonReader(tuple(key for key in (thoughts_key, message_key) if key is not None))
        self._current = Part.ARGUMENTS
        self._opening = ""
        self._first_lead: str | None = None
        self._has_kept = False
        # The arguments' text since the last part of another kind; joined once, so that no text is copied twice.
        self._kept: list[str] = []

    @property
    def is_done(self) -> bool:
        """True: the arguments are complete."""
        return self._reader.is_done

    def part_of(self, fragment: str) -> Part | None:
        """Return the part that a fragment wholly belongs to, as it is; None: `feed` must tell."""
        return self._current if self._reader.is_inside_string(fragment) else None

    def feed(self, fragment: str) -> Parts:  # noqa: C901  # a table of events
        """Return the parts in one more fragment."""
        out: Parts = []
        kept = self._kept
        for kind, raw, text, lead in self._reader.feed(fragment):
            current = self._current
            if kind is Kind.PIECE:
                if current is Part.ARGUMENTS:
                    kept.append(raw)
                elif text:
                    self._put(current, text, out)
            elif kind is Kind.KEY:
                self._key(text, raw, lead)
            elif kind is Kind.END:
                if current is not Part.ARGUMENTS:
                    self._put(Part.THOUGHTS_END if current is Part.THOUGHTS else Part.MESSAGE_END, "", out)
                    self._current = Part.ARGUMENTS
            elif kind is Kind.OPEN:
                self._opening = raw
            elif kind is Kind.CLOSE:
                self._keep(raw)
            elif kind is Kind.AFTER:
                self._put(Part.AFTER, raw, out)
            else:
                self._put(Part.BROKEN, raw if self._has_kept else self._opening + raw, out)
                self._has_kept = True
        if kept:
            out.append((Part.ARGUMENTS, kept[0] if len(kept) == 1 else "".join(kept)))
            kept.clear()
        return out

    def rest(self) -> str:
        """Return (once) the text of arguments that never closed, so far as it was not passed on."""
        rest = self._reader.rest()
        if self._current is not Part.ARGUMENTS:
            return ""
        if not self._has_kept:
            rest = self._opening + rest.lstrip(", \t\r\n")
            self._has_kept = True
        return rest

    def _key(self, key: str | None, raw: str, lead: str) -> None:
        if self._first_lead is None:
            self._first_lead = lead
        if key == self._thoughts_key:
            self._current = Part.THOUGHTS
        elif key == self._message_key:
            self._current = Part.MESSAGE
        else:
            self._keep((lead if self._has_kept else self._first_lead) + raw)

    def _keep(self, raw: str) -> None:
        if not self._has_kept:
            self._has_kept = True
            self._kept.append(self._opening)
        self._kept.append(raw)

    def _put(self, part: Part, text: str, out: Parts) -> None:
        kept = self._kept
        if kept:
            out.append((Part.ARGUMENTS, "".join(kept)))
            kept.clear()
        out.append((part, text))

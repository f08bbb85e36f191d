"""Plain content that may be a tool call written as JSON (`expect_reasoning_content`).

Theory. Models that reason natively but know no tool calls write `{"name": …, "arguments": …}` as content.
Content is held only as long as it may still be such a call:

    UNDECIDED --(first character that is not space: "{")--> JSON, any other --> TEXT
    JSON --(the object closes, and is a call)--> UNDECIDED again; is none --> TEXT
    UNDECIDED, JSON --(over the limit of characters, or of calls)--> TEXT
    TEXT --(an object whose first key is "name", also in a code fence)--> JSON; all else passes as text

A fence round a call goes with it. In TEXT only what may yet be the beginning of such an object is held.

Text that a strict JSON reader cannot read is held to the end of the response; then a lenient reader tries.
Space in front of text passes with it. Space round a call is dropped.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from actors.interface.json_reader import JsonReader, Kind
from actors.interface.json_text import read_leniently, to_json
from actors.interface.surrogates import replace_surrogates

# Each further call of one piece of content costs another walk over the rest of the piece.
_CALLS_MAX = 128
_FENCE = "```"
# In prose, an object that may be a call: its fence, if any, and its first key.
_BEGINNING = re.compile(r'(```[a-zA-Z]*\s*)?\{\s*"name"\s*:')
# The end of a piece that may yet become one.
_PERHAPS = re.compile(r'(?:`{1,3}|```[a-zA-Z]*\s*|(?:```[a-zA-Z]*\s*)?\{\s*(?:"(?:n(?:a(?:m(?:e(?:"\s*)?)?)?)?)?)?)\Z')
_PERHAPS_CHARS_MAX = 200


class WrittenCall(NamedTuple):
    """A tool call that was written as content; `arguments` is JSON text."""

    name: str
    arguments: str


Decided = list[str | WrittenCall]


class JsonContent:
    """Tells tool calls written as content from text. `feed` and `end` return what has been decided."""

    __slots__ = (
        "_call_count",
        "_chars",
        "_chars_max",
        "_held",
        "_in_fence",
        "_is_text",
        "_lead",
        "_perhaps",
        "_reader",
    )

    def __init__(self, chars_max: int) -> None:
        self._chars_max = chars_max
        self._chars = 0  # in `_held`
        self._held: list[str] = []
        self._reader: JsonReader | None = None  # in the state JSON
        self._is_text = False
        self._in_fence = False  # the call stood in a code fence, whose end is still to come
        self._lead: str | None = None  # in prose: the fence ahead of the object; None: there was no prose
        self._perhaps = ""  # what may yet be the beginning of a call, or the end of its fence
        self._call_count = 0

    def feed(self, text: str) -> Decided:
        """Return the texts and calls that one more piece of content decides."""
        out: Decided = []
        while text:
            if self._is_text:
                text = self._text(text, out)
                continue
            text = self._undecided(text, out) if self._reader is None else self._json(text, self._reader, out)
        return out

    def end(self) -> Decided:
        """Return what was held; more content may follow."""
        out: Decided = []
        if self._reader is not None or not self._call_count:
            self._decide(out)
        if self._perhaps and self._is_text:
            out.append(self._perhaps)
        self._held, self._perhaps = [], ""
        return out

    # --- states: take a piece of content, return what is left of it for the next state ---------------

    def _text(self, text: str, out: Decided) -> str:
        if self._call_count == _CALLS_MAX:
            out.append(self._perhaps + text)
            self._perhaps = ""
            return ""
        text, self._perhaps = self._perhaps + text, ""
        found = _BEGINNING.search(text)
        if found is None:
            perhaps = _PERHAPS.search(text, max(0, len(text) - _PERHAPS_CHARS_MAX))
            if perhaps is not None:
                text, self._perhaps = text[: perhaps.start()], text[perhaps.start() :]
            if text:
                out.append(text)
            return ""
        if found.start():
            out.append(text[: found.start()])
        self._lead = found[1] or ""
        self._is_text, self._reader = False, JsonReader()
        return text[found.start() + len(self._lead) :]

    def _undecided(self, text: str, out: Decided) -> str:
        if self._in_fence:
            text, self._perhaps = self._perhaps + text, ""
            after = text.lstrip()
            if _FENCE.startswith(after):
                self._perhaps = after if after != _FENCE else ""
                self._in_fence = after != _FENCE
                return ""
            self._in_fence = False
            text = after.removeprefix(_FENCE)
            if not text:
                return ""
        stripped = text.lstrip()
        if stripped and (stripped[0] != "{" or self._call_count == _CALLS_MAX):
            # The space ahead, and what came of it before, is text too.
            self._is_text = True
            text, self._held = "".join([*self._held, text]), []
            return text
        self._hold(text[: len(text) - len(stripped)], out)
        if stripped and not self._is_text:
            self._reader = JsonReader()
        return stripped

    def _json(self, text: str, reader: JsonReader, out: Decided) -> str:
        events = reader.feed(text)
        after = events[-1].raw if events and events[-1].kind is Kind.AFTER else ""
        self._hold(text[: len(text) - len(after)], out)
        if reader.is_done:
            self._decide(out)
        return after

    # --- decisions ----------------------------------------------------------------------------------

    def _hold(self, text: str, out: Decided) -> None:
        self._held.append(text)
        self._chars += len(text)
        if self._chars > self._chars_max:
            self._become_text("", out)

    def _decide(self, out: Decided) -> None:
        text = "".join(self._held)
        call = _as_call(text, needs_arguments=self._lead is not None)
        self._held, self._reader, self._chars = [], None, 0
        lead, self._lead = self._lead or "", None
        if call is None:
            text = lead + text
        if call is not None:
            self._call_count += 1
            self._in_fence = bool(lead)
            out.append(call)
        elif text:
            self._become_text(text, out)

    def _become_text(self, text: str, out: Decided) -> None:
        self._is_text = True
        text = "".join([self._lead or "", *self._held, text])
        self._held, self._reader, self._lead = [], None, None
        if text:
            out.append(text)


def _as_call(text: str, *, needs_arguments: bool) -> WrittenCall | None:
    """Read a call from the text of an object: a name, and arguments that are an object, JSON text or missing.

    In prose they must not be missing: an object with a name is too often something else.
    """
    if "{" not in text:
        return None
    value = read_leniently(text)
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(name, str) or not name:
        return None
    arguments = value.get("arguments")
    if arguments is None and needs_arguments:
        return None
    if isinstance(arguments, str):
        return WrittenCall(replace_surrogates(name), replace_surrogates(arguments))
    text_of_arguments = "{}" if arguments is None else to_json(arguments)
    return None if text_of_arguments is None else WrittenCall(replace_surrogates(name), text_of_arguments)

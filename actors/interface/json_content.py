"""Plain content where a tool call written as JSON is expected (`expect_reasoning_content`).

Models that reason natively but know no tool calls write `{"name": …, "arguments": …}` as content. The
reader holds content back only as long as it may still be such a call:

    UNDECIDED --(first character that is not space: "{")--> JSON, else --> TEXT
    JSON --(the object closes, and is a call)--> UNDECIDED again; is none --> TEXT
    UNDECIDED, JSON --(over a limit of characters, or of calls)--> TEXT
    TEXT: everything goes on as text, to the end of the response

What a strict JSON reader cannot read is held to the end of the response, where a lenient one tries.
Space ahead of text goes on with it; space around a call is dropped.
"""

from __future__ import annotations

from typing import NamedTuple

from actors.interface.json_reader import JsonReader, Kind, read_leniently, replace_surrogates, to_json

# Each further call of one piece of content costs another walk over the rest of the piece.
_CALLS_MAX = 128


class WrittenCall(NamedTuple):
    """A tool call that was written as content; `arguments` is JSON text."""

    name: str
    arguments: str


class JsonContent:
    """Tells tool calls written as content from text. `feed` and `end` give what has been decided."""

    __slots__ = ("_call_count", "_chars", "_chars_max", "_held", "_is_text", "_reader")

    def __init__(self, chars_max: int) -> None:
        self._chars_max = chars_max
        self._chars = 0
        self._held: list[str] = []
        self._reader: JsonReader | None = None
        self._is_text = False
        self._call_count = 0

    def feed(self, text: str) -> list[str | WrittenCall]:
        """Return the texts and calls that one more piece of content decides."""
        out: list[str | WrittenCall] = []
        while text:
            if self._is_text:
                out.append(text)
                break
            if self._reader is None:
                stripped = text.lstrip()
                if stripped and (stripped[0] != "{" or self._call_count == _CALLS_MAX):
                    self._become_text(text, out)
                    break
                self._hold(text[: len(text) - len(stripped)], out)
                if not stripped or self._is_text:
                    text = stripped
                    continue
                text = stripped
                self._reader = JsonReader()
            events = self._reader.feed(text)
            after = events[-1].raw if events and events[-1].kind is Kind.AFTER else ""
            is_done = self._reader.is_done
            self._hold(text[: len(text) - len(after)], out)
            if is_done:
                self._decide(out)
            text = after
        return out

    def end(self) -> list[str | WrittenCall]:
        """Return what was held back; content may go on afterwards."""
        out: list[str | WrittenCall] = []
        if self._reader is not None or not self._call_count:
            self._decide(out)
        self._held = []
        return out

    def _hold(self, text: str, out: list[str | WrittenCall]) -> None:
        self._held.append(text)
        self._chars += len(text)
        if self._chars > self._chars_max:
            self._become_text("", out)

    def _decide(self, out: list[str | WrittenCall]) -> None:
        text = "".join(self._held)
        call = _as_call(text)
        self._held, self._reader, self._chars = [], None, 0
        if call is not None:
            self._call_count += 1
            out.append(call)
        elif text:
            self._become_text(text, out)

    def _become_text(self, text: str, out: list[str | WrittenCall]) -> None:
        self._is_text = True
        text = "".join([*self._held, text])
        self._held, self._reader = [], None
        if text:
            out.append(text)


def _as_call(text: str) -> WrittenCall | None:
    """Read a call from the text of an object: a name, and arguments that are an object, JSON text or missing."""
    if "{" not in text:
        return None
    value = read_leniently(text)
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(name, str) or not name:
        return None
    arguments = value.get("arguments")
    if isinstance(arguments, str):
        return WrittenCall(replace_surrogates(name), replace_surrogates(arguments))
    text_of_arguments = "{}" if arguments is None else to_json(arguments)
    return None if text_of_arguments is None else WrittenCall(replace_surrogates(name), text_of_arguments)

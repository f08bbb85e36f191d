"""A request's messages as parts that begin, grow and end: what formats that tell of parts are made of. Pure.

Theory. What an agent says or thinks is a part that is open until something else is said. Calls of tools are parts that
are open side by side, each until its arguments are complete, since what comes next may be its return, a long time
later. A new step, a return and the end close whatever is open. Of several choices the first one counts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from actors.joining import parsed
from actors.openai_format import text_of
from actors.stop_reasons import StopReason
from gateway.formats.form import Fields

TEXT, REASONING, CALL = "text", "reasoning", "call"


class Part:
    """What an agent says or thinks, or a call of a tool. `step`: the ID of the message that it belongs to.

    Of a call its arguments are kept; what is said comes by and is not.
    """

    __slots__ = ("arguments", "call_id", "kind", "name", "provider_executed", "step")

    def __init__(self, kind: str, step: str) -> None:
        self.kind: str = kind
        self.step: str = step
        self.arguments: list[str] = []
        self.call_id: str = ""
        self.name: str = ""
        self.provider_executed: bool = False

    @property
    def text(self) -> str:
        """A call's arguments until now."""
        return "".join(self.arguments)


class Stepped(NamedTuple):
    """Another step begins."""

    step: str


class Begun(NamedTuple):
    """A part begins. What it says comes with `Grown`."""

    part: Part


class Grown(NamedTuple):
    """A part has grown by a text."""

    part: Part
    text: str


class Over(NamedTuple):
    """A part is complete."""

    part: Part


class Returned(NamedTuple):
    """A tool has returned."""

    message: Fields


class Ended(NamedTuple):
    """The request has ended. `why`: for a person, where it failed."""

    reason: str
    why: str
    usage: Fields


Happening = Stepped | Begun | Grown | Over | Returned | Ended


class Parts:
    """Tells what happens in one request. A part that was told of is not told again from its beginning."""

    __slots__ = ("_calls", "_error", "_open", "_open_key", "_over", "_step", "_stop")

    def __init__(self) -> None:
        self._step: str | None = None
        self._open: Part | None = None
        self._open_key: Any = None
        self._calls: dict[Any, Part] = {}  # those that are open
        self._over: set[Any] = set()
        self._error: str | None = None
        self._stop: Fields | None = None

    def feed(self, message: Fields) -> list[Happening]:
        """Take the next message; return what happens."""
        told: list[Happening] = []
        if message.get("choice_index"):
            return told
        match message["message_type"]:
            case "assistant_message":
                told = self._stepped(message) + self._text(TEXT, message, text_of(message["content"]))
            case "reasoning_message":
                told = self._stepped(message) + self._text(REASONING, message, message["reasoning"])
            case "tool_call_message":
                told = self._stepped(message) + self._call(message)
            case "tool_return_message":
                told = [*self._close(), Returned(message)]
            case "error_message":
                self._error = self._error or message["message"]
            case "stop_reason":
                self._stop = message
                told = self._close()
            case "usage_statistics":
                told = [self._ended(message)]
        return told

    def _stepped(self, message: Fields) -> list[Happening]:
        before, self._step = self._step, message["id"]
        if before in {None, message["id"]}:
            return []
        return [*self._close(), Stepped(message["id"])]

    def _text(self, kind: str, message: Fields, text: str) -> list[Happening]:
        if not text:
            return []
        key = (kind, message["id"], message.get("otid"))
        told: list[Happening] = []
        if self._open is None or self._open_key != key:
            told = self._close()
            self._open, self._open_key = Part(kind, message["id"]), key
            told.append(Begun(self._open))
        return [*told, Grown(self._open, text)]

    def _call(self, message: Fields) -> list[Happening]:
        call = message["tool_call"]
        key = (message["id"], message.get("otid"), call.get("tool_call_id"))
        told: list[Happening] = []
        part = self._calls.get(key)
        if part is None:
            if key in self._over or not call.get("name"):
                return []  # retention has dropped how it began
            told = self._close_text()
            part = self._calls[key] = Part(CALL, message["id"])
            part.call_id, part.name = call.get("tool_call_id") or "", call["name"]
            part.provider_executed = bool(message.get("provider_executed"))
            told.append(Begun(part))
        if text := call.get("arguments"):
            part.arguments.append(text)
            told.append(Grown(part, text))
            # To look costs as much as the arguments are long, so the last character is asked first.
            if text.rstrip().endswith("}") and parsed(part.text)[0]:
                del self._calls[key]
                self._over.add(key)
                told.append(Over(part))
        return told

    def _close_text(self) -> list[Happening]:
        part, self._open = self._open, None
        return [] if part is None else [Over(part)]

    def _close(self) -> list[Happening]:
        told = self._close_text()
        told += [Over(part) for part in self._calls.values()]
        self._over |= self._calls.keys()
        self._calls = {}
        return told

    def _ended(self, usage: Fields) -> Ended:
        stop = self._stop or {}
        reason = stop.get("stop_reason", StopReason.LOST)
        return Ended(reason, self._error or stop.get("detail") or f"The run ended as {reason!r}.", usage)

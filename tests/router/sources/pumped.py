"""Pumps a source into a translator instead of a request: what readers would see, without Ray."""

from __future__ import annotations

from typing import Any

from actors.records import check_record
from actors.settings import StreamSettings
from actors.translator import Translator
from router.client.publishing.encoding import to_bytes, to_mapping
from router.client.publishing.pumping import opened
from router.sources.frameworks import BeginStep, Ended, SendChunk, SendMessage, translation_of
from tests.assemble import Message, messages_of, without_terminal


class Pumped:
    """What came of a source: `messages` with the terminal, the framework's `result`."""

    def __init__(self, messages: list[Message], described: dict[str, Any], result: Any) -> None:
        self.messages = messages
        self.described = described
        self.result = result

    @property
    def content(self) -> list[Message]:
        return without_terminal(self.messages)

    @property
    def kinds(self) -> list[str]:
        return [message["message_type"].removesuffix("_message") for message in self.content]

    def of(self, kind: str) -> list[Message]:
        return [message for message in self.messages if message["message_type"] == kind]

    @property
    def text(self) -> str:
        return "".join(message["content"] for message in self.of("assistant_message"))

    @property
    def reasoning(self) -> str:
        return "".join(message["reasoning"] for message in self.of("reasoning_message"))

    @property
    def stop(self) -> Message:
        (stop,) = self.of("stop_reason")
        return stop

    @property
    def usage(self) -> Message:
        (usage,) = self.of("usage_statistics")
        return usage


class Recorder:
    """Carries out instructions as a publisher does, into a translator."""

    def __init__(self, **settings: Any) -> None:
        self.translator = Translator(StreamSettings.load({"dialect": "chat", **settings}), run_id="run")
        self.pieces: list[Any] = []
        self.tools: list[bool] = []
        self.stop_reason: str | None = None

    def carry_out(self, instruction: Any) -> None:
        self.stop_reason = None
        match instruction:
            case SendChunk(chunk):
                self.pieces += self.translator.chunk(to_bytes(chunk))
            case SendMessage(body):
                self.pieces += self.translator.record("message", check_record("message", to_mapping(body, "")))
            case BeginStep(name):
                self.pieces += self.translator.record("step_start", check_record("step_start", {"name": name}))
            case Ended(stop_reason):
                self.stop_reason = stop_reason
            case _:
                self.tools.append(instruction.is_running)

    def end(self, result: Any = None) -> Pumped:
        described = self.translator.describe()
        self.pieces += self.translator.end(self.stop_reason)
        return Pumped(messages_of(self.pieces), described, result)


async def pumped(source: Any, **settings: Any) -> Pumped:
    """Return what readers of a request would see of a source. Raises whatever the source raises."""
    recorder = Recorder(**settings)
    translation = None
    async with opened(source) as events:
        async for event in events:
            translation = translation or translation_of(event)
            for instruction in translation.feed(event):
                recorder.carry_out(instruction)
    if translation is not None:
        for instruction in translation.close():
            recorder.carry_out(instruction)
    return recorder.end(None if translation is None else translation.result)


def expected(payloads: list[bytes], **settings: Any) -> Pumped:
    """Return what readers see where the provider's own events are published."""
    recorder = Recorder(**settings)
    for payload in payloads:
        recorder.carry_out(SendChunk(payload))
    return recorder.end()

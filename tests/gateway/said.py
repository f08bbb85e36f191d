"""What recorded requests say, and how it comes in batches. Shared by tests; has no tests of its own."""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from actors.errors import StreamRouterError
from actors.messages import as_dict
from actors.recording_format import read_recording
from actors.settings import StreamSettings
from actors.translator import Translator
from gateway.formats.agui import AguiForm
from gateway.formats.chat import ChatForm
from gateway.formats.form import Form, Frame
from gateway.formats.langgraph import MODES, LangGraphForm
from gateway.formats.letta import LettaForm
from gateway.formats.native import NativeForm
from gateway.formats.responses import ResponsesForm
from gateway.formats.ui import UiForm
from router import Batch
from tests.assemble import TRACES

RECORDED = sorted((TRACES / "recorded").glob("*.sse"))
RUN = "run-1"
Message = dict[str, Any]

FORMS: dict[str, Any] = {
    "native": lambda: NativeForm(RUN),
    "letta": lambda: LettaForm(RUN),
    "letta-whole": lambda: LettaForm(RUN, whole=True),
    "chat": lambda: ChatForm("agent", with_usage=True),
    "responses": lambda: ResponsesForm(RUN, "agent"),
    "ui": lambda: UiForm(RUN),
    "agui": lambda: AguiForm("thread-1", RUN),
    "langgraph": lambda: LangGraphForm(RUN, "thread-1", frozenset(MODES)),
    "langgraph-pieces": lambda: LangGraphForm(RUN, "thread-1", frozenset({"messages-tuple"})),
}


def translated(chunks: Sequence[bytes], **settings: Any) -> list[Message]:
    """Return the messages of some chunks, each piece by itself, as a reader has them."""
    translator = Translator(StreamSettings.load({"dialect": "chat", **settings}), run_id=RUN)
    pieces = [piece for chunk in chunks for piece in translator.chunk(chunk)]
    pieces += translator.end()
    return [as_dict(piece.head.fields, piece.text, piece.extra, seq_id) for seq_id, piece in enumerate(pieces, 1)]


@functools.cache
def messages_of(file: Path) -> list[Message]:
    """Return the messages of a recording."""
    return translated(read_recording(file.read_bytes()))


def chat_chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    """Return a chunk as OpenAI's chat has it."""
    return json.dumps({"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}).encode()


def frames_of_all(form: Form, messages: Sequence[Message]) -> list[Frame]:
    """Return all frames of a request that has ended."""
    return [*(frame for message in messages for frame in form.feed(message)), *form.end()]


def batch_of(messages: Sequence[Message], *, end: bool = False) -> Batch[Message]:
    """Return messages as a subscription gives them."""
    return Batch(list(messages), messages[-1]["seq_id"] if messages else 0, end=end)


class Pushed(AsyncIterator[Batch[Message]]):
    """Batches as a subscription has them: iterated over, or told to whoever listens."""

    def __init__(self, batches: AsyncIterator[Batch[Message]]) -> None:
        self._batches = batches
        self._telling: asyncio.Task[None] | None = None

    async def __anext__(self) -> Batch[Message]:
        return await anext(self._batches)

    def listen(self, hear: Callable[[Batch[Message]], None], ended: Callable[[StreamRouterError | None], None]) -> None:
        async def tell() -> None:
            try:
                async for batch in self._batches:
                    hear(batch)
            except StreamRouterError as error:
                ended(error)
            else:
                ended(None)

        self._telling = asyncio.ensure_future(tell())

    def close(self) -> None:
        if self._telling is not None:
            self._telling.cancel()


async def batches_of(messages: Sequence[Message], *cuts: int) -> AsyncIterator[Batch[Message]]:
    """Give messages in batches that end at some places, to their end."""
    edges = [0, *sorted({*cuts} - {0, len(messages)}), len(messages)]
    for first, last in itertools.pairwise(edges):
        yield batch_of(messages[first:last], end=last == len(messages))

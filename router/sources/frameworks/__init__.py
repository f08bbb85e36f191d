"""What the stream objects of SDKs and agent frameworks say, put into what a publisher sends. Pure.

One module a framework. None is imported here: an event is known by the module that its class comes from, or by
its shape (`recognise.py`). A translation takes events, one at a time, and gives instructions (`instructions.py`):
send this chunk, send this message, begin a step. Whoever carries them out (`router/client/publishing/pumping.py`)
waits for credit, closes the source, and hands its errors on.

What a framework streams piece by piece becomes chunks of OpenAI chat (`chat_chunks.py`), which the stream actor
reads as it reads any provider's; what a framework gives whole (the return of a tool) becomes whole messages.
"""

from router.sources.frameworks.instructions import (
    BeginStep,
    Ended,
    Instruction,
    SendChunk,
    SendMessage,
    SetToolRunning,
    Translation,
)
from router.sources.frameworks.recognise import translation_of

__all__ = [
    "BeginStep",
    "Ended",
    "Instruction",
    "SendChunk",
    "SendMessage",
    "SetToolRunning",
    "Translation",
    "translation_of",
]

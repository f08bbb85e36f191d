"""The chunks that every contender carries: chat-completion events of 350 bytes, as a provider sends them."""

from __future__ import annotations

import json
from collections.abc import Sequence

CHUNK_BYTES = 350

_WORDS = (
    "The", " answer", " is", " that", " a", " stream", " of", " tokens", " has", " to", " be", " carried", ",", " in",
    " order", " and", " without", " loss", ",", " from", " the", " one", " who", " makes", " it", " to", " all", " who",
    " read", " it", ".", "\n\n",
)  # fmt: skip

_FRONT = (
    '{"id":"chatcmpl-BmLq9V3kXw0rTn5cYdE2sUoHpG7fA","object":"chat.completion.chunk","created":1751362800,'
    '"model":"gpt-4.1-mini-2025-04-14","service_tier":"default","system_fingerprint":"fp_6f2eabb9a5",'
    '"choices":[{"index":0,"delta":'
)


def _event(delta: str, finish_reason: str = "null") -> bytes:
    back = f',"logprobs":null,"finish_reason":{finish_reason}}}],"usage":null,"obfuscation":"'
    # A provider pads its chunks too, so that their length does not tell the token.
    padding = "x" * (CHUNK_BYTES - len((_FRONT + delta + back).encode()) - 2)
    return (_FRONT + delta + back + padding + '"}').encode()


WORDS: Sequence[bytes] = [_event(json.dumps({"content": word})) for word in _WORDS]
"""Distinct chunks to take in turn; nothing in the product caches by content."""

FINISH = _event("{}", '"stop"')

_STAMP_FRONT, _STAMP_BACK = _event(f'{{"content":"@{0:019d}"}}').split(b"0" * 19)


def stamped(at_ns: int) -> bytes:
    """Return a chunk whose text is a time of the monotonic clock, which all processes of a machine share."""
    return _STAMP_FRONT + b"%019d" % at_ns + _STAMP_BACK


def stamp_of(text: str) -> int | None:
    """Return the time that a message's text bears; None where it is an ordinary one."""
    return int(text[1:]) if text[:1] == "@" else None


def stream_of(count: int) -> list[bytes]:
    """Return the `count` content chunks of one stream."""
    words = WORDS
    return [words[i % len(words)] for i in range(count)]


def text_of(count: int) -> str:
    """Return the text that the messages of `stream_of(count)` make together."""
    return "".join(_WORDS[i % len(_WORDS)] for i in range(count))

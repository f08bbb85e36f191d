"""The chunks that every contender carries: chat-completion events of 350 bytes, as a provider sends them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache

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


def stamps_of(texts: Iterable[str]) -> list[int]:
    """Return the times that messages' texts bear, those that are no ordinary ones."""
    return [int(text[1:]) for text in texts if text[:1] == "@"]


BARE_FRONT, BARE_BACK = b'{"choices":[{"delta":{"content":"', b'"}}]}'
"""Round a text, all that a chunk must have."""


@cache
def sized(chunk_bytes: int) -> tuple[Sequence[bytes], Sequence[str]]:
    """Return distinct chunks of a size, and their texts.

    Of the usual size they are `WORDS`. In others the text is as long as there is room: a smaller one has nothing else.
    Raises ValueError for a size in which no text has room.
    """
    if chunk_bytes == CHUNK_BYTES:
        return WORDS, _WORDS
    front, back = (BARE_FRONT, BARE_BACK) if chunk_bytes < CHUNK_BYTES else WORDS[0].split(b"The", 1)
    room = chunk_bytes - len(front) - len(back)
    if room < 1:
        raise ValueError(f"a chunk of {chunk_bytes} bytes has no room for a text: {len(front) + len(back)} are needed")
    texts = [(word.strip() * (room // len(word.strip()) + 1))[:room] for word in _WORDS if word.strip()]
    return [front + text.encode() + back for text in texts], texts


def stream_of(count: int, chunk_bytes: int = CHUNK_BYTES) -> list[bytes]:
    """Return the `count` content chunks of one stream."""
    words, _ = sized(chunk_bytes)
    return [words[i % len(words)] for i in range(count)]


def text_of(count: int, chunk_bytes: int = CHUNK_BYTES) -> str:
    """Return the text that the messages of `stream_of(count)` make together."""
    _, texts = sized(chunk_bytes)
    return "".join(texts[i % len(texts)] for i in range(count))

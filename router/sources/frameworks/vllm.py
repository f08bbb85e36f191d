"""Outputs of vLLM's `AsyncLLM.generate(...)`, by their shape.

Each output has, for every choice that has gone on, its text and token ids: all so far (`RequestOutputKind.CUMULATIVE`,
vLLM's default), or what is new (`DELTA`); a `FINAL_ONLY` one has everything. Which of them it is, no output says. The
number of all tokens so far does (`metrics`, where the engine keeps statistics); without it, an output that begins with
all the tokens of the one before and goes on is cumulative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from router.sources.frameworks import chat_chunks as chat
from router.sources.frameworks.instructions import Instruction, SendChunk

_SHAPE = ("finished", "outputs", "prompt_token_ids", "request_id")


class _Choice:
    """What one choice has said."""

    __slots__ = ("text", "token_count", "tokens")

    def __init__(self) -> None:
        self.text = ""
        self.tokens: Sequence[int] = ()  # of the last output
        self.token_count = 0


class VllmOutputs:
    """Turns the outputs of one request into instructions."""

    provider: str | None = "openai-chat"
    result: Any = None

    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}
        self._is_cumulative: bool | None = None

    def feed(self, event: Any) -> list[Instruction]:
        """Return what one output adds."""
        out: list[Instruction] = []
        for output in event.outputs:
            out += self._output(output, event)
        if event.finished:
            prompt = event.prompt_token_ids
            completion = sum(choice.token_count for choice in self._choices.values())
            cached = getattr(event, "num_cached_tokens", None)
            out.append(chat.usage(prompt=None if prompt is None else len(prompt), completion=completion, cached=cached))
            out.append(chat.done())
        return out

    def close(self) -> list[Instruction]:
        """Return nothing: nothing is held back."""
        return []

    def _output(self, output: Any, event: Any) -> list[Instruction]:
        choice = self._choices.setdefault(output.index, _Choice())
        tokens, text = output.token_ids, output.text
        if self._is_whole(choice, output, event):
            piece = text[len(choice.text) :]
            choice.text, choice.token_count = text, len(tokens)
        else:
            piece = text
            choice.token_count += len(tokens)
        choice.tokens = tuple(tokens)
        delta = {"content": piece} if piece else {}
        reason = output.finish_reason
        if not delta and reason is None:
            return []
        body: dict[str, Any] = {"index": output.index, "delta": delta, "finish_reason": reason}
        if isinstance(output.stop_reason, str):
            body["stop_reason"] = output.stop_reason
        return [SendChunk({"choices": [body]})]

    def _is_whole(self, choice: _Choice, output: Any, event: Any) -> bool:
        """Tell whether an output has all the text so far, and not only what is new."""
        if choice.token_count == 0:
            choice.text = ""
            return True  # the first: the same in both
        if self._is_cumulative is None:
            told, tokens = choice.tokens, output.token_ids
            total = getattr(getattr(event, "metrics", None), "num_generation_tokens", None)
            if total and len(self._choices) == 1:
                self._is_cumulative = len(tokens) == total
            elif tokens:
                goes_on = len(tokens) > len(told) and tuple(tokens[: len(told)]) == tuple(told)
                self._is_cumulative = goes_on and output.text.startswith(choice.text)
            elif not output.text:
                return False  # an end without a token: nothing new in both
        return bool(self._is_cumulative)


def is_output(event: Any) -> bool:
    """Tell whether an event has the shape of vLLM's `RequestOutput`."""
    return all(hasattr(event, name) for name in _SHAPE) and isinstance(event.outputs, list)

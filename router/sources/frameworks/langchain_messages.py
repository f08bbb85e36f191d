"""LangChain's messages and their chunks, whatever provider is behind them.

Content is text or a list of blocks. Blocks bear the type of LangChain's own standard or of the provider; those that
repeat what stands in the message's own fields (`tool_use`, `function_call`) are passed over. Tools that the provider
runs itself come as blocks only, their arguments perhaps in pieces (`input_json_delta`).

Token counts of chunks are meant to be added up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from router.sources.frameworks import chat_chunks as chat
from router.sources.frameworks.instructions import Instruction, as_text

_FINISH_KEYS = ("finish_reason", "stop_reason", "done_reason", "finishReason")
_MODEL_KEYS = ("model_name", "model")
_OWN_CALLS = frozenset({"server_tool_use", "server_tool_call", "server_tool_call_chunk", "mcp_tool_use"})
_ARGUMENTS = ("partial_json", "args", "input")


class Response:
    """What one response of a model has said so far; turns its messages into instructions."""

    def __init__(self) -> None:
        self.finish: str | None = None
        self.model: str | None = None
        self.call_ids: set[str] = set()
        """Of the calls that somebody has to run."""
        self._numbers: dict[Any, int] = {}  # index of a call, or its id, to its number
        self._last_number = 0
        self._own_calls: dict[Any, dict[str, Any]] = {}  # by index of their block
        self._counts: dict[str, int] = {}

    def feed(self, message: Any) -> list[Instruction]:
        """Return what a message or a chunk of one has to say."""
        out = self._asides(message)
        content = message.content
        for block in [content] if isinstance(content, str) else content or ():
            out += [chat.text(block)] if isinstance(block, str) and block else self._block(block)
        pieces = getattr(message, "tool_call_chunks", None)
        if pieces:
            out += [self._piece(piece) for piece in pieces]
        else:
            calls = [*getattr(message, "tool_calls", ()), *getattr(message, "invalid_tool_calls", ())]
            out += [self._whole_call(call) for call in calls]
        self._note(message)
        return out

    def end(self) -> list[Instruction]:
        """Return what comes at the end of a response: what was held back, the counts, why it ended."""
        out = [instruction for index in list(self._own_calls) for instruction in self._own_call(index)]
        if self.model is not None:
            out.append(chat.model(self.model))
        if self._counts:
            counts = self._counts
            out.append(
                chat.usage(
                    prompt=counts.get("input_tokens"),
                    completion=counts.get("output_tokens"),
                    total=counts.get("total_tokens"),
                    cached=counts.get("cache_read"),
                    reasoning=counts.get("reasoning"),
                )
            )
        if self.finish is not None:
            out.append(chat.finish(self.finish))
        return [*out, chat.done()]

    # --- content --------------------------------------------------------------------------------

    def _asides(self, message: Any) -> list[Instruction]:
        extra = getattr(message, "additional_kwargs", None) or {}
        thought, refused = as_text(extra.get("reasoning_content")), as_text(extra.get("refusal"))
        out: list[Instruction] = [] if thought is None else [chat.reasoning(thought)]
        return out if refused is None else [*out, chat.refusal(refused)]

    def _block(self, block: Any) -> list[Instruction]:
        if not isinstance(block, Mapping):
            return []
        kind, index = str(block.get("type", "")), block.get("index")
        if kind in _OWN_CALLS:
            return self._begin_own_call(block, index)
        if index in self._own_calls and kind == "input_json_delta":
            self._own_calls[index]["arguments"] += _arguments_of(block)
            return []
        if kind.endswith("tool_result") or kind == "server_tool_result":
            return self._own_return(block)
        read = _BLOCKS.get(kind)
        return [] if read is None else read(block)

    def _begin_own_call(self, block: Mapping[str, Any], index: Any) -> list[Instruction]:
        key = block.get("id") if index is None else index
        call = self._own_calls.setdefault(key, {"id": "", "name": "", "arguments": ""})
        call["id"] = block.get("id") or call["id"]
        call["name"] = block.get("name") or call["name"]
        call["arguments"] += _arguments_of(block)
        return []

    def _own_call(self, key: Any) -> list[Instruction]:
        call = self._own_calls.pop(key)
        return [chat.tool_call(call["id"], call["name"], call["arguments"] or "{}", by_provider=True)]

    def _own_return(self, block: Mapping[str, Any]) -> list[Instruction]:
        call_id = str(block.get("tool_use_id") or block.get("tool_call_id") or block.get("id") or "")
        keys = [key for key, call in self._own_calls.items() if call["id"] == call_id]
        out = [instruction for key in keys for instruction in self._own_call(key)]
        content = block.get("content", block.get("output"))
        failed = block.get("is_error") is True or block.get("status") == "error"
        return [*out, chat.tool_return(call_id, content, failed=failed, by_provider=True)]

    # --- calls ----------------------------------------------------------------------------------

    def _piece(self, piece: Mapping[str, Any]) -> Instruction:
        call_id, index = as_text(piece.get("id")), piece.get("index")
        key = call_id if index is None else index
        number = self._last_number if key is None else self._numbers.setdefault(key, len(self._numbers))
        self._last_number = number
        if call_id is not None:
            self.call_ids.add(call_id)
        return chat.call(number, call_id=call_id, name=as_text(piece.get("name")), arguments=as_text(piece.get("args")))

    def _whole_call(self, call: Mapping[str, Any]) -> Instruction:
        arguments = call.get("args")
        return self._piece({**call, "index": None, "args": chat.as_json_text({} if arguments is None else arguments)})

    # --- what comes at the end ------------------------------------------------------------------

    def _note(self, message: Any) -> None:
        said = getattr(message, "response_metadata", None) or {}
        self.finish = next((word for key in _FINISH_KEYS if (word := as_text(said.get(key)))), self.finish)
        self.model = next((name for key in _MODEL_KEYS if (name := as_text(said.get(key)))), self.model)
        usage = getattr(message, "usage_metadata", None) or {}
        inside = usage.get("input_token_details") or {}, usage.get("output_token_details") or {}
        for counts, keys in (
            (usage, ("input_tokens", "output_tokens", "total_tokens")),
            (inside[0], ("cache_read",)),
            (inside[1], ("reasoning",)),
        ):
            for key in keys:
                if isinstance(counts.get(key), int):
                    self._counts[key] = self._counts.get(key, 0) + counts[key]


def _arguments_of(block: Mapping[str, Any]) -> str:
    value = next((block[key] for key in _ARGUMENTS if block.get(key)), "")
    return chat.as_json_text(value)


def _text(block: Mapping[str, Any]) -> list[Instruction]:
    piece = as_text(block.get("text"))
    return [] if piece is None else [chat.text(piece)]


def _refusal(block: Mapping[str, Any]) -> list[Instruction]:
    piece = as_text(block.get("refusal"))
    return [] if piece is None else [chat.refusal(piece)]


def _reasoning(block: Mapping[str, Any]) -> list[Instruction]:
    inner = block.get("reasoning_content")  # Bedrock
    if isinstance(inner, Mapping):
        block = inner
    piece = next((text for key in ("thinking", "reasoning", "text") if (text := as_text(block.get(key)))), None)
    if piece is None:
        parts = [part for part in block.get("summary") or () if isinstance(part, Mapping)]
        piece = "".join(as_text(part.get("text")) or "" for part in parts) or None
    extras = block.get("extras")
    signature = as_text(block.get("signature")) or as_text((extras or {}).get("signature"))
    out: list[Instruction] = [] if piece is None else [chat.reasoning(piece)]
    return out if signature is None else [*out, chat.signature(signature)]


def _redacted(block: Mapping[str, Any]) -> list[Instruction]:
    data = as_text(block.get("data"))
    return [] if data is None else [chat.redacted(data)]


_BLOCKS: dict[str, Callable[[Mapping[str, Any]], list[Instruction]]] = {
    "output_text": _text,
    "reasoning": _reasoning,
    "reasoning_content": _reasoning,
    "redacted_thinking": _redacted,
    "refusal": _refusal,
    "text": _text,
    "thinking": _reasoning,
}

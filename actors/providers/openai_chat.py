"""OpenAI chat completions (streamed), and the many servers that speak a dialect of it.

The shape, from the public API reference ("chat completion chunk object"): each event has
`choices[]`, each choice an `index`, a `delta` and at last a `finish_reason`; the delta has pieces
of `content`, `refusal` and `tool_calls[]` (`index`, `id`, `function.name`, `function.arguments`).
With `stream_options.include_usage` one more event with empty `choices` carries `usage`.

What the dialects add, from their public docs and recorded streams:

- Azure OpenAI: a first event with empty `choices`, `id` and `object` ("" each) and
  `prompt_filter_results`; choices without a `delta` that carry `content_filter_results` only.
- DeepSeek, xAI, Z.AI, vLLM, SGLang: `delta.reasoning_content`.
- Groq, Ollama, Cerebras, OpenRouter, newer vLLM: `delta.reasoning`.
- OpenRouter, LiteLLM, Copilot, Gemini's compatible API and others: reasoning and its signatures in a dozen
  places, the same text in several of them (`chat_reasoning.py`).
- Mistral, Databricks: `content` is a list of parts (`text`; `thinking` with parts of its own;
  `reasoning` with a `summary`; `reference`).
- Letta's conversion of Anthropic events: `delta.reasoning_content_signature` and
  `delta.redacted_reasoning_content`, and `output_tokens` beside `choices`.
- Groq: `x_groq.usage`, `x_groq.error`; `delta.executed_tools[]`, tools that the server ran: once
  with arguments, later again with its `output`.
- OpenRouter: comments as keepalive (no events), errors as `{"error": …, "choices": […]}` or in a choice.
- xAI counts reasoning tokens beside the completion's, not in them; its numbers go on as they came.
- Perplexity, Databricks, vLLM on request: `usage` in every event. Moonshot: `usage` in the choice.
- vLLM: an error as `{"object": "error", "message": …}`.
- Writer, Perplexity: `message` beside `delta`, with the whole or the same text; the delta counts.
- A body that was not streamed (`object: chat.completion`): `message` in place of `delta`. MiniMax sends one
  after the pieces: what the pieces said is not told again (`told.py`).
- Audio: `delta.audio.transcript` is what the assistant says; the sound has no message form.
- DashScope's own API: the same inside `output`. Ollama's own: `message` or `response`, `done`, `done_reason`.
- Legacy: `delta.function_call`; `text` in place of a delta (plain completions).
- Errors in every shape (`error_shapes.py`), keepalives (`{"type": "ping"}`), `finish_reason: "null"`.

Identity of tool calls is not decided here. `id` and `index` go on as they came, the empty id as
None; an empty name as None. A name or id repeated on every delta is passed on every time, and a
name in pieces comes in pieces: which is which only the owner of the call's state can tell.
"""

from __future__ import annotations

from sys import intern
from typing import Any

from msgspec import UNSET

from actors.deltas import (
    Delta,
    Finish,
    Model,
    Reasoning,
    ReasoningSignature,
    Refusal,
    StreamError,
    Text,
    ToolCallPiece,
    ToolReturn,
    Unknown,
    Usage,
)
from actors.empty import EMPTY_DICT, own_dict
from actors.providers.adapter import (
    Common,
    Event,
    as_count,
    as_dict,
    as_index,
    as_json_text,
    as_object,
    as_text,
    is_ping,
    odd,
    remember,
    unknown_event,
)
from actors.providers.chat_parts import (
    read_audio,
    read_finish,
    read_function,
    read_parts,
    read_thought,
    read_tool_calls,
    read_usage,
)
from actors.providers.chat_reasoning import HANDLED, is_thought, read_reasoning
from actors.providers.decode import read_chat
from actors.providers.error_shapes import error_delta, find_error
from actors.providers.told import DIFFERS, Said

# Keys of a delta that say nothing a reader of messages needs.
_PASSED_OVER = frozenset({
    "annotations",  # links of a web search; they stand in the text as well
    "reasoning",  # beside `reasoning_content`, which says the same
    "channel", "index", "obfuscation", "provider_metadata", "role", "token_id", "token_ids",
})  # fmt: skip
_KNOWN_WITHOUT_CHOICES = frozenset({"error", "usage", "x_groq", "prompt_filter_results"})


class OpenAIChatAdapter:
    """Reads chat-completion chunks. Keeps what each choice has said, and the server-run tools that are under way."""

    __slots__ = (
        "_ended", "_ended_id", "_error", "_executed", "_executed_count", "_model", "_said", "_said_first", "_unsigned",
    )  # fmt: skip

    def __init__(self) -> None:
        self._model: str | None = None
        self._error: str | None = None
        self._ended: dict[int, Said] = EMPTY_DICT  # what each choice had said when it ended
        self._ended_id: object = None  # of the event that ended the response
        self._said_first = Said()
        self._said: dict[int, Said] = EMPTY_DICT
        # Signatures of calls that have not come yet: the call's id to (signature, choice).
        self._unsigned: dict[str, tuple[str, int]] = EMPTY_DICT
        # (choice, index) of a server-run tool to its id, its arguments, and whether it has returned.
        self._executed: dict[tuple[int, int], tuple[str, str, bool]] = EMPTY_DICT
        self._executed_count = 0

    def common(self, payload: bytes) -> Common:
        """Return the deltas of a chunk with one choice that goes on; None for any other payload."""
        event = read_chat(payload)
        if event is None or event.base_resp is not UNSET:
            return None
        (choice,) = event.choices
        delta = choice.delta
        if choice.finish_reason or (not delta and choice.message is not UNSET):
            return None
        model = event.model
        if len(delta) == 1 and model == self._model and not (choice.index or event.usage or self._unsigned):
            content = delta.get("content")
            if content and content.__class__ is str:  # what most chunks are, as `_delta` reads it
                self._said_first.text.add(content)
                return content
        out: list[Delta] = []
        if model != self._model and model:
            self._model = model = intern(model)  # one text for all streams of a model
            out.append(Model(model))
        self._delta(delta, choice.index or 0, out)
        if event.usage:
            read_usage(event.usage, out)
        return out

    def feed(self, event: Event) -> list[Delta]:
        """Return the deltas of one chunk. Raises MalformedChunk where it is no JSON object."""
        # This and `_delta` are the hot path of most streams: every lookup here is paid once a token.
        if event.__class__ is not dict:
            event = as_object(event)
        out: list[Delta] = []
        model = event.get("model")
        if model != self._model and model and model.__class__ is str:
            self._model = model
            out.append(Model(model))
        choices = event.get("choices")
        if choices.__class__ is list and choices:
            for choice in choices:
                if choice.__class__ is dict:
                    self._choice(choice, event, out)
                else:
                    out.append(odd("choice", choice))
        else:
            self._without_choices(event, choices, out)
        if "usage" in event:
            read_usage(event["usage"], out)
        if "x_groq" in event:
            self._x_groq(event["x_groq"], out)
        if "base_resp" in event or event.get("error"):
            self._report(find_error(event), out)
        return out

    def close(self) -> list[Delta]:
        """Return the signatures whose calls never came."""
        waiting, self._unsigned = self._unsigned, EMPTY_DICT
        return [ReasoningSignature(signature, choice) for signature, choice in waiting.values()]

    def _choice(self, choice: dict[str, Any], event: Event, out: list[Delta]) -> None:
        index = choice.get("index")
        if index.__class__ is not int:
            index = as_index(index) or 0
        delta = choice.get("delta")
        if delta.__class__ is dict and (delta or "message" not in choice):
            self._delta(delta, index, out)
        else:
            self._without_delta(choice, index, event, out)
        if choice.get("finish_reason"):
            read_finish(choice, index, event, out)
            self._end(index, event)
        if choice.get("error"):
            self._report(error_delta(choice["error"]), out)
        if "usage" in choice:
            read_usage(choice["usage"], out)

    def _delta(self, delta: dict[str, Any], index: int, out: list[Delta]) -> None:  # noqa: C901, PLR0912  # hot
        said = self._said_first if index == 0 else self._said_of(index)
        content = calls = reasoning = None
        if (len(delta) == 1 or (len(delta) == 2 and "role" in delta)) and not self._unsigned:  # noqa: PLR2004
            # What most chunks are: text or pieces of calls, and who says it.
            content, calls = delta.get("content"), delta.get("tool_calls")
            if content and content.__class__ is str:
                out.append(Text(content, index))
                said.text.add(content)
                return
            if calls:
                read_tool_calls(calls, index, said, out)
                return
        more: list[str] | None = None
        for key, value in delta.items():
            if not value:
                continue
            if key == "content":
                content = value
            elif key == "tool_calls":
                calls = value
            elif key == "reasoning_content" or (key == "reasoning" and not reasoning):
                reasoning = value
            elif key not in _PASSED_OVER:
                more = [*(more or ()), key]
        if more or (content and content.__class__ is not str) or (reasoning and reasoning.__class__ is not str):
            self._odd_delta(reasoning, content, calls, delta, more or [], index, said, out)
            return
        # Whatever order the keys come in: a model reasons, then speaks, then calls.
        if reasoning:
            out.append(Reasoning(reasoning, index))
            said.reasoning.add(reasoning)
        if content:
            out.append(Text(content, index))
            said.text.add(content)
        if calls:
            read_tool_calls(calls, index, said, out)
        if self._unsigned:
            self._sign(said, out)

    def _odd_delta(
        self,
        reasoning: object,
        content: object,
        calls: object,
        delta: dict[str, Any],
        more: list[str],
        index: int,
        said: Said,
        out: list[Delta],
    ) -> None:
        """Read a delta with something other than plain text; `more` are its keys that have a value."""
        has_thoughts = not HANDLED.isdisjoint(more)
        if has_thoughts or reasoning:
            self._reasoning(reasoning, delta, more, index, said, out)
        if content:
            self._odd_content(content, is_thought(delta) if has_thoughts else False, index, said, out)
        if calls:
            read_tool_calls(calls, index, said, out)
        if self._unsigned:
            self._sign(said, out)
        for key in more:
            if key not in HANDLED:
                self._other(key, delta, index, said, out)

    def _reasoning(
        self, reasoning: object, delta: dict[str, Any], more: list[str], index: int, said: Said, out: list[Delta]
    ) -> None:
        found: list[Delta] = []
        read_reasoning(reasoning, delta, more, index, found)
        for piece in found:
            if piece.__class__ is Reasoning:
                said.reasoning.add(piece.text)
                out.append(piece)
            elif isinstance(piece, ToolCallPiece):
                # The signature of a call, which may not have come yet.
                self._unsigned = own_dict(self._unsigned)
                remember(self._unsigned, piece.id or "", (piece.signature or "", index))
            else:
                out.append(piece)
                said.take([piece])

    def _odd_content(self, content: object, is_thought: bool, index: int, said: Said, out: list[Delta]) -> None:  # noqa: FBT001
        if content.__class__ is str and not is_thought:
            out.append(Text(content, index))
            said.text.add(content)
            return
        found: list[Delta] = []
        if is_thought:
            read_thought(content, index, found)
        else:
            read_parts(content, index, found)
        said.take(found)
        out += found

    def _sign(self, said: Said, out: list[Delta]) -> None:
        """Give the calls that have come the signatures that came ahead of them."""
        for call_id in [call_id for call_id in self._unsigned if said.knows(call_id)]:
            signature, choice = self._unsigned.pop(call_id)
            out.append(ToolCallPiece(None, call_id, None, None, choice, signature=signature))

    def _said_of(self, index: int) -> Said:
        if index == 0:
            return self._said_first
        said = self._said.get(index)
        if said is None:
            said = Said()
            self._said = own_dict(self._said)
            remember(self._said, index, said)
        return said

    def _end(self, index: int, event: Event) -> None:
        """Put by what a choice has said: what comes after its end is the next response, or the whole of this one."""
        said = self._said_of(index)
        if not said.is_empty:
            self._ended = own_dict(self._ended)
            remember(self._ended, index, said)
            self._begin_anew(index)
        self._ended_id = event.get("id")

    def _begin_anew(self, index: int) -> None:
        if index == 0:
            self._said_first = Said()
        else:
            self._said = own_dict(self._said)
            remember(self._said, index, Said())

    def _other(self, key: str, delta: dict[str, Any], index: int, said: Said, out: list[Delta]) -> None:
        value = delta[key]
        found: list[Delta] = []
        if key == "refusal" and isinstance(value, str):
            found.append(Refusal(value, index))
        elif key == "audio" and isinstance(value, dict):
            if value.get("transcript") != delta.get("content"):
                read_audio(value, index, found)
        elif key == "function_call" and isinstance(value, dict):
            # A response has at most one of these, so it is the call with index 0.
            read_function(value, 0, None, index, found)
        elif key == "executed_tools" and isinstance(value, list):
            for place, tool in enumerate(value):
                self._executed_tool(tool, place, index, found)
        elif not _is_hollow(value):
            found.append(odd(f"delta.{key}", value))
        said.take(found)
        out += found

    # --- what is no chunk ------------------------------------------------------------------------

    def _without_delta(self, choice: dict[str, Any], index: int, event: Event, out: list[Delta]) -> None:
        delta, message = choice.get("delta"), choice.get("message")
        text = as_text(choice.get("text"))
        if isinstance(message, dict):
            self._message(message, index, event, out)
        elif delta:
            out.append(odd("delta", delta))
        elif text is not None:
            out.append(Text(text, index))

    def _message(self, message: dict[str, Any], index: int, event: Event, out: list[Delta]) -> None:
        """Read a message in place of a delta: all of it, or what the pieces before it have not said."""
        said = self._said_of(index)
        is_whole = event.get("object") == "chat.completion"
        is_over = said.is_empty and index in self._ended
        said = self._ended[index] if is_over else said
        if not said.is_empty:
            whole = OpenAIChatAdapter()
            found: list[Delta] = []
            whole._delta(message, index, found)
            missing = said.missing(found)
            is_next = event.get("id") != self._ended_id if is_whole else not is_over
            if not (is_next and Unknown(DIFFERS) in missing):
                out += missing
                return
            # It is the next response; or, in a server that knows no deltas, the next piece.
        self._delta(message, index, out)
        if is_whole:
            self._begin_anew(index)
            if index in self._ended:
                del self._ended[index]

    def _without_choices(self, event: Event, choices: object, out: list[Delta]) -> None:
        if choices:
            out.append(odd("choices", choices))
            return
        output = event.get("output")
        if isinstance(output, dict) and ("choices" in output or "text" in output):
            self._dashscope(output, event, out)
        elif "done" in event and ("message" in event or "response" in event):
            self._ollama(event, out)
        elif not event.get("error") and "base_resp" not in event and not is_ping(event):
            error = find_error(event)
            if error is not None:
                self._report(error, out)
            elif choices is None and not _KNOWN_WITHOUT_CHOICES.intersection(event):
                out.append(unknown_event(event))

    def _dashscope(self, output: dict[str, Any], event: Event, out: list[Delta]) -> None:
        choices = output.get("choices")
        if not isinstance(choices, list):
            choices = [{"message": {"content": output.get("text")}, "finish_reason": output.get("finish_reason")}]
        for choice in choices:
            if isinstance(choice, dict):
                self._choice(choice, event, out)
            else:
                out.append(odd("choice", choice))

    def _ollama(self, event: Event, out: list[Delta]) -> None:
        message = event.get("message")
        delta = message if isinstance(message, dict) else {"content": event.get("response")}
        self._choice({"delta": {**delta, "images": None}, "finish_reason": event.get("done_reason")}, event, out)
        prompt, completion = as_count(event.get("prompt_eval_count")), as_count(event.get("eval_count"))
        if event.get("done") is True and (prompt is not None or completion is not None):
            out.append(Usage(prompt, completion))
        if event.get("done") is True and not event.get("done_reason"):
            out.append(Finish("stop"))

    def _report(self, error: StreamError | None, out: list[Delta]) -> None:
        """Pass an error on, but not the same one again: some servers put it into the event and into its choice."""
        if error is not None and error.text != self._error:
            self._error = error.text
            out.append(error)

    def _x_groq(self, extra: object, out: list[Delta]) -> None:
        extra = as_dict(extra)
        read_usage(extra.get("usage"), out)
        if extra.get("error"):
            self._report(error_delta(extra["error"]), out)

    def _executed_tool(self, tool: object, place: int, choice: int, out: list[Delta]) -> None:
        if not isinstance(tool, dict):
            out.append(odd("executed tool", tool))
            return
        index = as_index(tool.get("index"))
        key = (choice, place if index is None else index)
        arguments = as_json_text(tool.get("arguments") or "")
        name = as_text(tool.get("name")) or as_text(tool.get("type"))
        output = tool.get("output")
        call_id, known_arguments, returned = self._executed.get(key, ("", "", True))
        if returned and call_id and output is not None and arguments == known_arguments:
            return  # told again
        if returned:
            # The server gives no ids; a place that is used again is another call.
            call_id, returned = f"executed_tool_{self._executed_count}", False
            self._executed_count += 1
            out.append(ToolCallPiece(None, call_id, name, arguments, choice, provider_executed=True))
        if output is not None:
            returned = True
            out.append(ToolReturn(call_id, as_json_text(output), name, choice=choice))
        self._executed = own_dict(self._executed)
        remember(self._executed, key, (call_id, arguments, returned))


def _is_hollow(value: object) -> bool:
    """Tell whether a value is an object all of whose members are null (a placeholder, as Writer sends)."""
    return isinstance(value, dict) and all(member is None for member in value.values())

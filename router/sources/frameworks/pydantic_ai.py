"""Events of pydantic-ai: `agent.run_stream_events()`, and the streams that event handlers are given.

Of a response, each part starts, goes on in deltas, and ends; a part that has ended may still go on where several
calls stream at once. Text, thinking and the arguments of calls pass as they come. Arguments that come as a mapping, and
calls that the provider runs itself, are held until their part ends. A response is over with the first event of a tool,
with the start of the next one's first part, or with the run's result.

The stream has neither usage nor finish reasons; the run's result has both, for all responses together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from router.sources.frameworks import chat_chunks as chat
from router.sources.frameworks.instructions import Ended, Instruction, SetToolRunning, as_text

_CALL, _OWN_CALL, _OWN_RETURN = "tool-call", "builtin-tool-call", "builtin-tool-return"
# Why a last response was cut off; with any other word the run has come to its result.
_CUT_OFF = frozenset({"length", "content_filter", "error"})
_REDACTED = "redacted_thinking"


class PydanticAI:
    """Turns the events of one run into instructions."""

    provider: str | None = "openai-chat"

    def __init__(self) -> None:
        self.result: Any = None
        self._is_open = False  # a response is under way
        self._call_count = 0
        self._calls: dict[int, int] = {}  # index of a part to that of its call
        self._held: dict[int, Any] = {}  # parts that are sent whole
        self._signatures: dict[int, str] = {}  # of thinking that goes on
        self._ended: set[int] = set()
        self._running: set[str] = set()  # ids of calls that have not returned

    def feed(self, event: Any) -> list[Instruction]:
        """Return what one event asks for; an event that says nothing to readers asks for nothing."""
        take = self._ON.get(str(getattr(event, "event_kind", "")))
        return [] if take is None else take(self, event)

    def close(self) -> list[Instruction]:
        """Let out what a response held back that was the last, without a result."""
        return self._end_response() + self._no_tools_run()

    # --- a response -----------------------------------------------------------------------------

    def _start(self, event: Any) -> list[Instruction]:
        index, part = event.index, event.part
        out: list[Instruction] = []
        if index in self._ended and index == 0:
            out += self._end_response()
        out += self._no_tools_run()
        self._is_open = True
        self._ended.discard(index)
        kind = part.part_kind
        if kind == "text" and part.content:
            out.append(chat.text(part.content))
        elif kind == "thinking":
            out += self._thinking(index, part)
        elif kind == _CALL and not isinstance(part.args, dict):
            out.append(self._call(index, part.tool_call_id, part.tool_name, as_text(part.args)))
        elif kind in (_CALL, _OWN_CALL, _OWN_RETURN):
            self._held[index] = part
        return out

    def _thinking(self, index: int, part: Any) -> list[Instruction]:
        if part.id == _REDACTED and part.signature:
            return [chat.redacted(part.signature)]
        if part.signature:
            self._signatures[index] = part.signature
        return [chat.reasoning(part.content)] if part.content else []

    def _call(self, index: int, call_id: str | None, name: str | None, arguments: str | None) -> Instruction:
        number = self._calls.get(index)
        if number is None:
            number = self._calls[index] = self._call_count
            self._call_count += 1
        return chat.call(number, call_id=call_id, name=name, arguments=arguments)

    def _delta(self, event: Any) -> list[Instruction]:
        index, delta = event.index, event.delta
        kind = delta.part_delta_kind
        if index in self._held:
            self._held[index] = delta.apply(self._held[index])
        elif kind == "text" and delta.content_delta:
            return [chat.text(delta.content_delta)]
        elif kind == "thinking":
            if delta.signature_delta:
                self._signatures[index] = delta.signature_delta
            return [chat.reasoning(delta.content_delta)] if delta.content_delta else []
        elif kind == "tool_call":
            arguments = None if delta.args_delta is None else chat.as_json_text(delta.args_delta)
            return [self._call(index, None, delta.tool_name_delta, arguments)]
        return []

    def _end(self, event: Any) -> list[Instruction]:
        index = event.index
        self._ended.add(index)
        out: list[Instruction] = []
        if index in self._held:
            self._held[index] = event.part
            out += self._let_out(index)
        if index in self._signatures:
            out.append(chat.signature(self._signatures.pop(index)))
        return out

    def _let_out(self, index: int) -> list[Instruction]:
        part = self._held.pop(index)
        if part.part_kind == _OWN_RETURN:
            failed = getattr(part, "outcome", "success") not in ("success", None)
            return [chat.tool_return(part.tool_call_id, part.content, failed=failed, by_provider=True)]
        arguments = chat.as_json_text({} if part.args is None else part.args)
        if part.part_kind == _OWN_CALL:
            return [chat.tool_call(part.tool_call_id, part.tool_name, arguments, by_provider=True)]
        return [self._call(index, part.tool_call_id, part.tool_name, arguments)]

    def _end_response(self) -> list[Instruction]:
        if not self._is_open:
            return []
        out = [instruction for index in list(self._held) for instruction in self._let_out(index)]
        out += [chat.signature(signature) for signature in self._signatures.values()]
        self._is_open = False
        self._calls, self._signatures, self._ended = {}, {}, set()
        return [*out, chat.done()]

    # --- tools ----------------------------------------------------------------------------------

    def _tool_call(self, event: Any) -> list[Instruction]:
        out = self._end_response()
        if not self._running:
            out.append(SetToolRunning(is_running=True))
        self._running.add(event.part.tool_call_id)
        return out

    def _tool_result(self, event: Any) -> list[Instruction]:
        # Versions of before call it `result`, and give a prompt to try again where a tool failed.
        part = event.part if hasattr(event, "part") else event.result
        out = self._end_response()
        is_retry = part.part_kind == "retry-prompt"
        failed = is_retry or getattr(part, "outcome", "success") not in ("success", None)
        content = part.model_response() if is_retry else part.content
        out.append(chat.tool_return(part.tool_call_id, content, failed=failed))
        self._running.discard(part.tool_call_id)
        if not self._running:
            out.append(SetToolRunning(is_running=False))
        return out

    def _no_tools_run(self) -> list[Instruction]:
        if not self._running:
            return []
        self._running = set()
        return [SetToolRunning(is_running=False)]

    # --- the end --------------------------------------------------------------------------------

    def _run_result(self, event: Any) -> list[Instruction]:
        self.result = result = event.result
        out = self._no_tools_run()
        usage = result.usage
        if not hasattr(usage, "input_tokens"):
            usage = usage()  # a method, in versions of before
        if usage.input_tokens or usage.output_tokens:
            cached, reasoning = usage.cache_read_tokens, getattr(usage, "output_reasoning_tokens", 0)
            counts = {"prompt": usage.input_tokens, "completion": usage.output_tokens}
            out.append(chat.usage(**counts, cached=cached or None, reasoning=reasoning or None))
        last = _last_response(result)
        word = as_text(getattr(last, "finish_reason", None))
        name = as_text(getattr(last, "model_name", None))
        if name is not None:
            out.append(chat.model(name))
        out.append(chat.finish(word or "stop"))
        out += self._end_response()
        if word in _CUT_OFF:
            return out
        # Calls that nobody has answered are the run's result where it waits for somebody to approve or to run them.
        waits = type(result.output).__name__ == "DeferredToolRequests"
        return [*out, Ended("tool_call" if waits else "end_turn")]

    # By kind of event.
    _ON: ClassVar[dict[str, Callable[[PydanticAI, Any], list[Instruction]]]] = {
        "part_start": _start,
        "part_delta": _delta,
        "part_end": _end,
        "function_tool_call": _tool_call,
        "output_tool_call": _tool_call,
        "function_tool_result": _tool_result,
        "output_tool_result": _tool_result,
        "agent_run_result": _run_result,
    }


def _last_response(result: Any) -> Any:
    responses = [message for message in result.new_messages() if message.kind == "response"]
    return responses[-1] if responses else None

"""Events of openai-agents: `Runner.run_streamed(...)`.

`raw_response_event`s are events of OpenAI Responses, also where the model speaks another API: they are chunks as they
are. Made ones bear the id `__fake_id__` on every item, which would make them one: it is left out, and the items'
places tell them apart. What tools gave back, handoffs among them, comes as `run_item_stream_event`s.

Each response is a step with the name of its agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router.sources.frameworks import chat_chunks as chat
from router.sources.frameworks.instructions import (
    BeginStep,
    Ended,
    Instruction,
    SendChunk,
    SetToolRunning,
    as_text,
)

_FAKE_ID = "__fake_id__"
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_GOOD_END = "response.completed"
_CALLS = frozenset(
    {"apply_patch_call", "computer_call", "custom_tool_call", "function_call", "local_shell_call", "shell_call"}
)


class OpenAIAgents:
    """Turns the events of one run into instructions."""

    provider: str | None = "openai-responses"

    def __init__(self) -> None:
        self.result: Any = None
        self._agent: str | None = None
        self._is_open = False  # a response is under way
        self._end: str | None = None  # how the last one ended
        self._unanswered: set[str] = set()
        self._is_running = False

    def feed(self, event: Any) -> list[Instruction]:
        """Return what one event asks for."""
        kind = getattr(event, "type", None)
        if kind == "raw_response_event":
            return self._raw(event.data)
        if kind == "agent_updated_stream_event":
            self._agent = as_text(getattr(event.new_agent, "name", None))
        elif kind == "run_item_stream_event":
            return self._item(event.item)
        return []

    def close(self) -> list[Instruction]:
        """Say why the run ended: a run that has all its answers is over, whatever its last response asked for."""
        out = self._set_running(is_running=False)
        if self._end == _GOOD_END and not self._is_open and not self._unanswered:
            out.append(Ended("end_turn"))
        return out

    def _raw(self, event: Any) -> list[Instruction]:
        kind = str(getattr(event, "type", ""))
        out: list[Instruction] = []
        if not self._is_open:
            self._is_open = True
            out += [*self._set_running(is_running=False), BeginStep(self._agent)]
        out.append(SendChunk(_without_fake_ids(event)))
        if kind == "response.output_item.done" and getattr(event.item, "type", None) in _CALLS:
            self._unanswered.add(str(getattr(event.item, "call_id", None)))
        if kind in _ENDS:
            self._is_open, self._end = False, kind
            out += self._set_running(is_running=bool(self._unanswered))
        return out

    def _item(self, item: Any) -> list[Instruction]:
        raw = item.raw_item
        body = raw if isinstance(raw, Mapping) else vars(raw)
        call_id = as_text(body.get("call_id"))
        if not str(body.get("type", "")).endswith("_output") or call_id is None:
            return []
        self._unanswered.discard(call_id)
        out: list[Instruction] = [chat.tool_return(call_id, body.get("output"))]
        return out if self._unanswered else [*out, *self._set_running(is_running=False)]

    def _set_running(self, *, is_running: bool) -> list[Instruction]:
        if is_running == self._is_running:
            return []
        self._is_running = is_running
        return [SetToolRunning(is_running)]


def _without_fake_ids(event: Any) -> Any:
    """Return an event whose items' ids are not all the same."""
    item, response = getattr(event, "item", None), getattr(event, "response", None)
    ids = {getattr(event, "item_id", None), getattr(item, "id", None), getattr(response, "id", None)}
    if _FAKE_ID not in ids:
        return event
    return _cleaned(event.model_dump(mode="json", exclude_unset=True, warnings=False))


def _cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _cleaned(inner) for key, inner in value.items() if inner != _FAKE_ID}
    return [_cleaned(inner) for inner in value] if isinstance(value, list) else value

"""LangChain and LangGraph: `astream_events`, `astream` in the mode `messages`, and a chat model's own `astream`.

    {"event": "on_chat_model_stream", "run_id": …, "data": …}      astream_events
    (message, metadata)                                            stream_mode="messages"
    (mode, (message, metadata)), (namespace, …), {"type": …}       several modes, subgraphs, version="v2"
    AIMessageChunk                                                 model.astream()

A graph may run several models side by side. A request tells one response at a time: the first one as it comes, and
what the others say once it is over, in the order in which they began; so do the returns of tools.

A response is over when the model's run ends, when its last chunk says so, or when the graph has gone on a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.errors import InvalidArgument
from router.sources.frameworks import chat_chunks as chat
from router.sources.frameworks.instructions import BeginStep, Ended, Instruction, SetToolRunning, as_text
from router.sources.frameworks.langchain_messages import Response

_TOOL_WORDS = frozenset({"tool_calls", "tool_use", "function_call", "tool_call"})
_SEEN_MAX = 4096
_NAMESPACED = 3


class _Run:
    """One run of a model, or what waits with no run of its own (the return of a tool)."""

    def __init__(self, node: str | None, step: int | None) -> None:
        self.response = Response()
        self.node = node
        self.step = step
        self.held: list[Instruction] = []
        self.has_begun = False
        self.is_over = False


class LangChain:
    """Turns the events of one stream into instructions."""

    provider: str | None = "openai-chat"

    def __init__(self) -> None:
        self.result: Any = None
        self._root: Any = None
        self._runs: dict[Any, _Run] = {}  # in the order in which they began; the first one is told as it comes
        self._seen: dict[str, None] = {}  # ids of messages that were told
        self._inputs: dict[str, Any] = {}  # of tools that run
        self._unanswered: set[str] = set()
        self._last: Response | None = None
        self._is_running = False
        self._has_messages = False
        self._other_modes: set[str] = set()

    def feed(self, event: Any) -> list[Instruction]:
        """Return what one event asks for."""
        if isinstance(event, Mapping) and "event" in event:
            return self._event(event)
        message, metadata = _message_in(event)
        self._note_mode(event, is_message=message is not None)
        return [] if message is None else self._message(message, metadata)

    def close(self) -> list[Instruction]:
        """Let out what is held back, and say why the run ended where the last response does not.

        Raises InvalidArgument where the stream was of several modes, none of which has messages.
        """
        if self._other_modes and not self._has_messages:
            raise InvalidArgument(
                f"Publisher.pump: of this graph's stream, only the mode 'messages' has what models say; it was read "
                f"in {', '.join(sorted(self._other_modes))}. Add 'messages' to its stream_mode"
            )
        out: list[Instruction] = []
        ended = self._last is not None
        for key in list(self._runs):
            ended = False
            out += self._end_run(key)
        out += self._set_running(is_running=False)
        if ended and self._last is not None and (self._last.finish is None or self._last.finish in _TOOL_WORDS):
            out.append(Ended("tool_call" if self._unanswered else "end_turn"))
        return out

    def _note_mode(self, event: Any, *, is_message: bool) -> None:
        self._has_messages = self._has_messages or is_message
        mode = event.get("type") if isinstance(event, Mapping) else None
        if isinstance(event, tuple):
            mode = event[-2]
        if isinstance(mode, str):
            if mode == "messages":
                self._has_messages = True
            else:
                self._other_modes.add(mode)

    # --- astream_events -------------------------------------------------------------------------

    def _event(self, event: Mapping[str, Any]) -> list[Instruction]:
        name, run_id, data = str(event.get("event")), str(event.get("run_id")), event.get("data") or {}
        if self._root is None:
            self._root = run_id
        if name in ("on_chat_model_stream", "on_llm_stream"):
            return self._chunk(run_id, data.get("chunk"), event.get("metadata") or {})
        if name == "on_chat_model_end":
            return self._model_end(run_id, data.get("output"), event.get("metadata") or {})
        if name in ("on_llm_end", "on_chat_model_error", "on_llm_error"):
            return self._end_run(run_id) if run_id in self._runs else []
        if name == "on_tool_start":
            self._inputs[run_id] = data.get("input")
        elif name == "on_tool_end":
            return self._tool_end(event, run_id, data.get("output"))
        elif name == "on_tool_error":
            return self._tool_error(event, run_id, data)
        elif name == "on_chain_end" and run_id == self._root:
            self.result = data.get("output")
        return []

    def _chunk(self, run_id: str, chunk: Any, metadata: Mapping[str, Any]) -> list[Instruction]:
        if hasattr(chunk, "content"):
            return self._say(run_id, chunk, metadata)
        piece = as_text(chunk) or as_text(getattr(chunk, "text", None))  # a model that completes text
        return [] if piece is None else self._tell(self._run(run_id, metadata), [chat.text(piece)])

    def _model_end(self, run_id: str, output: Any, metadata: Mapping[str, Any]) -> list[Instruction]:
        out: list[Instruction] = []
        if run_id not in self._runs and hasattr(output, "content"):
            out += self._say(run_id, output, metadata)  # it does not stream
        return out + self._end_run(run_id) if run_id in self._runs else out

    def _tool_end(self, event: Mapping[str, Any], run_id: str, output: Any) -> list[Instruction]:
        update = getattr(output, "update", None)  # a command to the graph, with messages in it
        if isinstance(update, Mapping):
            output = update.get("messages") or output
        messages = [item for item in (output if isinstance(output, list) else [output]) if _is_tool(item)]
        if messages:
            return [instruction for message in messages for instruction in self._return(message)]
        told = self._own_tool(event, run_id)
        return self._tell_alone([*told, chat.tool_return(run_id, _content_of(output))])

    def _tool_error(self, event: Mapping[str, Any], run_id: str, data: Mapping[str, Any]) -> list[Instruction]:
        call_id = as_text(data.get("tool_call_id"))
        told = [] if call_id is not None else self._own_tool(event, run_id)
        self._unanswered.discard(call_id or "")
        failed = chat.tool_return(call_id or run_id, _error_text(data.get("error")), failed=True)
        return self._tell_alone([*told, failed]) + self._answered()

    def _own_tool(self, event: Mapping[str, Any], run_id: str) -> list[Instruction]:
        """Tell the call of a tool that no model has called."""
        given = self._inputs.pop(run_id, None)
        return [chat.tool_call(run_id, str(event.get("name")), chat.as_json_text({} if given is None else given))]

    # --- messages -------------------------------------------------------------------------------

    def _message(self, message: Any, metadata: Mapping[str, Any]) -> list[Instruction]:
        if _is_tool(message):
            return self._return(message)
        kind = str(getattr(message, "type", ""))
        if not kind.startswith(("ai", "AI")):
            return []
        key = as_text(getattr(message, "id", None)) or as_text(metadata.get("langgraph_checkpoint_ns")) or ""
        is_chunk = kind.endswith("Chunk")
        if not is_chunk and key in self._seen:
            return []
        out = self._say(key, message, metadata)
        is_last = not is_chunk or getattr(message, "chunk_position", None) == "last"
        return out + self._end_run(key) if is_last else out

    def _return(self, message: Any) -> list[Instruction]:
        call_id = str(message.tool_call_id)
        key = f"{call_id}/{as_text(getattr(message, 'id', None)) or ''}"
        if key in self._seen:
            return []
        self._remember(key)
        self._unanswered.discard(call_id)
        failed = getattr(message, "status", "success") == "error"
        return self._tell_alone([chat.tool_return(call_id, _content_of(message), failed=failed)]) + self._answered()

    # --- runs, one at a time --------------------------------------------------------------------

    def _say(self, key: str, message: Any, metadata: Mapping[str, Any]) -> list[Instruction]:
        run = self._run(key, metadata)
        return self._ended_before(run) + self._tell(run, run.response.feed(message))

    def _run(self, key: str, metadata: Mapping[str, Any]) -> _Run:
        run = self._runs.get(key)
        if run is None:
            step = metadata.get("langgraph_step")
            node = as_text(metadata.get("langgraph_node"))
            run = self._runs[key] = _Run(node, step if isinstance(step, int) else None)
        return run

    def _ended_before(self, run: _Run) -> list[Instruction]:
        """End the runs of earlier steps of the graph: it waits for all of a step before it goes on."""
        if run.step is None or run.has_begun:
            return []
        older = [key for key, other in self._runs.items() if other.step is not None and other.step < run.step]
        return [instruction for key in older for instruction in self._end_run(key)]

    def _tell(self, run: _Run, instructions: list[Instruction]) -> list[Instruction]:
        if not instructions:
            return []
        if not run.has_begun:
            run.has_begun = True
            if run.node is not None:
                instructions = [BeginStep(run.node), *instructions]
        if next(iter(self._runs.values()), run) is not run:
            run.held += instructions
            return []
        return self._set_running(is_running=False) + instructions

    def _tell_alone(self, instructions: list[Instruction]) -> list[Instruction]:
        if not self._runs:
            return instructions
        run = self._runs[object()] = _Run(None, None)
        run.is_over = True
        run.held = instructions
        return []

    def _end_run(self, key: Any) -> list[Instruction]:
        run = self._runs[key]
        is_first = next(iter(self._runs.values())) is run
        if not run.is_over:
            run.is_over = True
            self._remember(str(key))
            self._last = run.response
            self._unanswered |= run.response.call_ids
            run.held += run.response.end()
        if not is_first:
            return []
        out: list[Instruction] = []
        # This one, and those behind it that are over too; the next one goes on as it comes.
        for waiting in list(self._runs):
            run = self._runs[waiting]
            out += run.held
            run.held = []
            if not run.is_over:
                break
            del self._runs[waiting]
        return out + (self._set_running(is_running=True) if self._unanswered and not self._runs else [])

    # --- tools ----------------------------------------------------------------------------------

    def _answered(self) -> list[Instruction]:
        return [] if self._unanswered else self._set_running(is_running=False)

    def _set_running(self, *, is_running: bool) -> list[Instruction]:
        if is_running == self._is_running:
            return []
        self._is_running = is_running
        return [SetToolRunning(is_running)]

    def _remember(self, key: str) -> None:
        self._seen[key] = None
        if len(self._seen) > _SEEN_MAX:
            del self._seen[next(iter(self._seen))]


def _message_in(event: Any) -> tuple[Any, Mapping[str, Any]]:
    """Return the message in an event of `astream`, and what the graph says of it; None where there is none."""
    if isinstance(event, Mapping):
        event = event.get("data") if event.get("type") == "messages" else None
    if isinstance(event, tuple):
        if len(event) == _NAMESPACED:
            event = event[1:]
        if isinstance(event[-1], tuple):
            event = event[-1] if event[0] == "messages" or isinstance(event[0], tuple) else None
    if isinstance(event, tuple):
        message, metadata = event[0], event[-1]
        is_message = hasattr(message, "content") and isinstance(metadata, Mapping)
        return (message, metadata) if is_message else (None, {})
    return (event, {}) if hasattr(event, "content") else (None, {})


def _is_tool(message: Any) -> bool:
    return hasattr(message, "tool_call_id") and hasattr(message, "content")


def _content_of(output: Any) -> Any:
    content = getattr(output, "content", output)
    return content if hasattr(output, "content") or isinstance(content, str) else chat.as_json_text(content)


def _error_text(error: Any) -> str:
    return f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(error)

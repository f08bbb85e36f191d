"""The reference's two interfaces by name, for agent loops that were written against them.

`StreamingServerInterface` and `QueuingInterface` have the methods, signatures and attributes of the
classes of the same names in Letta 0.7.8 (`letta/server/rest_api/interface.py`); `Message` is a model of
what their `msg_obj` must carry (`letta/schemas/message.py`). They are thin: what decides is
`actors.interface`. Either runs in one process, where it makes messages itself, or publishes into the
router: then `publish` is an open publisher, and what is called here is sent there.

    with router.publish("req-1", {"use_assistant_message": True}) as stream:
        interface = StreamingServerInterface(use_assistant_message=True, publish=stream)

What differs from the reference, on purpose: pieces may be pushed from any thread, and wake the reader at
once; what was not read when the stream ended is still read; where the reference asserts, there are named
errors; and its known defects are gone.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from actors.errors import InvalidRecord, RequestEnded, SettingsError
from actors.interface import Interface
from actors.interface.json_text import UNREADABLE, as_shown_text, read_leniently
from actors.messages import Emission, Head, LettaMessage, MessageFactory, iso_seconds, otid_of
from actors.providers import Adapter, make_adapter
from actors.settings import (
    ASSISTANT_MESSAGE_TOOL_KWARG,
    ASSISTANT_MESSAGE_TOOL_NAME,
    INNER_THOUGHTS_KWARG,
    StreamSettings,
)

_CHUNK_INDEX_MAX = 127
Body = dict[str, Any]
T = TypeVar("T")


# --- what the agent loop hands in -----------------------------------------------------------------


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")


class TextContent(_Part):
    """Plain text."""

    type: Literal["text"] = "text"
    text: str


class ReasoningContent(_Part):
    """The model's native reasoning."""

    type: Literal["reasoning"] = "reasoning"
    is_native: bool = True
    reasoning: str
    signature: str | None = None


class RedactedReasoningContent(_Part):
    """Reasoning that the provider hides."""

    type: Literal["redacted_reasoning"] = "redacted_reasoning"
    data: str


class OmittedReasoningContent(_Part):
    """Reasoning that the provider left out."""

    type: Literal["omitted_reasoning"] = "omitted_reasoning"


class OtherContent(BaseModel):
    """Images, and tool calls and returns as content: kept, but nothing here shows them."""

    model_config = ConfigDict(extra="allow")

    type: Literal["image", "tool_call", "tool_return"]


Content = Annotated[
    TextContent | ReasoningContent | RedactedReasoningContent | OmittedReasoningContent | OtherContent,
    Field(discriminator="type"),
]


class FunctionCall(_Part):
    """Name and arguments (JSON text) of a call."""

    arguments: str
    name: str


class OpenAIToolCall(_Part):
    """A tool call in OpenAI's shape."""

    id: str
    function: FunctionCall
    type: Literal["function"] = "function"


class ToolReturn(_Part):
    """How a tool's run ended, and what it wrote."""

    status: Literal["success", "error"]
    stdout: list[str] | None = None
    stderr: list[str] | None = None


class Message(BaseModel):
    """A stored message of an agent, as far as an interface needs it (field names of Letta's `Message`)."""

    model_config = ConfigDict(extra="ignore")

    created_by_id: str | None = None
    last_updated_by_id: str | None = None
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    updated_at: datetime | None = None
    id: str = Field(default_factory=lambda: f"message-{uuid.uuid4()}")
    organization_id: str | None = None
    agent_id: str | None = None
    model: str | None = None
    role: Literal["assistant", "user", "tool", "function", "system"]
    content: list[Content] | None = None
    name: str | None = None
    tool_calls: list[OpenAIToolCall] | None = None
    tool_call_id: str | None = None
    step_id: str | None = None
    otid: str | None = None
    tool_returns: list[ToolReturn] | None = None
    group_id: str | None = None
    sender_id: str | None = None

    @staticmethod
    def generate_otid_from_id(message_id: str, index: int) -> str | None:
        """Return the otid of a message's `index`-th part. Raises InvalidRecord outside 0 to 127."""
        return _otid(message_id, index)


def _otid(message_id: str, index: int | None) -> str | None:
    if index is None:
        return None
    if not 0 <= index <= _CHUNK_INDEX_MAX:
        raise InvalidRecord(f"chunk_index: expected 0 to {_CHUNK_INDEX_MAX}, got {index}")
    return otid_of(message_id, index)


def _required(msg_obj: Message | None, caller: str) -> Message:
    if msg_obj is None:
        raise InvalidRecord(f"{caller} needs msg_obj, the stored message: id and date come from it")
    return msg_obj


class Publish(Protocol):
    """What `publish` must be: an open publisher whose methods can be called without `await`."""

    def chunk(self, chunk: Any) -> Any:
        """Send one provider event."""

    def message(self, message: Mapping[str, Any]) -> Any:
        """Send a whole message."""

    def step_start(self, **fields: Any) -> Any:
        """Say that the next response begins."""

    def step_end(self) -> Any:
        """Say that the step is over."""

    def finish(self) -> Any:
        """End the request."""

    def fail(self, error_type: str, message: str) -> Any:
        """End the request with an error."""


# --- calls as whole messages -----------------------------------------------------------------------


def _common(msg_obj: Message, chunk_index: int | None) -> Body:
    return {
        "id": msg_obj.id,
        "date": iso_seconds(msg_obj.created_at),
        "name": msg_obj.name,
        "otid": _otid(msg_obj.id, chunk_index),
    }


def monologue_bodies(msg: str, msg_obj: Message, chunk_index: int | None) -> list[Body]:
    """Return the messages of an agent's monologue: of each part of the stored message one.

    Where plain text is all there is, `msg` counts, since the loop may have shortened it; the same where
    nothing is stored.
    """
    common = _common(msg_obj, chunk_index)
    parts = msg_obj.content or []
    if not parts or (len(parts) == 1 and isinstance(parts[0], TextContent)):
        return [{"message_type": "reasoning_message", **common, **_reasoning(msg)}] if parts or msg else []
    bodies: list[Body] = []
    for part in parts:
        if isinstance(part, TextContent):
            bodies.append({"message_type": "reasoning_message", **common, **_reasoning(part.text)})
        elif isinstance(part, ReasoningContent):
            native = {"reasoning": part.reasoning, "source": "reasoner_model", "signature": part.signature}
            bodies.append({"message_type": "reasoning_message", **common, **native})
        elif isinstance(part, RedactedReasoningContent):
            bodies.append(_hidden(common, "redacted", part.data))
        elif isinstance(part, OmittedReasoningContent):
            bodies.append(_hidden(common, "omitted", None))
    return bodies


def _hidden(common: Body, state: str, data: str | None) -> Body:
    return {"message_type": "hidden_reasoning_message", **common, "state": state, "hidden_reasoning": data}


def _reasoning(text: str) -> Body:
    return {"reasoning": text, "source": "non_reasoner_model", "signature": None}


def return_body(msg: str, status: Literal["success", "error"], msg_obj: Message, chunk_index: int | None) -> Body:
    """Return the message of a tool's return; a stored status counts more than the one in the text."""
    if msg_obj.tool_call_id is None:
        raise InvalidRecord("a tool's return needs msg_obj.tool_call_id: it names the call that it answers")
    stored = msg_obj.tool_returns[0] if msg_obj.tool_returns else None
    return {
        "message_type": "tool_return_message",
        **_common(msg_obj, chunk_index),
        "tool_return": msg,
        "status": stored.status if stored else status,
        "tool_call_id": msg_obj.tool_call_id,
        "stdout": stored.stdout if stored else None,
        "stderr": stored.stderr if stored else None,
    }


def _first_call(msg_obj: Message) -> OpenAIToolCall:
    if not msg_obj.tool_calls:
        raise InvalidRecord("'Running …' needs msg_obj.tool_calls: the call that runs is the first of them")
    return msg_obj.tool_calls[0]


def call_body(msg_obj: Message, chunk_index: int | None, assistant: tuple[str, str] | None) -> Body:
    """Return the message of a call that runs. `assistant`: name and kwarg of the tool that speaks to the user."""
    call = _first_call(msg_obj)
    common = _common(msg_obj, chunk_index)
    if assistant is not None and call.function.name == assistant[0]:
        arguments = read_leniently(call.function.arguments)
        if isinstance(arguments, dict) and assistant[1] in arguments:
            content = as_shown_text(arguments[assistant[1]])
            return {"message_type": "assistant_message", **common, "content": content, "tool_call_id": call.id}
    piece = {"name": call.function.name, "arguments": call.function.arguments, "tool_call_id": call.id}
    return {"message_type": "tool_call_message", **common, "tool_call": piece}


def legacy_bodies(msg_obj: Message, chunk_index: int | None, assistant: tuple[str, str]) -> list[Body]:
    """Return the messages of a call in the legacy style: `f({'a': 1})`, and what the assistant says in it."""
    call = _first_call(msg_obj)
    arguments = read_leniently(call.function.arguments)
    shown = call.function.arguments if arguments is UNREADABLE else arguments
    text = f"{call.function.name}({shown})"
    bodies: list[Body] = [
        {"message_type": "function_call", **_common(msg_obj, None), "name": None, "function_call": text}
    ]
    if call.function.name == assistant[0] and isinstance(arguments, dict) and assistant[1] in arguments:
        content = as_shown_text(arguments[assistant[1]])
        bodies.append({"message_type": "assistant_message", **_common(msg_obj, chunk_index), "content": content})
    return bodies


# --- queues that wake their readers ----------------------------------------------------------------


class _Mailbox(Generic[T]):
    """A queue that any thread may put into, and any number of event loops wait on. Nothing polls."""

    def __init__(self) -> None:
        self.items: deque[T] = deque()
        self.is_closed = False
        self._lock = threading.Lock()
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def put(self, item: T) -> None:
        self.items.append(item)
        self._wake()

    def open(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            waiters = tuple(self._waiters)
        for loop, event in waiters:
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:
                # That reader's loop is closed: nobody waits there any more.
                with self._lock:
                    self._waiters.discard((loop, event))

    async def next(self, timeout_s: float | None = None) -> T | None:
        """Return the next item, None when closed and empty. Raises TimeoutError when nothing came in time."""
        waiter = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._waiters.add(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    waiter[1].clear()
                    try:
                        return self.items.popleft()
                    except IndexError:
                        if self.is_closed:
                            return None
                    await waiter[1].wait()
        finally:
            with self._lock:
                self._waiters.discard(waiter)


# --- the streaming interface -----------------------------------------------------------------------


class StreamingServerInterface:
    """Chunks and agent events in, messages out through `get_generator`.

    `streaming_mode` True: `process_chunk` makes the messages, and whole monologues and calls are left
    out, since they were streamed. False: they make the messages. `nonstreaming_legacy_mode`: calls in the
    legacy style. `timeout`: seconds after which a generator that gets nothing ends.
    """

    def __init__(
        self,
        multi_step: bool = True,  # noqa: FBT001, FBT002  # the reference's signature
        use_assistant_message: bool = False,  # noqa: FBT001, FBT002  # the reference's signature
        assistant_message_tool_name: str = ASSISTANT_MESSAGE_TOOL_NAME,
        assistant_message_tool_kwarg: str = ASSISTANT_MESSAGE_TOOL_KWARG,
        inner_thoughts_in_kwargs: bool = True,  # noqa: FBT001, FBT002  # the reference's signature
        inner_thoughts_kwarg: str = INNER_THOUGHTS_KWARG,
        *,
        publish: Publish | None = None,
    ) -> None:
        self.streaming_mode = False
        self.nonstreaming_legacy_mode = False
        self.multi_step = multi_step
        self.use_assistant_message = use_assistant_message
        self.assistant_message_tool_name = assistant_message_tool_name
        self.assistant_message_tool_kwarg = assistant_message_tool_kwarg
        self.inner_thoughts_in_kwargs = inner_thoughts_in_kwargs
        self.inner_thoughts_kwarg = inner_thoughts_kwarg
        self.metadata: dict[str, Any] = {}
        self.debug = False
        self.timeout: float = 10 * 60
        self._publish = publish
        self._mailbox: _Mailbox[LettaMessage] = _Mailbox()
        self._chunks = self._mailbox.items
        self._active = True
        self._adapter: Adapter = make_adapter("openai-chat")
        self._interface = Interface(self._settings(expect_reasoning_content=False), run_id=None)
        self._response_id: str | None = None
        self._head: Head | None = None
        self._factory: MessageFactory | None = None

    def _settings(self, *, expect_reasoning_content: bool) -> StreamSettings:
        return StreamSettings.load(
            {
                "dialect": "letta",
                "provider": "openai-chat",
                "multi_step": self.multi_step,
                "use_assistant_message": self.use_assistant_message,
                "assistant_message_tool_name": self.assistant_message_tool_name,
                "assistant_message_tool_kwarg": self.assistant_message_tool_kwarg,
                "inner_thoughts_in_kwargs": self.inner_thoughts_in_kwargs,
                "inner_thoughts_kwarg": self.inner_thoughts_kwarg,
                "expect_reasoning_content": expect_reasoning_content,
            }
        )

    # --- out --------------------------------------------------------------------------------------

    def get_generator(self) -> AsyncGenerator[LettaMessage, None]:
        """Return an async generator of the messages; it ends when the stream has ended and all is read.

        Raises SettingsError where this interface publishes: the messages are read from the router then.
        """
        if self._publish is not None:
            raise SettingsError("this interface publishes its messages; read them with subscribe(request_id)")
        return self._create_generator()

    async def _create_generator(self) -> AsyncGenerator[LettaMessage, None]:
        while True:
            try:
                message = await self._mailbox.next(self.timeout)
            except TimeoutError:
                return
            if message is None:
                return
            yield message

    def _push_to_buffer(self, item: LettaMessage) -> None:
        """Put a message into the stream. Raises RequestEnded when it has ended."""
        self._check_active()
        if not isinstance(item, LettaMessage):
            raise InvalidRecord(f"expected a LettaMessage, got {type(item).__name__}")
        self._mailbox.put(item)

    def _check_active(self) -> None:
        if not self._active:
            raise RequestEnded("the stream has ended; call stream_start to begin another")

    def _push(self, emissions: list[Emission]) -> str | None:
        """Put pieces into the stream; return the type of the last one."""
        kind = None
        for head, text, extra in emissions:
            if self._factory is None or head is not self._head:
                self._head, self._factory = head, MessageFactory(head.fields)
            self._push_to_buffer(self._factory.make(text, extra, None))
            kind = head.kind
        return kind

    def _add(self, body: Body) -> None:
        self._check_active()
        if self._publish is None:
            self._push(self._interface.add(body))
        else:
            self._publish.message(body)

    # --- the stream -------------------------------------------------------------------------------

    def stream_start(self) -> None:
        """Begin a response; after an end, begin the stream again (what nobody read is dropped)."""
        self._response_id = None
        if not self._active:
            self._active = True
            self._chunks.clear()
            self._mailbox.open()

    def stream_end(self) -> None:
        """End the response: let out what was held back."""
        self._end_response()

    def step_complete(self) -> None:
        """End a step (response and tool run); without `multi_step` that ends the stream."""
        self._end_response()
        if self._publish is not None and self._active:
            self._publish.step_end()
        if not self.multi_step:
            self._end_stream()

    def step_yield(self) -> None:
        """End the stream: the agent waits for its user."""
        self._end_response()
        self._end_stream()

    @staticmethod
    def clear() -> None:
        """Do nothing, as in the reference."""

    def _end_response(self) -> None:
        self._response_id = None
        if self._active and self._publish is None:
            self._push(self._interface.feed(self._adapter.close()))
            self._push(self._interface.end_step())

    def _end_stream(self) -> None:
        if self._active and self._publish is not None:
            self._publish.finish()
        self._active = False
        self._mailbox.close()

    def process_chunk(
        self,
        chunk: Any,
        message_id: str,
        message_date: datetime,
        expect_reasoning_content: bool = False,  # noqa: FBT001, FBT002  # the reference's signature
        name: str | None = None,
        message_index: int = 0,  # noqa: ARG002  # the reference's signature; messages are counted here
    ) -> str | None:
        """Take one chat-completion chunk (a dict, or an object with `model_dump`).

        Returns the type of the last message that it gave, None for none, and always None when publishing.
        Raises RequestEnded after the stream's end, MalformedChunk for what is no chunk, InvalidRecord for
        a date that is none. A chunk with another `message_id` begins another response.
        """
        self._check_active()
        event = chunk.model_dump(mode="json", exclude_none=True) if isinstance(chunk, BaseModel) else chunk
        if message_id != self._response_id:
            self._start_response(message_id, message_date, name, expect_reasoning_content=expect_reasoning_content)
        if self._publish is not None:
            self._publish.chunk(event)
            return None
        return self._push(self._interface.feed(self._adapter.feed(event)))

    def _start_response(
        self, message_id: str, message_date: datetime, name: str | None, *, expect_reasoning_content: bool
    ) -> None:
        if not isinstance(message_date, datetime):
            raise InvalidRecord(f"message_date: expected a datetime, got {message_date!r:.80}")
        self._end_response()
        self._response_id = message_id
        date = iso_seconds(message_date)
        if self._publish is not None:
            fields = {"message_id": message_id, "date": date, "name": name}
            self._publish.step_start(**{key: value for key, value in fields.items() if value is not None})
            return
        self._adapter = make_adapter("openai-chat")
        self._interface.settings = self._settings(expect_reasoning_content=expect_reasoning_content)
        self._push(self._interface.start_step(message_id, date, name))

    # --- agent events -----------------------------------------------------------------------------

    def user_message(self, msg: str, msg_obj: Message | None = None) -> None:
        """Do nothing, as in the reference: the user knows what was said."""

    def assistant_message(self, msg: str, msg_obj: Message | None = None) -> None:
        """Do nothing, as in the reference: `function_message` shows what the assistant says."""

    def internal_monologue(self, msg: str, msg_obj: Message | None = None, chunk_index: int | None = None) -> None:
        """Show the agent's reasoning, unless it was streamed. Raises InvalidRecord without `msg_obj`."""
        if self.streaming_mode:
            return
        for body in monologue_bodies(msg, _required(msg_obj, "internal_monologue"), chunk_index):
            self._add(body)

    def function_message(self, msg: str, msg_obj: Message | None = None, chunk_index: int | None = None) -> None:
        """Show a tool's call ("Running …", unless it was streamed) or return ("Success: …", "Error: …").

        "Ran …" is left out. Raises InvalidRecord for any other text, and where `msg_obj` lacks what is needed.
        """
        msg_obj = _required(msg_obj, "function_message")
        assistant = (self.assistant_message_tool_name, self.assistant_message_tool_kwarg)
        if msg.startswith("Running "):
            if self.streaming_mode:
                return
            if self.nonstreaming_legacy_mode:
                for body in legacy_bodies(msg_obj, chunk_index, assistant):
                    self._add(body)
            else:
                self._add(call_body(msg_obj, chunk_index, assistant if self.use_assistant_message else None))
        elif msg.startswith("Success: "):
            self._add(return_body(msg.removeprefix("Success: "), "success", msg_obj, chunk_index))
        elif msg.startswith("Error: "):
            self._add(return_body(msg.removeprefix("Error: "), "error", msg_obj, chunk_index))
        elif not msg.startswith("Ran "):
            raise InvalidRecord(
                f"function_message: expected text that starts with 'Running ', 'Ran ', 'Success: ' or 'Error: ', "
                f"got {msg[:80]!r}"
            )


# --- the queuing interface -------------------------------------------------------------------------

STOP: Literal["STOP"] = "STOP"


class _Item(NamedTuple):
    """One entry of the queue: how the legacy API shows it, and the stored message behind it."""

    api: dict[str, Any] | Literal["STOP"]
    obj: Message | None = None


class QueuingInterface:
    """Agent events in, a queue out: `to_list`, or `message_generator` up to the next end of a step.

    Style "api" gives the legacy API's dicts, style "obj" the stored messages.
    """

    def __init__(self, debug: bool = True, *, publish: Publish | None = None) -> None:  # noqa: FBT001, FBT002
        self.debug = debug
        self._publish = publish
        self._mailbox: _Mailbox[_Item] = _Mailbox()

    # --- out --------------------------------------------------------------------------------------

    def to_list(self, style: Literal["obj", "api"] = "obj") -> list[Any]:
        """Empty the queue into a list; of each stored message only the last entry counts in style "obj"."""
        _check_style(style)
        items: list[_Item] = []
        queue = self._mailbox.items
        while queue:
            items.append(queue.popleft())
        if style == "api":
            return [item.api for item in items if item.api != STOP]
        last = {item.obj.id: item.obj for item in reversed(items) if item.obj is not None}
        return list(reversed(last.values()))

    async def message_generator(self, style: Literal["obj", "api"] = "obj") -> AsyncGenerator[Any, None]:
        """Yield entries as they come, up to the end of the step. An error is a dict in both styles."""
        _check_style(style)
        while True:
            item = await self._mailbox.next()
            if item is None or item.api == STOP:
                return
            yield item.api if style == "api" or item.obj is None else item.obj

    def clear(self) -> None:
        """Empty the queue."""
        self._mailbox.items.clear()

    # --- in ---------------------------------------------------------------------------------------

    def _queue_push(self, message_api: dict[str, Any] | Literal["STOP"], message_obj: Message | None) -> None:
        self._mailbox.put(_Item(message_api, message_obj))

    def step_yield(self) -> None:
        """End the step: generators end here."""
        if self._publish is not None:
            self._publish.finish()
            return
        self._queue_push(STOP, None)

    @staticmethod
    def step_complete() -> None:
        """Do nothing, as in the reference."""

    def error(self, error: str) -> None:
        """Queue an error, and the end of the step."""
        if self._publish is not None:
            self._publish.fail("internal_error", error)
            return
        self._queue_push({"internal_error": error}, None)
        self._queue_push(STOP, None)

    def user_message(self, msg: str, msg_obj: Message | None = None) -> None:  # noqa: ARG002  # the reference's signature
        """Do nothing but check. Raises InvalidRecord without `msg_obj`."""
        _required(msg_obj, "user_message")

    def internal_monologue(self, msg: str, msg_obj: Message | None = None, chunk_index: int | None = None) -> None:
        """Queue the agent's reasoning. Raises InvalidRecord without `msg_obj`, or where its date is not UTC."""
        msg_obj = _required(msg_obj, "internal_monologue")
        if self._publish is not None:
            for body in monologue_bodies(msg, msg_obj, chunk_index):
                self._publish.message(body)
            return
        self._queue_push({"internal_monologue": msg, **_metadata(msg_obj)}, msg_obj)

    def assistant_message(self, msg: str, msg_obj: Message | None = None) -> None:
        """Queue what the agent says; without `msg_obj` it belongs to the message queued last.

        Raises InvalidRecord where there is none.
        """
        if self._publish is not None:
            common = _common(msg_obj, None) if msg_obj is not None else {}
            self._publish.message({"message_type": "assistant_message", **common, "content": msg})
            return
        if msg_obj is None:
            queue = self._mailbox.items
            msg_obj = queue[-1].obj if queue else None
        if msg_obj is None:
            raise InvalidRecord("assistant_message needs msg_obj: there is no message in the queue it could belong to")
        self._queue_push({"assistant_message": msg, **_metadata(msg_obj)}, msg_obj)

    def function_message(
        self,
        msg: str,
        msg_obj: Message | None = None,
        include_ran_messages: bool = False,  # noqa: FBT001, FBT002  # the reference's signature
        chunk_index: int | None = None,
    ) -> None:
        """Queue a tool's call or return. Raises InvalidRecord without `msg_obj`, or where its date is not UTC."""
        msg_obj = _required(msg_obj, "function_message")
        if self._publish is not None:
            self._publish_function(msg, msg_obj, chunk_index)
            return
        if msg.startswith("Running "):
            api = {"function_call": msg.removeprefix("Running ")}
        elif msg.startswith("Ran "):
            if not include_ran_messages:
                return
            api = {"function_call": f"Function call returned: {msg.removeprefix('Ran ')}"}
        elif msg.startswith("Success: "):
            api = {"function_return": msg.removeprefix("Success: "), "status": "success"}
        elif msg.startswith("Error: "):
            api = {"function_return": msg.removeprefix("Error: "), "status": "error"}
        else:
            api = {"function_message": msg}
        self._queue_push({**api, **_metadata(msg_obj)}, msg_obj)

    def _publish_function(self, msg: str, msg_obj: Message, chunk_index: int | None) -> None:
        publish = self._publish
        if publish is None:
            return
        if msg.startswith("Running "):
            publish.message(call_body(msg_obj, chunk_index, None))
        elif msg.startswith("Success: "):
            publish.message(return_body(msg.removeprefix("Success: "), "success", msg_obj, chunk_index))
        elif msg.startswith("Error: "):
            publish.message(return_body(msg.removeprefix("Error: "), "error", msg_obj, chunk_index))


def _check_style(style: str) -> None:
    if style not in ("obj", "api"):
        raise InvalidRecord(f"style: expected 'obj' or 'api', got {style!r}")


def _metadata(msg_obj: Message) -> dict[str, str]:
    if msg_obj.created_at.tzinfo is None or msg_obj.created_at.utcoffset() != timedelta(0):
        raise InvalidRecord(f"msg_obj.created_at: expected a date in UTC, got {msg_obj.created_at.isoformat()}")
    return {"id": str(msg_obj.id), "date": msg_obj.created_at.isoformat()}

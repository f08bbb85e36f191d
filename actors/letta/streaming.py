"""`StreamingServerInterface`: chunks and agent events in, messages out through a generator.

Theory. A stream is active from its start; it ends with `step_yield`, or with `step_complete` if there is
only one step, and may be started again. An ended stream takes nothing more, but what is in the mailbox can
still be read. Within a stream, the chunks of one `message_id` are one response:

    ENDED --stream_start--> ACTIVE --process_chunk--> ACTIVE, in a response
    in a response --chunk with another id, stream_start, stream_end, step_complete, step_yield--> response over
    ACTIVE --step_yield, or step_complete without multi_step--> ENDED

When a response is over, what the interface holds back is let out.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from actors.errors import InvalidRecord, RequestEnded, SettingsError
from actors.interface import Interface
from actors.letta.bodies import (
    STATUSES,
    Body,
    FunctionEvent,
    call_body,
    legacy_bodies,
    monologue_bodies,
    return_body,
    split_event,
)
from actors.letta.mailbox import Mailbox
from actors.letta.message import Message, required
from actors.letta.publisher import Publish
from actors.message_factory import MessageFactory
from actors.messages import Head, LettaMessage, MessagePiece, iso_seconds
from actors.providers import Adapter, make_adapter
from actors.settings import (
    ASSISTANT_MESSAGE_TOOL_KWARG,
    ASSISTANT_MESSAGE_TOOL_NAME,
    INNER_THOUGHTS_KWARG,
    StreamSettings,
)


class StreamingServerInterface:
    """Chunks and agent events in, messages out through `get_generator`.

    Attributes of the reference that a loop sets: `streaming_mode` True: `process_chunk` makes the messages,
    and whole monologues and calls are left out; False: the whole ones make the messages.
    `nonstreaming_legacy_mode` True: calls are shown in the legacy style. `timeout`: seconds after which a
    generator that gets nothing ends.
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
        self._mailbox: Mailbox[LettaMessage] = Mailbox()
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
        """Return an async generator of the messages. It ends when the stream has ended and all is read.

        Raises SettingsError if this interface publishes: then the messages are read from the router.
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

    def _push(self, pieces: list[MessagePiece]) -> str | None:
        """Put pieces into the stream; return the type of the last one."""
        kind = None
        for head, text, extra in pieces:
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
        """Begin a response. After the stream's end, begin it again and drop what was not read."""
        self._response_id = None
        if not self._active:
            self._active = True
            self._chunks.clear()
            self._mailbox.open()

    def stream_end(self) -> None:
        """End the response: let out what is held back."""
        self._end_response()

    def step_complete(self) -> None:
        """End a step (a response and its tool runs). Without `multi_step` that ends the stream."""
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

        Returns the type of the last message that the chunk gives; None if it gives none, or when publishing.
        A chunk with another `message_id` begins another response. Raises RequestEnded after the stream's
        end, MalformedChunk if this is no chunk, InvalidRecord if the date is no datetime.
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
        """Do nothing, as in the reference: the user knows the message."""

    def assistant_message(self, msg: str, msg_obj: Message | None = None) -> None:
        """Do nothing, as in the reference: `function_message` shows what the assistant says."""

    def internal_monologue(self, msg: str, msg_obj: Message | None = None, chunk_index: int | None = None) -> None:
        """Show the agent's reasoning, unless it was streamed. Raises InvalidRecord without `msg_obj`."""
        if self.streaming_mode:
            return
        for body in monologue_bodies(msg, required(msg_obj, "internal_monologue"), chunk_index):
            self._add(body)

    def function_message(self, msg: str, msg_obj: Message | None = None, chunk_index: int | None = None) -> None:
        """Show a tool's call ("Running …", unless it was streamed) or return ("Success: …", "Error: …").

        "Ran …" is left out. Raises InvalidRecord for any other text, or if `msg_obj` lacks a needed field.
        """
        msg_obj = required(msg_obj, "function_message")
        event, text = split_event(msg)
        if event is None:
            raise InvalidRecord(
                "function_message: expected text that starts with 'Running ', 'Ran ', 'Success: ' or 'Error: ', "
                f"got {msg[:80]!r}"
            )
        if event in STATUSES:
            self._add(return_body(text, STATUSES[event], msg_obj, chunk_index))
        elif event is FunctionEvent.CALLED and not self.streaming_mode:
            self._show_call(msg_obj, chunk_index)

    def _show_call(self, msg_obj: Message, chunk_index: int | None) -> None:
        assistant = (self.assistant_message_tool_name, self.assistant_message_tool_kwarg)
        if not self.nonstreaming_legacy_mode:
            self._add(call_body(msg_obj, chunk_index, assistant if self.use_assistant_message else None))
            return
        for body in legacy_bodies(msg_obj, chunk_index, assistant):
            self._add(body)

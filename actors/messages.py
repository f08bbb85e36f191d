"""The typed messages that come out, and the head-and-pieces form in which they travel inside.

Field names and types are those of Letta's API (`letta/schemas/letta_message.py`, Letta 0.7.8), with
`run_id` (the request ID), `seq_id`, and the later API's `stop_reason`, `usage_statistics`,
`error_message` and `ping`.

Theory. A streamed message is many pieces that share id, date, name, otid and so on, and one growing text.
Inside, and on the wire, it is one `Head` (the shared fields) and a row of pieces (text, and sometimes an
`extra` field such as the tool's name or the reasoning's signature). A piece costs
little more than its text. `MessagePiece` is one piece with its head. Pydantic is used only where messages are
handed to a user: `message_factory.py` makes models, `as_dict` makes plain dicts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import msgspec
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    field_serializer,
    model_serializer,
)

# --- what a user sees ---------------------------------------------------------------------------


# The reference has none of these keys. Only requests that ask for all choices, or name their steps, have the last two.
_LEFT_OUT = ("run_id", "seq_id", "choice_index", "step_id")


def _leave_out(data: dict[str, Any], keys: Iterable[str]) -> None:
    """Leave out of a message's JSON those of these keys that are not set."""
    for key in keys:
        if data.get(key) is None:
            data.pop(key, None)


class LettaMessage(BaseModel):
    """The fields that all messages share. `seq_id` is the place in the request's log, counted from 1."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="ignore")

    id: str
    date: datetime
    name: str | None = None
    message_type: str
    otid: str | None = None
    sender_id: str | None = None
    run_id: str | None = None
    seq_id: int | None = None
    choice_index: int | None = None
    step_id: str | None = Field(None, description="The step that it belongs to, where its publisher names steps.")

    @field_serializer("date")
    def _date_to_iso(self, date: datetime) -> str:
        return iso_seconds(date)

    if not TYPE_CHECKING:  # else checkers would let anything be set

        def __setattr__(self, name: str, value: Any) -> None:
            """Set a field. Messages share the set of names of those that are set, until one of them is changed."""
            object.__setattr__(self, "__pydantic_fields_set__", self.__pydantic_fields_set__.copy())
            super().__setattr__(name, value)

    @model_serializer(mode="wrap")
    def _leave_out_what_is_not_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        _leave_out(data, _LEFT_OUT)
        return data


class UserMessage(LettaMessage):
    """A message sent by the user, as an agent loop reports it."""

    message_type: Literal["user_message"] = "user_message"
    content: str | list[dict[str, Any]]


class SystemMessage(LettaMessage):
    """A message of the system, as an agent loop reports it."""

    message_type: Literal["system_message"] = "system_message"
    content: str


class ReasoningMessage(LettaMessage):
    """A piece of the agent's reasoning: native (`reasoner_model`) or prompted inner thoughts."""

    message_type: Literal["reasoning_message"] = "reasoning_message"
    source: Literal["reasoner_model", "non_reasoner_model"] = "non_reasoner_model"
    reasoning: str
    signature: str | None = None


class HiddenReasoningMessage(LettaMessage):
    """Reasoning that the provider redacted (opaque data) or omitted (none)."""

    message_type: Literal["hidden_reasoning_message"] = "hidden_reasoning_message"
    state: Literal["redacted", "omitted"]
    hidden_reasoning: str | None = None


class ToolCallDelta(BaseModel):
    """A piece of a tool call, or all of it. `name` comes with the first piece only."""

    name: str | None = None
    arguments: str | None = None
    tool_call_id: str | None = None


class ToolCallMessage(LettaMessage):
    """A tool call. Keys that are null are left out of its JSON, as in the reference."""

    message_type: Literal["tool_call_message"] = "tool_call_message"
    tool_call: ToolCallDelta
    provider_executed: bool | None = Field(None, description="True: the provider runs this tool itself.")
    signature: str | None = Field(None, description="What the provider wants back with this call.")

    @model_serializer(mode="wrap")
    def _leave_out_nulls(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data = {key: value for key, value in handler(self).items() if value is not None}
        data["tool_call"] = {key: value for key, value in data["tool_call"].items() if value is not None}
        return data


class ToolReturnMessage(LettaMessage):
    """The return of a tool."""

    message_type: Literal["tool_return_message"] = "tool_return_message"
    tool_return: str
    status: Literal["success", "error"]
    tool_call_id: str
    stdout: list[str] | None = None
    stderr: list[str] | None = None
    provider_executed: bool | None = None

    @model_serializer(mode="wrap")
    def _leave_out_provider_executed(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        _leave_out(data, (*_LEFT_OUT, "provider_executed"))
        return data


class AssistantMessage(LettaMessage):
    """What the agent says to its user."""

    message_type: Literal["assistant_message"] = "assistant_message"
    content: str | list[dict[str, Any]]
    signature: str | None = Field(None, description="What the provider wants back with the call that this was.")

    @model_serializer(mode="wrap")
    def _leave_out_signature(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        _leave_out(data, (*_LEFT_OUT, "signature"))
        return data


class LegacyFunctionCallMessage(LettaMessage):
    """A whole tool call in the style of the legacy API: `f({'a': 1})`."""

    message_type: Literal["function_call"] = "function_call"
    function_call: str


class ErrorMessage(LettaMessage):
    """An error in the stream, named. What came before stays valid."""

    message_type: Literal["error_message"] = "error_message"
    error_type: str
    message: str
    detail: str | None = None


class StopReasonMessage(LettaMessage):
    """The terminal: why the request ended. `provider_reason` is the provider's own word."""

    message_type: Literal["stop_reason"] = "stop_reason"
    stop_reason: str
    provider_reason: str | None = None
    detail: str | None = None


class UsageStatisticsMessage(LettaMessage):
    """Tokens of all steps together; comes with the terminal. `reported` True: a provider gave the counts."""

    message_type: Literal["usage_statistics"] = "usage_statistics"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    step_count: int = 1
    reported: bool = False


class PingMessage(LettaMessage):
    """A keepalive, sent on request while no other message comes. Never in the log."""

    message_type: Literal["ping"] = "ping"


class GapMessage(LettaMessage):
    """Retention has dropped the messages `first_seq_id` to `last_seq_id`."""

    message_type: Literal["gap"] = "gap"
    first_seq_id: int
    last_seq_id: int


Message = Annotated[
    UserMessage
    | SystemMessage
    | ReasoningMessage
    | HiddenReasoningMessage
    | ToolCallMessage
    | ToolReturnMessage
    | AssistantMessage
    | LegacyFunctionCallMessage
    | ErrorMessage
    | StopReasonMessage
    | UsageStatisticsMessage
    | PingMessage
    | GapMessage,
    Field(discriminator="message_type"),
]

MODELS: dict[str, type[LettaMessage]] = {
    "user_message": UserMessage,
    "system_message": SystemMessage,
    "reasoning_message": ReasoningMessage,
    "hidden_reasoning_message": HiddenReasoningMessage,
    "tool_call_message": ToolCallMessage,
    "tool_return_message": ToolReturnMessage,
    "assistant_message": AssistantMessage,
    "function_call": LegacyFunctionCallMessage,
    "error_message": ErrorMessage,
    "stop_reason": StopReasonMessage,
    "usage_statistics": UsageStatisticsMessage,
    "ping": PingMessage,
    "gap": GapMessage,
}

MESSAGE_ADAPTER: TypeAdapter[Message] = TypeAdapter(Message)
"""Validates a message from a dict or JSON: `MESSAGE_ADAPTER.validate_python({...})`."""

# The field that a piece's text belongs to. Other types come whole: all fields are in the head.
TEXT_FIELDS: dict[str, str] = {
    "user_message": "content",
    "system_message": "content",
    "reasoning_message": "reasoning",
    "hidden_reasoning_message": "hidden_reasoning",
    "tool_return_message": "tool_return",
    "assistant_message": "content",
    "function_call": "function_call",
}
TOOL_CALL = "tool_call_message"


# --- how it travels -----------------------------------------------------------------------------

Fields = dict[str, Any]


@lru_cache(maxsize=256)
def _shared_names(*names: str) -> tuple[str, ...]:
    """Return the names of a message's fields: one tuple for all messages that have the same."""
    return names


class Head:
    """The fields that the pieces of one message share; made once per message.

    `fields` are the message's constant fields as JSON values (`date` an ISO string). For a
    `tool_call_message` they hold `tool_call_id`, not `tool_call`; a piece's text is its arguments,
    and the extra field `tool_name` of the first piece is its name.
    """

    __slots__ = ("_names", "_values", "kind", "packed_bytes")

    def __init__(self, kind: str, fields: Fields) -> None:
        if "message_type" not in fields:
            fields = {"message_type": kind, **fields}
        self.kind: str = kind
        # A log keeps these for each of its messages, and a dict of them would take three times as much.
        self._names = _shared_names(*fields)
        self._values = tuple(fields.values())
        # How many bytes the fields are where they cross; that they can be packed is found out here.
        self.packed_bytes: int = len(msgspec.msgpack.encode(fields))

    @property
    def fields(self) -> Fields:
        """A dict of them, made anew each time."""
        return dict(zip(self._names, self._values, strict=True))

    def __repr__(self) -> str:
        return f"Head({self.kind}, otid={self.fields.get('otid')})"


class MessagePiece(NamedTuple):
    """One piece of one message, as the interface gives it out.

    `text` None: nothing for the text field (a tool call's name; a message that comes whole).
    `extra`: fields of this piece alone (`tool_name`, `signature`).
    """

    head: Head
    text: str | None = None
    extra: Fields | None = None


# What a reader waits for most: one more piece of text. The constructor of a NamedTuple is a Python function with
# defaults to fill in; this makes the same without it, in about half the time.
new_piece: Callable[[tuple[Head, str | None, Fields | None]], MessagePiece] = partial(tuple.__new__, MessagePiece)

Out = list[MessagePiece]
"""Where the state machines of a request append what they give out."""


def as_dict(fields: Fields, text: str | None, extra: Fields | None, seq_id: int | None) -> Fields:
    """Return one piece as the plain dict that its model would dump to (shape: Letta's JSON)."""
    kind = fields["message_type"]
    data = dict(fields)
    if seq_id is not None:
        data["seq_id"] = seq_id
    if kind == TOOL_CALL:
        data["tool_call"] = _call_as_dict(data.pop("tool_call_id", None), text, extra)
        if extra and "signature" in extra:
            data["signature"] = extra["signature"]
        return data
    field = TEXT_FIELDS.get(kind)
    if field is not None and (text is not None or field not in data):
        data[field] = None if text is None and kind == "hidden_reasoning_message" else text or ""
    if extra:
        data.update(extra)
    return data


def _call_as_dict(tool_call_id: str | None, text: str | None, extra: Fields | None) -> Fields:
    call: Fields = {}
    if extra and "tool_name" in extra:
        call["name"] = extra["tool_name"]
    if text is not None:
        call["arguments"] = text
    if tool_call_id is not None:
        call["tool_call_id"] = tool_call_id
    return call


def coalesce(pieces: Iterable[MessagePiece]) -> Iterator[MessagePiece]:
    """Join adjacent pieces of one message: texts appended, extra fields merged."""
    head: Head | None = None
    texts: list[str] = []
    extra: Fields = {}
    for piece in pieces:
        if head is not None and piece.head is not head:
            yield MessagePiece(head, "".join(texts) if texts else None, extra or None)
            texts, extra = [], {}
        head = piece.head
        if piece.text is not None:
            texts.append(piece.text)
        if piece.extra:
            extra = {**extra, **piece.extra}
    if head is not None:
        yield MessagePiece(head, "".join(texts) if texts else None, extra or None)


# --- ids and dates ------------------------------------------------------------------------------


def otid_of(message_id: str, index: int) -> str | None:
    """Return the offline threading id of the `index`-th message of a response.

    The `message-` prefix is dropped, the rest read as a 128-bit number whose lowest seven bits
    become the index, written as a UUID (shared rule of the reference's `generate_otid_from_id`).
    Beyond 127 the index goes on into the bits above, so that no two messages of a response share
    an otid (the reference raises there). None for an id that is not a UUID.
    """
    digits = message_id.removeprefix("message-").replace("-", "")
    try:
        number = int(digits, 16)
    except ValueError:
        return None
    if number >> 128:
        return None
    number = (number & ~0x7F) | (index & 0x7F)
    number ^= (index >> 7) << 7
    text = f"{number & ((1 << 128) - 1):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def iso_seconds(date: datetime) -> str:
    """Return a date as ISO text in whole seconds; a naive date is taken as UTC."""
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return date.isoformat(timespec="seconds")

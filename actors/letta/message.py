"""The stored message that an agent loop hands to an interface, as a model.

Field names and types are those of Letta 0.7.8 (`letta/schemas/message.py`), as far as an interface reads
them. Unknown fields are ignored.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from actors.errors import InvalidRecord
from actors.messages import otid_of

_CHUNK_INDEX_MAX = 127


class _Part(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="ignore")


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
    """Images, and tool calls and returns as content: kept, but never shown."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow")

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
    """A stored message of an agent, as far as an interface reads it (field names of Letta's `Message`)."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="ignore")

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
        return part_otid(message_id, index)


def part_otid(message_id: str, index: int | None) -> str | None:
    """Return the otid of a message's `index`-th part, None without an index. Raises InvalidRecord outside 0 to 127."""
    if index is None:
        return None
    if not 0 <= index <= _CHUNK_INDEX_MAX:
        raise InvalidRecord(f"chunk_index: expected 0 to {_CHUNK_INDEX_MAX}, got {index}")
    return otid_of(message_id, index)


def required(msg_obj: Message | None, caller: str) -> Message:
    """Return a message that must be there. Raises InvalidRecord for None."""
    if msg_obj is None:
        raise InvalidRecord(f"{caller}: expected msg_obj, the stored message that has the id and date, got None")
    return msg_obj

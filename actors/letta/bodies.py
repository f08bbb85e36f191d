"""What a stored message says, as bodies of whole messages (`actors/records.py` has their fields).

Theory. An agent loop calls an interface with a text and the stored message behind it. The text of
`function_message` says by its first word what happened. What is shown comes from there and from the
stored message:

    "Running …"    a tool is called           the first of `tool_calls`
    "Ran …"        it has run                 not shown, unless the loop asks for it
    "Success: …"   it has returned            the text behind the word; `tool_returns` for status and output
    "Error: …"     it has failed              the same
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

from actors.errors import InvalidRecord
from actors.interface.json_text import UNREADABLE, as_shown_text, read_leniently
from actors.letta.message import (
    Content,
    Message,
    OmittedReasoningContent,
    OpenAIToolCall,
    OtherContent,
    ReasoningContent,
    RedactedReasoningContent,
    TextContent,
    part_otid,
)
from actors.messages import iso_seconds

Body = dict[str, Any]


class FunctionEvent(Enum):
    """What a text of `function_message` reports, by the words that it begins with."""

    CALLED = "Running "
    RAN = "Ran "
    RETURNED = "Success: "
    FAILED = "Error: "


STATUSES: dict[FunctionEvent, Literal["success", "error"]] = {
    FunctionEvent.RETURNED: "success",
    FunctionEvent.FAILED: "error",
}
"""The events that end a tool's run, and the status of its return."""


def split_event(msg: str) -> tuple[FunctionEvent | None, str]:
    """Return what a text of `function_message` reports, and the text behind those words; None and all if unknown."""
    for event in FunctionEvent:
        if msg.startswith(event.value):
            return event, msg.removeprefix(event.value)
    return None, msg


def common_fields(msg_obj: Message, chunk_index: int | None) -> Body:
    """Return the fields that every body has. `chunk_index`: the part's place in the message, None without an otid."""
    return {
        "id": msg_obj.id,
        "date": iso_seconds(msg_obj.created_at),
        "name": msg_obj.name,
        "otid": part_otid(msg_obj.id, chunk_index),
    }


def monologue_bodies(msg: str, msg_obj: Message, chunk_index: int | None) -> list[Body]:
    """Return the messages of an agent's monologue, one for each part of the stored message.

    If plain text is all that is stored, or nothing, `msg` is shown in its place: the loop may have shortened it.
    """
    common = common_fields(msg_obj, chunk_index)
    parts = msg_obj.content or []
    if not parts or (len(parts) == 1 and isinstance(parts[0], TextContent)):
        return [{"message_type": "reasoning_message", **common, **_reasoning(msg)}] if parts or msg else []
    bodies = (_part_body(common, part) for part in parts)
    return [body for body in bodies if body is not None]


def _part_body(common: Body, part: Content) -> Body | None:
    match part:
        case TextContent():
            return {"message_type": "reasoning_message", **common, **_reasoning(part.text)}
        case ReasoningContent():
            native = {"reasoning": part.reasoning, "source": "reasoner_model", "signature": part.signature}
            return {"message_type": "reasoning_message", **common, **native}
        case RedactedReasoningContent():
            return _hidden(common, "redacted", part.data)
        case OmittedReasoningContent():
            return _hidden(common, "omitted", None)
        case OtherContent():
            return None


def _hidden(common: Body, state: str, data: str | None) -> Body:
    return {"message_type": "hidden_reasoning_message", **common, "state": state, "hidden_reasoning": data}


def _reasoning(text: str) -> Body:
    return {"reasoning": text, "source": "non_reasoner_model", "signature": None}


def return_body(msg: str, status: Literal["success", "error"], msg_obj: Message, chunk_index: int | None) -> Body:
    """Return the message of a tool's return; a stored status counts first. Raises InvalidRecord without a call id."""
    if msg_obj.tool_call_id is None:
        raise InvalidRecord(
            "function_message: expected msg_obj.tool_call_id, the call that this return answers, got None"
        )
    stored = msg_obj.tool_returns[0] if msg_obj.tool_returns else None
    return {
        "message_type": "tool_return_message",
        **common_fields(msg_obj, chunk_index),
        "tool_return": msg,
        "status": stored.status if stored else status,
        "tool_call_id": msg_obj.tool_call_id,
        "stdout": stored.stdout if stored else None,
        "stderr": stored.stderr if stored else None,
    }


def _first_call(msg_obj: Message) -> OpenAIToolCall:
    if not msg_obj.tool_calls:
        raise InvalidRecord("function_message: 'Running …' shows the first of msg_obj.tool_calls, and there is none")
    return msg_obj.tool_calls[0]


def call_body(msg_obj: Message, chunk_index: int | None, assistant: tuple[str, str] | None) -> Body:
    """Return the message of a call. `assistant`: name and message argument of the tool that speaks to the user."""
    call = _first_call(msg_obj)
    common = common_fields(msg_obj, chunk_index)
    if assistant is not None and call.function.name == assistant[0]:
        arguments = read_leniently(call.function.arguments)
        if isinstance(arguments, dict) and assistant[1] in arguments:
            content = as_shown_text(arguments[assistant[1]])
            return {"message_type": "assistant_message", **common, "content": content, "tool_call_id": call.id}
    piece = {"name": call.function.name, "arguments": call.function.arguments, "tool_call_id": call.id}
    return {"message_type": "tool_call_message", **common, "tool_call": piece}


def legacy_bodies(msg_obj: Message, chunk_index: int | None, assistant: tuple[str, str]) -> list[Body]:
    """Return the messages of a call in the legacy style: `f({'a': 1})`, and the assistant's message in it."""
    call = _first_call(msg_obj)
    arguments = read_leniently(call.function.arguments)
    shown = call.function.arguments if arguments is UNREADABLE else arguments
    text = f"{call.function.name}({shown})"
    bodies: list[Body] = [
        {"message_type": "function_call", **common_fields(msg_obj, None), "name": None, "function_call": text}
    ]
    if call.function.name == assistant[0] and isinstance(arguments, dict) and assistant[1] in arguments:
        content = as_shown_text(arguments[assistant[1]])
        bodies.append({"message_type": "assistant_message", **common_fields(msg_obj, chunk_index), "content": content})
    return bodies

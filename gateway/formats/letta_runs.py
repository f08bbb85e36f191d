"""Requests as Letta's API shows runs, and what its clients send as what agents are called with. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from actors.errors import InvalidArgument
from actors.result import Result
from actors.stop_reasons import StopReason, is_failure
from gateway.formats.form import TERMINAL, Fields
from gateway.formats.letta import NOT_SHOWN, LettaJoiner, letta_message, letta_stop_reason, letta_usage
from router import RequestInfo

STREAM_TOKENS = "letta_stream_tokens"
"""The key of a run's metadata that says whether whoever started it wants pieces; a later reader gets the same."""

_ROLES = frozenset({"user", "system", "assistant"})


def run_of(info: RequestInfo, agent_tag: str) -> dict[str, Any]:
    """Return a request as a run."""
    return {
        "id": info.request_id,
        "agent_id": info.tags.get(agent_tag) or info.agent_id or "",
        "background": True,
        "completed_at": None,
        "conversation_id": None,
        "created_at": info.created_at.isoformat(),
        "metadata": info.metadata,
        "status": status_of(info),
        "stop_reason": None if info.stop_reason is None else letta_stop_reason(info.stop_reason),
    }


def status_of(info: RequestInfo) -> str:
    """Return Letta's word for how a request stands."""
    if info.stop_reason is None:
        return "created" if info.state == "waiting" else "running"
    if info.stop_reason == StopReason.CANCELLED:
        return "cancelled"
    return "failed" if is_failure(info.stop_reason) else "completed"


def response_of(result: Result) -> dict[str, Any]:
    """Return a request that has ended as the answer to a message that was not streamed."""
    messages = whole_messages([message.model_dump(mode="json") for message in result.messages])
    usage = {} if result.usage is None else result.usage.model_dump(mode="json")
    return {
        "messages": messages,
        "stop_reason": {"message_type": "stop_reason", "stop_reason": letta_stop_reason(result.stop_reason)},
        "usage": letta_usage(usage, result.request_id),
    }


def whole_messages(messages: Iterable[Fields]) -> list[dict[str, Any]]:
    """Return a request's messages, or pieces of them, as whole messages of Letta's, without the terminal."""
    joiner = LettaJoiner()
    whole = [one for message in messages for one in joiner.feed(message)]
    whole += joiner.take()
    hidden = NOT_SHOWN | TERMINAL | {"error_message"}
    return [letta_message(one) for one in whole if one["message_type"] not in hidden]


def input_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an agent is called with: the messages in OpenAI's chat form, and tools of the client's own.

    Raises InvalidArgument.
    """
    given = body.get("input")
    if given is not None and body.get("messages"):
        raise InvalidArgument("expected input or messages, and not both")
    messages = [{"role": "user", "content": given}] if given is not None else body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidArgument("expected messages, a list of at least one, or input")
    turns: list[dict[str, Any]] = []
    for number, message in enumerate(messages):
        turns += _turns(message, f"messages.{number}")
    asked: dict[str, Any] = {"messages": turns}
    tools = body.get("client_tools")
    if tools:
        asked["tools"] = [_tool(tool) for tool in tools]
    return asked


def _turns(message: Any, place: str) -> list[dict[str, Any]]:
    if not isinstance(message, dict):
        raise InvalidArgument(f"{place}: expected an object, got {type(message).__name__}")
    if message.get("type") == "tool_return":
        return [_return(one, place) for one in message.get("tool_returns") or ()]
    if message.get("type") == "approval":
        returns = [one for one in message.get("approvals") or () if isinstance(one, dict) and "tool_return" in one]
        if not returns:
            raise InvalidArgument(f"{place}: an approval without a tool_return; agents here ask for no other approval")
        return [_return(one, place) for one in returns]
    if message.get("role") not in _ROLES:
        raise InvalidArgument(f"{place}.role: expected user, system or assistant, got {message.get('role')!r:.40}")
    content = message.get("content")
    if not isinstance(content, (str, list)):
        raise InvalidArgument(f"{place}.content: expected text or a list of parts, got {type(content).__name__}")
    return [{"role": message["role"], "content": content}]


def _return(given: Any, place: str) -> dict[str, Any]:
    if not isinstance(given, dict) or not isinstance(given.get("tool_call_id"), str):
        raise InvalidArgument(f"{place}: a tool's return has a tool_call_id")
    content = given.get("tool_return")
    return {"role": "tool", "tool_call_id": given["tool_call_id"], "content": content if content is not None else ""}


def _tool(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise InvalidArgument("client_tools: each has a name")
    function = {key: given[key] for key in ("name", "description", "parameters") if given.get(key) is not None}
    return {"type": "function", "function": function}

"""The tool calls among the items of a Responses stream: who runs them, what they are given, what they gave back."""

from __future__ import annotations

from typing import Any

from actors.providers.adapter import as_dict, as_json_text, as_list, as_text

_CLIENT_CALLS = frozenset(
    {"function_call", "custom_tool_call", "local_shell_call", "computer_call", "apply_patch_call"}
)
_XAI_SEARCHES = frozenset({"x_user_search", "x_keyword_search", "x_semantic_search", "x_thread_fetch"})
_CALLS_BY_OTHER_NAMES = frozenset({"mcp_list_tools", "mcp_approval_request"})
ANSWERED_ELSEWHERE = frozenset({"shell_call", "tool_search_call", "mcp_approval_request"})
_OUTPUT_FIELDS = ("output", "outputs", "results", "result", "tools")
_NOT_ARGUMENTS = frozenset({"id", "type", "status", "call_id", "error", *_OUTPUT_FIELDS})


def is_call(kind: object) -> bool:
    """Tell whether items of this type are calls."""
    return isinstance(kind, str) and (kind.endswith("_call") or kind in _CALLS_BY_OTHER_NAMES)


def is_clients(item: dict[str, Any]) -> bool:
    """Tell whether the client, not the provider, has to run this call."""
    kind = item["type"]
    if kind == "custom_tool_call":
        return as_text(item.get("name")) not in _XAI_SEARCHES
    if kind == "shell_call":
        return as_dict(item.get("environment")).get("type") == "local"
    if kind == "tool_search_call":
        return item.get("execution") == "client"
    return kind in _CLIENT_CALLS


def name_of(item: dict[str, Any]) -> str | None:
    """Return a call's name: its own, or what its type says. None: a function call whose name is not known yet."""
    kind: str = item["type"]
    name = as_text(item.get("name")) if kind != "mcp_approval_request" else None
    if name is None and kind in ("function_call", "custom_tool_call"):
        return None
    return name or kind.removesuffix("_call")


def arguments_of(item: dict[str, Any]) -> str:
    """Return a call's arguments as text: JSON, or what a custom tool is given; empty where there are none."""
    kind = item["type"]
    if kind == "function_call":
        return as_json_text(item.get("arguments") or "")
    if kind == "custom_tool_call":
        return as_json_text(item.get("input") or "")
    if kind == "code_interpreter_call":
        return as_json_text({"code": item.get("code")})
    for field in ("arguments", "action"):
        if item.get(field) is not None and kind != "mcp_approval_request":
            return as_json_text(item[field])
    return as_json_text({field: value for field, value in item.items() if field not in _NOT_ARGUMENTS})


def output_of(item: dict[str, Any]) -> str:
    """Return what a tool gave back: the first output field that is there, logs as plain text."""
    for field in _OUTPUT_FIELDS:
        output = item.get(field)
        if output is not None:
            logs = [as_dict(part).get("logs") for part in as_list(output)]
            if logs and all(isinstance(log, str) for log in logs):
                return "\n".join(map(str, logs))
            return as_json_text(output)
    return ""

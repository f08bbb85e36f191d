"""One request as each API wants it. Pure.

Sources: the public API references of OpenAI (chat completions, Responses), Anthropic (Messages) and
Google (generateContent). Requests come in the words of OpenAI's chat API; what has no counterpart
elsewhere is put in by the request's own `body`.
"""

from __future__ import annotations

import json
from typing import Any

from actors.errors import ConfigError
from router.runs.endpoint import Api
from router.runs.requests import Request

# Anthropic wants a limit always.
ANTHROPIC_TOKENS_MAX = 4096


def build_body(api: Api, request: Request, default_model: str | None = None) -> dict[str, Any]:
    """Return the body to post. Raises ConfigError: no model, or content that this API's form cannot hold."""
    builders = {
        "openai-chat": _openai_chat,
        "openai-responses": _openai_responses,
        "anthropic-messages": _anthropic,
        "gemini": _gemini,
    }
    body = {**builders[api](request), **request.body}
    if api != "gemini":
        body = {"model": model_of(request, default_model), **body}
    return {key: value for key, value in body.items() if value is not None}


def model_of(request: Request, default_model: str | None) -> str:
    """Return the model to ask. Raises ConfigError where none is named."""
    model = request.model or request.body.get("model") or default_model
    if not isinstance(model, str):
        raise ConfigError(f"request {request.name!r} names no model, and the endpoint has none for all; set model")
    return model


def _openai_chat(request: Request) -> dict[str, Any]:
    system = [] if request.system is None else [{"role": "system", "content": request.system}]
    return {
        "messages": [*system, *request.turns] or None,
        "tools": list(request.tools) or None,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def _openai_responses(request: Request) -> dict[str, Any]:
    items: list[dict[str, Any]] = []
    for turn in request.turns:
        if turn["role"] == "tool":
            output = _text(turn, request)
            items.append({"type": "function_call_output", "call_id": turn.get("tool_call_id"), "output": output})
            continue
        if turn.get("content"):
            items.append({"role": turn["role"], "content": _text(turn, request)})
        items += [
            {"type": "function_call", "call_id": call.get("id"), **call["function"]}
            for call in turn.get("tool_calls") or ()
        ]
    return {
        "input": items or None,
        "instructions": request.system,
        "tools": [{"type": "function", **tool["function"]} for tool in request.tools] or None,
        "max_output_tokens": request.max_tokens,
        "temperature": request.temperature,
        "stream": True,
    }


def _anthropic(request: Request) -> dict[str, Any]:
    turns: list[dict[str, Any]] = []
    for turn in _spoken(request):
        role, blocks = "assistant" if turn["role"] == "assistant" else "user", _anthropic_blocks(turn, request)
        # Neighbours of one role are one message: several tool results belong together here.
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    tools = [
        {
            "name": tool["function"]["name"],
            "description": tool["function"].get("description", ""),
            "input_schema": tool["function"].get("parameters") or {"type": "object", "properties": {}},
        }
        for tool in request.tools
    ]
    return {
        "messages": turns or None,
        "system": _system(request),
        "tools": tools or None,
        "max_tokens": request.max_tokens or ANTHROPIC_TOKENS_MAX,
        "temperature": request.temperature,
        "stream": True,
    }


def _anthropic_blocks(turn: dict[str, Any], request: Request) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if turn["role"] == "tool":
        result = {"type": "tool_result", "tool_use_id": turn.get("tool_call_id"), "content": _text(turn, request)}
        blocks.append(result)
    elif turn.get("content"):
        blocks.append({"type": "text", "text": _text(turn, request)})
    blocks += [
        {"type": "tool_use", "id": call.get("id"), "name": call["function"]["name"], "input": _arguments(call)}
        for call in turn.get("tool_calls") or ()
    ]
    return blocks


def _gemini(request: Request) -> dict[str, Any]:
    names: dict[Any, str] = {}  # by the call's ID: Gemini knows a tool's return by the tool's name
    contents = [
        {
            "role": "model" if turn["role"] == "assistant" else "user",
            "parts": _gemini_parts(turn, request, names),
        }
        for turn in _spoken(request)
    ]
    system = _system(request)
    generation = {"maxOutputTokens": request.max_tokens, "temperature": request.temperature}
    generation = {key: value for key, value in generation.items() if value is not None}
    return {
        "contents": contents or None,
        "systemInstruction": {"parts": [{"text": system}]} if system is not None else None,
        "tools": [{"functionDeclarations": [tool["function"] for tool in request.tools]}] if request.tools else None,
        "generationConfig": generation or None,
    }


def _gemini_parts(turn: dict[str, Any], request: Request, names: dict[Any, str]) -> list[dict[str, Any]]:
    """Return a turn's parts; `names` is read for tool returns, and learns the turn's own calls."""
    parts: list[dict[str, Any]] = []
    if turn["role"] == "tool":
        name = names.get(turn.get("tool_call_id"), str(turn.get("name") or ""))
        parts.append({"functionResponse": {"name": name, "response": {"result": _text(turn, request)}}})
    elif turn.get("content"):
        parts.append({"text": _text(turn, request)})
    for call in turn.get("tool_calls") or ():
        name = names[call.get("id")] = call["function"]["name"]
        parts.append({"functionCall": {"name": name, "args": _arguments(call)}})
    return parts


_SYSTEM_ROLES = frozenset({"system", "developer"})


def _system(request: Request) -> str | None:
    """Return the request's system text and that of its system turns as one; None where there is none."""
    texts = [] if request.system is None else [request.system]
    texts += [_text(turn, request) for turn in request.turns if turn["role"] in _SYSTEM_ROLES]
    return "\n\n".join(texts) or None


def _spoken(request: Request) -> list[dict[str, Any]]:
    """Return the turns without the system's, for APIs that keep system text apart."""
    return [turn for turn in request.turns if turn["role"] not in _SYSTEM_ROLES]


def _arguments(call: dict[str, Any]) -> Any:
    return json.loads(call["function"].get("arguments") or "{}")


def _text(turn: dict[str, Any], request: Request) -> str:
    """Return a turn's content as text. Raises ConfigError for parts that are none (images, say)."""
    content = turn.get("content")
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        return "".join(str(part.get("text", "")) for part in content)
    raise ConfigError(
        f"request {request.name!r}: only text is put into this API's form by itself; give other content in `body`, as "
        "the API wants it"
    )

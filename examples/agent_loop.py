"""An agent loop: think, call tools, run them, go on until there is an answer; every step live through the router.

    python examples/agent_loop.py "What is 17 * 23, what is (4 + 5) / 2, and how long is README.md?"

By itself it talks to the stand-in of `local_model.py`. With a real model:

    OPENAI_API_KEY=... python examples/agent_loop.py --base-url https://api.openai.com --model gpt-4.1-mini "..."

The provider's chunks go into the request as they come. What the agent adds of its own are the ends of
steps and the tools' returns; a reader sees all of it as one ordered stream of messages.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import operator
import os
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import local_model

from router import Publisher, StreamRouter, StreamSettings
from router.sources import HttpSource

STEPS_MAX = 8
QUESTION = "What is 17 * 23, what is (4 + 5) / 2, what is 1 / 0, and how many lines has README.md?"

# --- the tools ----------------------------------------------------------------------------------

_OPERATORS: dict[type[ast.AST], Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
}


def calculate(expression: str) -> str:
    """Work out a sum of numbers, + - * / and brackets."""

    def value(node: ast.AST) -> float:
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            return node.value
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](value(node.left), value(node.right))
        if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](value(node.operand))
        raise ValueError(f"not a sum: {ast.unparse(node)}")

    return str(value(ast.parse(expression, mode="eval").body))


def count_lines(path: str) -> str:
    """Count the lines of a text file beneath the current folder."""
    file = (Path.cwd() / path).resolve()
    if not file.is_relative_to(Path.cwd()):
        raise ValueError("only files beneath the current folder may be read")
    return f"{len(file.read_text().splitlines())} lines"


TOOLS: dict[str, Callable[..., str]] = {"calculate": calculate, "count_lines": count_lines}
_PARAMETERS = {"calculate": "expression", "count_lines": "path"}
TOOL_SCHEMAS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": tool.__doc__,
            "parameters": {
                "type": "object",
                "properties": {_PARAMETERS[name]: {"type": "string"}},
                "required": [_PARAMETERS[name]],
            },
        },
    }
    for name, tool in TOOLS.items()
]


async def run_tool(call: dict[str, Any]) -> tuple[str, str]:
    """Run one tool call; return (text, "success" or "error"). A tool that fails is an answer, not a crash."""
    try:
        arguments = json.loads(call["arguments"] or "{}")
        return await asyncio.to_thread(TOOLS[call["name"]], **arguments), "success"
    except Exception as error:  # noqa: BLE001 - whatever a tool raises, the model should hear of it
        return f"{type(error).__name__}: {error}", "error"


# --- the loop -----------------------------------------------------------------------------------


class Turn:
    """What one response of the model said, gathered from its chunks: the agent has to send it back."""

    def __init__(self) -> None:
        self.text = ""
        self.calls: dict[int, dict[str, Any]] = {}

    def add(self, payload: bytes) -> None:
        """Take the next chunk."""
        if payload == b"[DONE]":
            return
        for choice in json.loads(payload).get("choices", []):
            delta = choice.get("delta", {})
            self.text += delta.get("content") or ""
            for part in delta.get("tool_calls") or []:
                call = self.calls.setdefault(part["index"], {"id": "", "name": "", "arguments": ""})
                call["id"] = part.get("id") or call["id"]
                function = part.get("function", {})
                call["name"] += function.get("name") or ""
                call["arguments"] += function.get("arguments") or ""

    def as_message(self) -> dict[str, Any]:
        """Return it as the model wants it back."""
        calls = [
            {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
            for call in self.calls.values()
        ]
        return {"role": "assistant", "content": self.text or None, **({"tool_calls": calls} if calls else {})}


async def agent(stream: Publisher, source: HttpSource, model: str, question: str) -> None:
    """Answer a question in as many steps as it takes, and publish all of it."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": question}]
    for _ in range(STEPS_MAX):
        turn = Turn()
        body = {"model": model, "messages": messages, "tools": TOOL_SCHEMAS, "stream": True}
        async for payload in source.stream("/v1/chat/completions", body):
            turn.add(payload)
            await stream.chunk(payload)
        await stream.step_end()
        messages.append(turn.as_message())
        if not turn.calls:
            return
        # The provider is silent now; that is a tool at work and no stall.
        async with stream.tool_running():
            returns = await asyncio.gather(*(run_tool(call) for call in turn.calls.values()))
        for call, (text, status) in zip(turn.calls.values(), returns, strict=True):
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": text})
            await stream.message(
                {
                    "message_type": "tool_return_message",
                    "tool_call_id": call["id"],
                    "tool_return": text,
                    "status": status,
                }
            )
    await stream.fail("too_many_steps", f"no answer after {STEPS_MAX} steps")


# --- somebody who watches -----------------------------------------------------------------------


async def watch(router: StreamRouter, request_id: str) -> None:
    """Print what the agent does, as it does it. Could be any process of the cluster."""
    shown = None
    async for batch in router.subscribe(request_id, format="dict"):
        for message in batch:
            kind = message["message_type"]
            # Pieces of one message have one otid; a new one begins a new line.
            if message.get("otid") != shown or message.get("otid") is None:
                shown = message.get("otid")
                print(f"\n{kind:20}", end="", flush=True)
            print(_text(message), end="", flush=True)
    print()


def _text(message: dict[str, Any]) -> str:
    match message["message_type"]:
        case "reasoning_message":
            return str(message["reasoning"])
        case "tool_call_message":
            call = message["tool_call"]
            return f"{call.get('name') or ''}{call.get('arguments') or ''}"
        case "tool_return_message":
            return f"{message['tool_return']} ({message['status']})"
        case "stop_reason":
            return str(message["stop_reason"])
        case "usage_statistics":
            return f"{message['step_count']} steps"
        case _:
            return str(message.get("content", ""))


async def main() -> None:
    """Run one agent and one reader."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", nargs="?", default=QUESTION)
    parser.add_argument("--base-url", help="an OpenAI-compatible endpoint; the key comes from OPENAI_API_KEY")
    parser.add_argument("--model", default="local")
    given = parser.parse_args()
    request_id = f"agent-{uuid.uuid4().hex[:8]}"
    async with AsyncExitStack() as stack:
        url = given.base_url or await stack.enter_async_context(local_model.serve())
        key = os.environ.get("OPENAI_API_KEY") if given.base_url else None
        headers = {"authorization": f"Bearer {key}"} if key else {}
        source = await stack.enter_async_context(HttpSource(url, headers=headers))
        router = await stack.enter_async_context(StreamRouter.start())
        reader = asyncio.create_task(watch(router, request_id))
        async with router.publish(request_id, StreamSettings(dialect="chat")) as stream:
            await agent(stream, source, given.model, given.question)
        await reader


if __name__ == "__main__":
    asyncio.run(main())

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
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import local_model

from actors.messages import Message
from router import Publisher, StreamRouter
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


async def agent(stream: Publisher, base_url: str, model: str, question: str) -> None:
    """Answer a question in as many steps as it takes, and publish all of it. It runs in a process of its own."""
    key = os.environ.get("OPENAI_API_KEY")
    messages: list[dict[str, Any]] = [{"role": "user", "content": question}]
    async with HttpSource(base_url, headers={"authorization": f"Bearer {key}"} if key else {}) as source:
        for step in range(1, STEPS_MAX + 1):
            await stream.step_start(step_id=f"step-{step}")
            turn = Turn()
            body = {"model": model, "messages": messages, "tools": TOOL_SCHEMAS, "stream": True}
            async for payload in source.stream("/v1/chat/completions", body):
                turn.add(payload)
                await stream.chunk(payload)
            await stream.step_end()
            messages.append(turn.as_message())
            if not turn.calls:
                return
            messages += await run_tools(stream, turn)
    raise RuntimeError(f"no answer after {STEPS_MAX} steps")


async def run_tools(stream: Publisher, turn: Turn) -> list[dict[str, Any]]:
    """Run the tools that were called, and publish what they return; return that as the model wants it back."""
    # The provider is silent now; that is a tool at work and no stall.
    async with stream.tool_running():
        returns = await asyncio.gather(*(run_tool(call) for call in turn.calls.values()))
    told: list[dict[str, Any]] = []
    for call, (text, status) in zip(turn.calls.values(), returns, strict=True):
        told.append({"role": "tool", "tool_call_id": call["id"], "content": text})
        await stream.message(
            {"message_type": "tool_return_message", "tool_call_id": call["id"], "tool_return": text, "status": status}
        )
    return told


# --- somebody who watches -----------------------------------------------------------------------


def text_of(message: Message) -> str:
    """Return what a message says, in a line."""
    text: Any = ""
    match message.message_type:
        case "reasoning_message":
            text = message.reasoning
        case "tool_call_message":
            text = f"{message.tool_call.name}{message.tool_call.arguments}"
        case "tool_return_message":
            text = f"{message.tool_return} ({message.status})"
        case "assistant_message":
            text = message.content
        case "stop_reason":
            text = message.stop_reason
        case "usage_statistics":
            text = f"{message.step_count} steps"
    return str(text)


async def main() -> None:
    """Run one agent, and print what it does as it does it. That could be done in any process of the cluster."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", nargs="?", default=QUESTION)
    parser.add_argument("--base-url", help="an OpenAI-compatible endpoint; the key comes from OPENAI_API_KEY")
    parser.add_argument("--model", default="local")
    given = parser.parse_args()
    async with AsyncExitStack() as stack:
        url = given.base_url or await stack.enter_async_context(local_model.serve())
        router = await stack.enter_async_context(StreamRouter.start())
        run = router.start(agent, url, given.model, given.question, settings={"dialect": "chat"})
        async for message in run.messages():
            print(f"{message.step_id or '':8}{message.message_type:20} {text_of(message)}")
        result = await run
        print(f"\n{result.answer}")


if __name__ == "__main__":
    asyncio.run(main())

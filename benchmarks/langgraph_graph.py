"""The graph that LangGraph's own server runs for `benchmarks.gateway`: a node that asks, one that stands for a model.

It is imported by that server, with the interpreter that has it. The model says the lines that come from the benchmark
on a connection of the run's own; the stream writer is the way that costs least.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import StreamWriter


class State(TypedDict):
    """What goes from node to node: the run's key, by which the benchmark knows it."""

    key: str


async def ask(state: State) -> State:
    """Pass on what was asked."""
    return state


async def model(state: State, writer: StreamWriter) -> State:
    """Say what comes, line by line, until there is no more."""
    lines, asking = await asyncio.open_connection("127.0.0.1", int(os.environ["BENCH_LINES_PORT"]))
    asking.write(state["key"].encode() + b"\n")
    async for line in lines:
        writer({"message_type": "assistant_message", "content": line.decode().rstrip()})
    asking.close()
    return state


def _made() -> Any:
    making: Any = StateGraph(State)
    making.add_node("ask", ask)
    making.add_node("model", model)
    making.add_edge(START, "ask")
    making.add_edge("ask", "model")
    making.add_edge("model", END)
    return making.compile()


graph: Any = _made()

"""LangGraph's `RemoteGraph`: an agent behind a gateway as a graph, or a node of one. `make test-sources` runs it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.fakes import served
from tests.gateway.said import chat_chunk, translated

remote: Any = pytest.importorskip("langgraph.pregel.remote", reason="`make test-sources` installs LangGraph")

TEXT = translated([chat_chunk({"content": "Hel"}), chat_chunk({"content": "lo"}), chat_chunk({}, "stop")])
FAILED = translated([chat_chunk({"content": "Hel"}), b'{"error": {"message": "overloaded"}}'])
ASKED = {"messages": [("user", "Hi")]}
THREAD = {"configurable": {"thread_id": "thread-1"}}


async def test_an_agent_is_a_graph_that_is_elsewhere():
    async with served() as gateway:
        gateway.runners.says = TEXT
        graph = remote.RemoteGraph("ada", url=gateway.url, api_key=None)
        for config in (THREAD, None):
            (message,) = (await graph.ainvoke(ASKED, config))["messages"]
            assert message["content"] == "Hello"
        pieces = [piece async for piece, _ in graph.astream(ASKED, THREAD, stream_mode="messages")]
        assert "".join(piece["content"] for piece in pieces) == "Hello"
        updates = [update async for update in graph.astream(ASKED, THREAD, stream_mode="updates")]
        assert [list(update) for update in updates] == [["agent"]]
        assert gateway.runners.orders[0].input["messages"] == [{"role": "user", "content": "Hi"}]
        gateway.runners.says = FAILED
        with pytest.raises(remote.RemoteException, match="overloaded"):
            await graph.ainvoke(ASKED, THREAD)

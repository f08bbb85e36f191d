"""Labels, lists and single requests on a real Ray, and what docs/finding.md shows."""

from __future__ import annotations

import ast
import re
import types
from pathlib import Path

import pytest

from actors.errors import UnknownRequest
from router import StreamRouter

pytestmark = [pytest.mark.ray]

HELLO = {"message_type": "assistant_message", "content": "Hello."}


async def test_requests_are_found_by_what_was_said_of_them(router, request_id):
    team = {"team": request_id}
    names = [f"{request_id}-{number}" for number in range(5)]  # over both routers
    for number, name in enumerate(names[:4]):
        async with router.publish(name, agent_id=f"{request_id}-ada", tags=team, metadata={"n": number}) as stream:
            await stream.message(HELLO)
            await stream.finish("end_turn", {"prompt_tokens": 3, "completion_tokens": 4})
            created_at = stream.created_at
    async with router.publish(names[4], tags={**team, "urgent": ""}):
        open_now = await router.list(tag=team, state="open")
        assert [(info.request_id, info.agent_id) for info in open_now] == [(names[4], None)]
        pages, cursor = [], None
        while cursor is None or pages[-1].has_more:
            pages.append(await router.list(tag=f"team={request_id}", after=cursor, limit=2))
            cursor = pages[-1].cursor
        found = [info for page in pages for info in page]
        assert [info.request_id for info in found] == names, "in the order of creation, over all routers"
        assert [info.metadata for info in found] == [{"n": 0}, {"n": 1}, {"n": 2}, {"n": 3}, {}]
        newest = await router.list(tag=team, newest_first=True, limit=1)
        assert newest[0].request_id == names[4]
        assert newest[0].owner == router.client_id
    since = await router.list(agent=f"{request_id}-ada", since=created_at)
    assert [info.request_id for info in since] == [names[3]]
    info = await router.request(names[3])
    assert (info.state, info.stop_reason, info.created_at) == ("sealed", "end_turn", created_at)
    assert info.usage is not None
    assert (info.usage.total_tokens, info.usage.reported) == (7, True)
    with pytest.raises(UnknownRequest):
        await router.request(f"{request_id}-never")


def test_the_same_without_await(running_router, request_id):
    with StreamRouter.connect(name=running_router) as router:
        with router.publish(request_id, tags={"team": request_id}):
            assert [info.state for info in router.list(tag={"team": request_id})] == ["open"]
        assert router.request(request_id).stop_reason == "incomplete"


async def test_a_merge_follows_an_agent_through_its_requests(router, request_id):
    ada = f"{request_id}-ada"
    names = [f"{request_id}-{number}" for number in range(4)]

    async def run(name: str) -> None:
        async with router.publish(name, agent_id=ada) as stream:
            await stream.message({**HELLO, "content": name})

    await run(names[0])
    merge = router.merge(agent=ada, coalesce="tokens")
    said = []
    async for name, message in merge:
        if message.message_type == "assistant_message":
            said.append((name, message.content))
            if len(said) == 3:
                break
            await run(names[len(said)])
    assert said == [(name, name) for name in names[:3]], "each is followed as it appears"
    cursor = merge.cursor
    await run(names[3])
    rest = [one async for one in router.merge(agent=ada, after=cursor, follow=False)]
    assert [one.request_id for one in rest if one.message.message_type == "assistant_message"] == [names[3]]


def test_a_merge_without_await(running_router, request_id):
    with StreamRouter.connect(name=running_router) as router:
        for number in range(3):
            with router.publish(f"{request_id}-{number}") as stream:
                stream.message(HELLO)
        merge = router.merge([f"{request_id}-{number}" for number in range(3)])
        said = [name for name, message in merge if message.message_type == "assistant_message"]
        assert sorted(said) == [f"{request_id}-{number}" for number in range(3)]
        assert not merge.failed
        for _ in router.merge(all=True):
            break  # a `for` that is left reads no further


DOCS = (Path(__file__).parents[3] / "docs" / "finding.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)


async def test_what_the_docs_show_runs_as_printed(router, request_id, capsys):
    own = {word: f'"{request_id}-{word}"' for word in ("req-1", "req-2", "ada")}
    own |= {word: f'"{word.replace("team", request_id)}"' for word in ("team", "team=blue")}
    for snippet in SNIPPETS:
        for word, name in own.items():
            snippet = snippet.replace(f'"{word}"', name)  # noqa: PLW2901  # its own requests
        code = compile(snippet, "docs/finding.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        await types.FunctionType(code, {"router": router})()
    out = capsys.readouterr().out
    assert f"{{'{request_id}': 'blue', 'urgent': ''}} {{'user': 17, 'prompt': 'v3'}}" in out
    assert f"{request_id}-req-1 sealed" in out
    assert f"['{request_id}-req-2']" in out
    assert f"{request_id}-req-1 Hello.\n" in out
    # Which of the two is first, and stands before the cursor, is not said.
    assert any(f"{request_id}-{name} stop_reason\n" in out for name in ("req-1", "req-2"))

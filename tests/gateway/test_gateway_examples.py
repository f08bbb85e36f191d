"""The examples in examples/gateway do what they say, each as a user would run it."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from gateway.config import load_config
from gateway.runs.order import function_of
from tests.gateway.browser import PROGRAM, browsing
from tests.gateway.fakes import Served, served
from tests.gateway.said import chat_chunk, translated
from tests.gateway.test_npm_clients import FOLDER
from tests.gateway.test_npm_clients import PROGRAM as NODE

EXAMPLES = Path(__file__).parents[2] / "examples" / "gateway"
NUMBERS = [f"{number} " for number in range(1, 31)]
SAID = translated([*(chat_chunk({"content": number}) for number in NUMBERS), chat_chunk({}, "stop")])


@asynccontextmanager
async def counting(**section: object) -> AsyncIterator[Served]:
    """Serve an agent that says what the example's does."""
    async with served(agents={"counter": {"run": "my_agents:counter"}}, **section) as gateway:
        gateway.runners.says = SAID
        yield gateway


async def ran(*command: str | Path, cwd: Path = EXAMPLES) -> list[str]:
    """Run a program; return its lines."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, error = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, (out + error).decode()
    return out.decode().splitlines()


def assert_is_whole(lines: list[str], ended: str) -> None:
    """Assert that two parts of a run make all of it, and that it was told how it ended."""
    lost, rest, end = lines
    before = re.fullmatch(r"had .* when the connection was lost: (.+)", lost)
    assert before
    assert before[1] + rest == "".join(NUMBERS)
    assert before[1] != ""
    assert rest != ""
    assert end == f"ended: {ended}"


async def test_the_configuration_names_the_agent_that_lies_beside_it(monkeypatch: pytest.MonkeyPatch):
    section, _ = load_config(EXAMPLES / "gateway.yaml")
    monkeypatch.syspath_prepend(EXAMPLES)
    counter = function_of(section.agents["counter"].run or "")
    monkeypatch.setattr(sys.modules[counter.__module__], "PACE_S", 0)
    chunks = [chunk async for chunk in counter({"messages": [{"role": "user", "content": "Count to 30"}]})]
    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks] == [*NUMBERS, None]


async def test_a_program_reads_a_run_in_two_parts_over_plain_http():
    async with counting() as gateway:
        assert_is_whole(await ran(sys.executable, "read.py", "--url", gateway.url), "end_turn")
        (order,) = gateway.runners.orders
        assert order.input == {"messages": [{"role": "user", "content": "Count to 30"}]}


@pytest.fixture
def typescript(tmp_path: Path) -> Path:
    """A folder with the program in TypeScript, as it is where its client has been installed."""
    if not (FOLDER / "node_modules").is_dir():
        pytest.skip("`make test-gateway` installs the clients from npm")
    (tmp_path / "node_modules").symlink_to(FOLDER / "node_modules")
    (tmp_path / "respond.mts").write_bytes((EXAMPLES / "respond.mts").read_bytes())
    return tmp_path


@pytest.mark.clients
async def test_a_program_in_typescript_reads_a_run_in_two_parts_with_openais_client(typescript: Path):
    async with counting() as gateway:
        assert_is_whole(await ran(NODE, "respond.mts", gateway.url, cwd=typescript), "response.completed")


@pytest.mark.clients
async def test_the_program_in_typescript_has_the_types_of_openais_client(typescript: Path):
    strict = ["--strict", "--erasableSyntaxOnly", "--target", "es2024", "--module", "nodenext", "--types", "node"]
    compiler = "node_modules/typescript/bin/tsc"
    assert await ran(NODE, compiler, "--noEmit", "--skipLibCheck", *strict, "respond.mts", cwd=typescript) == []


@pytest.mark.clients
@pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium; on Debian: apt-get install chromium")
async def test_a_page_of_another_origin_shows_a_run_as_it_grows():
    app = web.Application()
    app.router.add_static("/", EXAMPLES)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with counting(cors_origins=[origin]) as gateway, browsing() as browser, browser.page() as page:
            await page.open(f"{origin}/page.html?gateway={gateway.url}")
            await page.click("button")
            await page.sees("ended: end_turn")
            assert (await page.text("#said")).split() == "".join(NUMBERS).split()
            assert page.errors == []
    finally:
        await runner.cleanup()

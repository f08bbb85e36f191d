"""`stream-router run` as a person runs it: resumed, interrupted, refused; against servers that are not ours."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = [sys.executable, "-m", "router.cli", "run"]
# A router that is quick to start.
SMALL = ("--set", "router=tests/router/runs/small.yaml")
DEADLINE_S = 100


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [*PROGRAM, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


async def run_beside(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it while this process serves."""
    return await asyncio.to_thread(run, *arguments)


def requests(folder: Path, *lines: dict[str, Any]) -> Path:
    file = folder / "requests.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def messages(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def stops(file: Path) -> dict[str, str]:
    return {m["run_id"]: m["stop_reason"] for m in messages(file) if m["message_type"] == "stop_reason"}


async def test_a_second_run_asks_only_what_is_not_complete(tmp_path: Path, provider):
    file = requests(
        tmp_path,
        {"id": "a", "prompt": "x"},
        {"id": "b", "prompt": "x", "model": "openai-tool-2"},
        {"id": "c", "prompt": "x"},
    )
    out, totals = tmp_path / "out.jsonl", tmp_path / "totals.json"
    rest = ("--model", "azure-text-3", "--out", out, "--json", totals, "--set", "retries.attempts=1", *SMALL)
    async with provider(status=500, fail_first=1, fault_rate=1) as url:
        first = await run_beside(file, "--base-url", url, *rest)
        assert first.returncode == 1, first.stdout + first.stderr
        said = json.loads(totals.read_text())
        assert said["failed"] + said["complete"] == 3
        assert said["errors"]["status 500"]["count"] == said["failed"] > 0
        assert "scripted answer 500" in said["errors"]["status 500"]["example"]
        assert Counter(stops(out).values())["error"] == said["failed"]
        second = await run_beside(file, "--base-url", url, *rest, "--format", "parquet")
    assert second.returncode == 0, second.stdout + second.stderr
    assert out.with_suffix(".parquet").stat().st_size > 0
    assert json.loads(totals.read_text())["skipped"] == said["complete"]
    assert stops(out) == {"a": "end_turn", "b": "tool_call", "c": "end_turn"}
    for name in "abc":
        numbers = [m["seq_id"] for m in messages(out) if m["run_id"] == name]
        assert numbers == list(range(1, len(numbers) + 1)), "each request's messages stand there once, in order"


async def test_what_a_stream_itself_says_is_wrong_is_in_the_totals(tmp_path: Path, provider):
    file = requests(tmp_path, {"id": "a", "prompt": "x"})
    totals = tmp_path / "totals.json"
    async with provider(error_after=4) as url:
        ended = await run_beside(file, "--base-url", url, "--model", "azure-text-3", "--json", totals, *SMALL)
    assert ended.returncode == 1
    errors = json.loads(totals.read_text())["errors"]
    assert list(errors) == ["ended: error"]
    assert "The server had an error" in errors["ended: error"]["example"]


@pytest.mark.parametrize("after_s", [0.3, 1.5])
def test_an_interrupt_while_it_starts_is_status_130_without_a_traceback(tmp_path: Path, after_s: float):
    file = requests(tmp_path, {"prompt": "x"})
    command = [*PROGRAM, str(file), "--base-url", "http://127.0.0.1:9", "--model", "m"]
    for times in range(1, 6):
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            time.sleep(times * after_s)  # wherever that is in its start: nowhere may it do harm
            process.send_signal(signal.SIGINT)
            said, complained = process.communicate(timeout=DEADLINE_S)
        if "/router/cli/" in complained or process.returncode != -signal.SIGINT:
            break  # else Python itself was still starting, as on a busy machine: before that nobody can hear
    assert process.returncode == 130, said + complained
    assert "Traceback" not in complained


async def test_ctrl_c_keeps_what_came_and_ends_every_request(tmp_path: Path, provider):
    file = requests(
        tmp_path,
        {"id": "done", "prompt": "x"},
        {"id": "slow", "prompt": "x", "model": "zai-parallel-tools-reasoning-1"},
    )
    out = tmp_path / "out.jsonl"
    async with provider(events_per_s=20) as url:
        command = [*PROGRAM, str(file), "--base-url", url, "--model", "azure-text-3", "--out", str(out), *SMALL]
        with subprocess.Popen(  # noqa: ASYNC220  # the provider runs in this loop; starting takes a moment
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            deadline = time.monotonic() + DEADLINE_S
            while not (out.exists() and "done" in stops(out)):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            process.send_signal(signal.SIGINT)
            said, complained = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == 130, said + complained
    assert "Traceback" not in complained
    assert stops(out) == {"done": "end_turn", "slow": "cancelled"}


# --- an independent server ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The mock server of the npm package @copilotkit/aimock: `AIMOCK=/path/to/llmock`, or `llmock` in the path."""
    program = os.environ.get("AIMOCK") or shutil.which("llmock")
    if program is None:
        pytest.skip("needs `npm install @copilotkit/aimock`, and AIMOCK=node_modules/.bin/llmock")
    fixtures = tmp_path_factory.mktemp("aimock") / "fixtures.json"
    call = {"name": "get_weather", "arguments": '{"city":"Paris"}'}
    said = {"content": "The answer is 42, plainly.", "reasoning": "Let me think about it."}
    answers = {"weather": {"toolCalls": [call]}, "think": said, "hello": {"content": "Hello there 👋 today."}}
    fixtures.write_text(
        json.dumps({"fixtures": [{"match": {"userMessage": word}, "response": said} for word, said in answers.items()]})
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([program, "-p", str(port), "-f", str(fixtures)], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                urllib.request.urlopen(f"{url}/health", timeout=1).close()  # noqa: S310  # our own address
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.mark.parametrize("api", ["openai-chat", "openai-responses", "anthropic-messages", "gemini"])
def test_an_independent_server_is_understood(api: str, aimock: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIMOCK_KEY", "any")
    function = {"name": "get_weather", "description": "w", "parameters": {"type": "object", "properties": {}}}
    file = requests(
        tmp_path,
        {"id": "hello", "prompt": "hello"},
        {"id": "think", "prompt": "think"},
        {"id": "weather", "prompt": "weather", "tools": [{"type": "function", "function": function}]},
    )
    out = tmp_path / "out.jsonl"
    ended = run(file, "--base-url", aimock, "--api", api, "--model", "m", "--key-env", "AIMOCK_KEY", "--out", out)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    text: Counter[str] = Counter()
    said: dict[tuple[str, str], str] = {}
    for message in messages(out):
        key = (message["run_id"], message["message_type"])
        text[message["message_type"]] += 1
        piece = message.get("content") or message.get("reasoning") or (message.get("tool_call") or {}).get("arguments")
        said[key] = said.get(key, "") + (piece or "")
    assert said["hello", "assistant_message"] == "Hello there 👋 today."
    assert said["think", "reasoning_message"] == "Let me think about it."
    assert said["think", "assistant_message"] == "The answer is 42, plainly."
    assert json.loads(said["weather", "tool_call_message"]) == {"city": "Paris"}
    assert stops(out) == {"hello": "end_turn", "think": "end_turn", "weather": "tool_call"}
    assert text["stop_reason"] == text["usage_statistics"] == 3

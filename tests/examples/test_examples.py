"""The examples do what they say; each runs as a user would run it, with a Ray of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def run(*command: str) -> str:
    ran = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    assert "Traceback" not in ran.stderr
    return ran.stdout


def test_an_agent_runs_its_tools_over_several_steps():
    lines = run(str(EXAMPLES / "agent_loop.py"), "What is 6 * 7, what is 1 / 0, and how long is LICENSE?").splitlines()
    said = [line.split()[:2] for line in lines[:9]]
    assert said == [
        *(["step-1", f"{kind}_message"] for kind in ("reasoning", *["tool_call"] * 2, *["tool_return"] * 2)),
        *(["step-2", f"{kind}_message"] for kind in ("reasoning", "tool_call", "tool_return")),
        ["step-3", "assistant_message"],
    ]
    text = "\n".join(lines)
    assert 'calculate{"expression": "6 * 7"}' in text
    assert "42 (success)" in text
    assert "ZeroDivisionError: division by zero (error)" in text
    licence_lines = len((ROOT / "LICENSE").read_text().splitlines())
    assert f"6 * 7: 42. 1 / 0: ZeroDivisionError: division by zero. LICENSE: {licence_lines} lines." in text
    assert "end_turn" in lines[9]
    assert "3 steps" in lines[10]
    assert lines[-1].startswith("6 * 7: 42.")


def test_many_agents_are_tasks_and_one_driver_reads_them():
    out = run(str(EXAMPLES / "agents_in_tasks.py"), "--agents", "8")
    assert out.splitlines()[-1].startswith("8 agents: ")
    assert out.count(" messages ") == 8


def test_all_readers_of_one_request_see_the_same():
    out = run(str(EXAMPLES / "fan_out.py"))
    assert out.splitlines()[-1] == "all readers saw the same"
    assert len(out.splitlines()) == 8


# A notebook has an event loop that runs already; the synchronous face must not mind.
IN_A_LOOP = """
import asyncio, runpy, sys
async def cell():
    runpy.run_path(sys.argv[1], run_name="__main__")
asyncio.run(cell())
"""


def test_a_notebook_reads_without_asyncio_though_a_loop_runs():
    out = run("-c", IN_A_LOOP, str(EXAMPLES / "notebook.py"))
    assert "[end_turn]" in out
    assert "note-many-2: stop_reason" in out
    assert "agents/0/s1" in out

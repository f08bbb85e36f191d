"""SIGTERM ends a program in order, whatever it was doing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

# The signal comes while a task other than the main one runs.
PROGRAM = """
import asyncio, os, signal
from router.on_ray.signals import end_in_order_on_termination

async def busy():
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(30)

async def main():
    task = asyncio.create_task(busy())
    try:
        await asyncio.sleep(30)
    finally:
        await asyncio.sleep(0)
        print("closed")

end_in_order_on_termination()
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""
IGNORE_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_it_cancels_the_main_task_and_hits_no_other():
    ended = run(PROGRAM)
    assert ended.returncode == 0
    assert ended.stdout == "closed\ninterrupted\n"
    assert ended.stderr == ""


def test_it_ends_a_program_that_a_script_runs_in_the_background():
    ended = run(IGNORE_CTRL_C + PROGRAM)
    assert ended.returncode == 0
    assert ended.stdout == "closed\ninterrupted\n"

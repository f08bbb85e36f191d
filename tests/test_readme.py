"""The README: what it prints runs as printed, and what it names is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from actors.settings import StreamSettings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPTS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "said"),
    [
        (SCRIPTS[0], ["The current weather in Berlin", "15°C", "[end_turn, "]),
        (SCRIPTS[1], ["Hello", '"name":"Ada"', "end_turn"]),
    ],
    ids=["async", "sync"],
)
def test_a_script_runs_as_printed(script: str, said: list[str], tmp_path: Path):
    file = tmp_path / "script.py"
    file.write_text(script, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(file)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=90,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stderr
    for word in said:
        assert word in done.stdout


def test_there_are_two_scripts_and_the_first_is_short():
    assert len(SCRIPTS) == 2
    lines = [line for line in SCRIPTS[0].splitlines() if line.strip()]
    assert len(lines) <= 15


def test_every_path_that_is_named_is_there():
    named = re.findall(r"`((?:actors|router|tests|configs|benchmarks|docs|examples)/[\w./-]*)`", README)
    assert len(named) > 15
    for path in named:
        assert (ROOT / path).exists(), path


def test_every_setting_is_in_the_table():
    table = README[README.index("## Settings") : README.index("## Configurations")]
    for name in StreamSettings.model_fields:
        if name not in {"dialect", "assistant_message_tool_kwarg"}:
            assert f"`{name}`" in table, name


def test_every_command_and_every_make_target_that_is_named_exists():
    commands = {file.stem.replace("_", "-") for file in (ROOT / "router" / "cli" / "commands").glob("[a-z]*.py")}
    assert set(re.findall(r"stream-router ([a-z]+)", README)) <= commands
    section = README[README.index("## Command line") : README.index("Exit status")]
    for command in commands:
        assert re.search(rf"`{command}\b", section), f"the README does not name the command {command}"
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)", README)) <= targets

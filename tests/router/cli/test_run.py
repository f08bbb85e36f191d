"""`stream-router run` refuses what it cannot do, before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from router.cli import exit_codes


def test_every_bad_line_is_named_before_anything_starts(tmp_path: Path, run: Any):
    file = tmp_path / "requests.jsonl"
    file.write_text('{"prompt": "x"}\n{oops\n{"promt": "x"}\n')
    ended = run("run", str(file), "--base-url", "http://127.0.0.1:9", "--model", "m")
    assert ended.returncode == exit_codes.ERROR
    assert "2 bad lines: line 2: not JSON" in ended.stderr
    assert "line 3: promt: unknown key; did you mean 'prompt'?" in ended.stderr
    assert list(tmp_path.iterdir()) == [file], "nothing was begun"


def test_a_key_that_is_not_set_is_named(tmp_path: Path, run: Any):
    file = tmp_path / "requests.jsonl"
    file.write_text('{"prompt": "x"}\n')
    ended = run("run", str(file), "--base-url", "http://127.0.0.1:9", "--model", "m", "--key-env", "NO_SUCH_KEY_HERE")
    assert ended.returncode == exit_codes.ERROR
    assert "NO_SUCH_KEY_HERE" in ended.stderr

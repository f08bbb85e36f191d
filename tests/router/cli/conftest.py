"""Runs `stream-router` inside this process, where that is enough: a process of its own costs a second."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from router.cli import main

ROOT = Path(__file__).resolve().parents[3]

Run = Callable[..., "CompletedProcess[str]"]


@pytest.fixture
def program() -> list[str]:
    """The command of a real process."""
    return [sys.executable, "-m", "router.cli"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "120")
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGPIPE)}

    def call(*arguments: str, stdin: bytes = b"") -> CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["stream-router", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        return CompletedProcess(list(arguments), int(ended.value.code or 0), said.out, said.err)

    yield call
    for number, handler in before.items():
        signal.signal(number, handler)

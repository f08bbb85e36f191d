"""The commands for a running service, where there is none: one line, at once, and nothing is started."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import ray

from router.cli import exit_codes


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address of this machine at which nobody listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{closed.getsockname()[1]}"


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command has a process to itself; here tests that share a Ray may have been before."""
    monkeypatch.setattr(ray, "is_initialized", lambda: False)


@pytest.mark.parametrize("command", ["start", "status", "top", "list", "cancel", "forget", "drain", "stop"])
def test_no_cluster_is_one_line_and_at_once(command: str, nobody: str, run: Any):
    began = time.monotonic()
    ran = run(command, *(["req-1"] if command in ("cancel", "forget") else []), "--address", nobody)
    assert ran.returncode == exit_codes.ERROR
    assert ran.stderr.count("\n") == 1
    assert "[ray_unavailable]" in ran.stderr
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("bad", ["routers=0", "stream_actors.max_actor=3", "name.x=1"])
def test_a_wrong_configuration_is_refused_before_a_cluster_is_looked_for(bad: str, nobody: str, run: Any):
    ran = run("start", "--set", bad, "--address", nobody)
    assert ran.returncode == exit_codes.ERROR
    assert "[config_error]" in ran.stderr

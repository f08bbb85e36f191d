"""The command line as a whole: help, exit statuses, no tracebacks."""

from __future__ import annotations

import json
import pkgutil
import signal
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import RayActorError

from router.cli import app, exit_codes
from router.cli.commands import __path__ as commands_path

ROOT = Path(__file__).resolve().parents[3]


def test_help_lists_every_command(run: Any):
    done = run("--help")
    assert done.returncode == 0
    for command in pkgutil.iter_modules(commands_path):
        assert f" {command.name.replace('_', '-')} " in done.stdout


def test_every_command_has_help_with_a_sentence_for_each_option(run: Any):
    for command in pkgutil.iter_modules(commands_path):
        name = command.name.replace("_", "-")
        done = run(name, "--help")
        assert done.returncode == 0
        assert "Usage" in done.stdout
        assert f"$ stream-router {name}" in done.stdout, "there are examples"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "a command is missing"),
        (["nope"], "No such command 'nope'"),
        (["demo", "--nope"], "No such option: --nope"),
        (["demo", "--agents", "0"], "--agents"),
        (["demo", "--config", "nope.yaml"], "nope.yaml: no such configuration file"),
        (["demo", "--json", "/nope/x.json"], "/nope/x.json: No such file or directory"),
        (["provider", "--recordings", "/nope"], "/nope: no such folder of recordings"),
        (["provider", "--set", "sped=2"], "did you mean 'speed'"),
        (["loadtest", "none.yaml"], "packaged workloads are"),
        (["loadtest", "quick", "--chaos", "kill-cat:1"], "'kill-cat' is no fault"),
        (["loadtest", "quick", "--set", "arival.kind=rate"], "did you mean 'arrival'?"),
        (["loadtest", "quick", "--json", "/nowhere/out.json"], "/nowhere/out.json: No such file"),
        (["report", "pyproject.toml"], "not JSON"),
        (["gateway", "--local", "--detached"], "--local serves from here"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(run: Any, arguments: list[str], said: str):
    done = run(*arguments)
    assert done.returncode == exit_codes.ERROR
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("debug", ["", "1"])
def test_a_defect_is_one_line_with_a_status_of_its_own_and_a_traceback_on_request(
    run: Any, monkeypatch: pytest.MonkeyPatch, debug: str
):
    def fail(**_: Any) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(app, "make_app", lambda: fail)
    monkeypatch.setenv(app.DEBUG_VARIABLE, debug)
    done = run("demo")
    assert done.returncode == exit_codes.INTERNAL
    said = done.stderr.splitlines()
    assert "unexpected ZeroDivisionError: oh" in said[-1]
    assert (said[0] == "Traceback (most recent call last):") == (len(said) > 1) == bool(debug)


def test_a_ray_that_dies_under_a_command_is_one_line_too(run: Any, monkeypatch: pytest.MonkeyPatch):
    def fail(**_: Any) -> None:
        raise RayActorError

    monkeypatch.setattr(app, "make_app", lambda: fail)
    done = run("demo")
    assert done.returncode == exit_codes.ERROR
    assert done.stderr.startswith("stream-router: Ray failed under it (RayActorError): ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_the_provider_serves_until_it_is_interrupted(program: list[str], sign: signal.Signals):
    with subprocess.Popen(
        [*program, "provider", "--port", "0", "--events-per-s", "0"], stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as provider:
        assert provider.stderr is not None
        url = next(word for word in provider.stderr.readline().split() if word.startswith("http")).rstrip(";")
        body = json.dumps({"model": "openai-tool-2", "stream": True}).encode()
        with urllib.request.urlopen(f"{url}/v1/chat/completions", data=body, timeout=10) as response:  # noqa: S310
            assert response.read() == (ROOT / "router/demo/recordings/openai-tool-2.sse").read_bytes()
        provider.send_signal(sign)
        _, said = provider.communicate(timeout=20)
    assert provider.returncode == exit_codes.INTERRUPTED
    assert said.splitlines()[-1] == "stream-router: interrupted"
    assert "Traceback" not in said

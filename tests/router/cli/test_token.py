"""`stream-router token`: a token that the service's key vouches for, or one line that says why there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.errors import NotPermitted
from actors.tenants import Key
from router.cli import exit_codes

SECRET = "a secret of this test"
KEY = Key(SECRET.encode())


def test_the_key_comes_from_the_environment(run: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STREAM_ROUTER_KEY", SECRET)
    done = run("token", "team-a")
    assert (done.returncode, done.stderr) == (0, "")
    identity = KEY.identity(done.stdout.strip(), 0.0)
    assert (identity.subject, identity.scopes) == ("team-a", {"read", "publish", "cancel"})


def test_the_key_comes_from_the_file_that_the_configuration_names(run: Any, tmp_path: Path):
    (tmp_path / "key").write_text(f"{SECRET}\n")
    config = tmp_path / "my.yaml"
    config.write_text(f"tenants: {{enabled: true, key_file: {tmp_path / 'key'}}}")
    done = run("token", "*", "--scope", "operate", "--scope", "read", "--ttl-h", "1", "--config", str(config))
    identity = KEY.identity(done.stdout.strip(), 0.0)
    assert (identity.subject, identity.scopes) == ("*", {"operate", "read"})
    with pytest.raises(NotPermitted, match="expired"):
        KEY.identity(done.stdout.strip(), 1e11)


@pytest.mark.parametrize(
    ("arguments", "secret", "said"),
    [
        (["team-a"], "", "the environment variable STREAM_ROUTER_KEY is not set here"),
        (["team-a"], "short", "a key has at least 16 bytes, this one 5"),
        (["a b"], SECRET, "a subject is 1 to 64 letters"),
        (["team-a", "--scope", "operate"], SECRET, "concerns everybody"),
        (["team-a", "--config", "nope.yaml"], SECRET, "no such configuration file"),
    ],
)
def test_a_mistake_is_one_line(run: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[str], secret: str, said: str):
    monkeypatch.setenv("STREAM_ROUTER_KEY", secret)
    done = run("token", *arguments)
    assert done.returncode == exit_codes.ERROR
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not done.stdout


def test_a_file_that_is_not_there_is_named(run: Any, tmp_path: Path):
    config = tmp_path / "my.yaml"
    config.write_text("tenants: {key_file: /nope/key}")
    done = run("token", "team-a", "--config", str(config))
    assert done.returncode == exit_codes.ERROR
    assert "tenants.key_file /nope/key: cannot be read: No such file" in done.stderr

"""Try a wheel out as a stranger would: a bare environment, an empty folder, what the README shows.

    python tests/smoke.py dist/agent_stream_router-0.1.0-py3-none-any.whl --python python3.12 --python python3.13

Of every Python named, a virtual environment gets the wheel and what it needs, and nothing of this tree. Then the
README's scripts and commands are run in a new, empty folder, and what they print is looked at. No service is started
here, for it needs a Ray cluster of its own (`tests/router/service` does that).
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "gateway" / "page"
README = Path(__file__).resolve().parents[1] / "README.md"
DEADLINE_S = 240


class Bare:
    """An environment with the wheel, and an empty folder to work in."""

    def __init__(self, python: str, wheel: Path, constraints: str | None, root: Path) -> None:
        self.venv = root / "venv"
        self.folder = root / "empty"
        self.folder.mkdir()
        home = root / "home"
        home.mkdir()
        subprocess.run([python, "-m", "venv", str(self.venv)], check=True)
        install = [str(self.venv / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        pinned = ["--constraint", constraints] if constraints else []
        subprocess.run([*install, *pinned, str(wheel)], check=True)
        self.environment = {
            "PATH": f"{self.venv / 'bin'}:/usr/bin:/bin",
            "HOME": str(home),
            "PYTHONIOENCODING": "utf-8",
            "COLUMNS": "160",
        }

    def run(self, *command: str) -> str:
        """Run a command in the empty folder; return what it printed."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)[:200]}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
        if "Traceback" in done.stderr:
            raise SystemExit(f"{' '.join(command)[:200]}: a traceback\n{done.stderr}")
        return done.stdout


def expect(text: str, *words: str) -> None:
    for word in words:
        if word not in text:
            raise SystemExit(f"expected {word!r} in:\n{text}")


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [block for its_language, block in found if its_language == language]


def installed(bare: Bare) -> None:
    where = bare.run(
        "python",
        "-c",
        "import router, actors, gateway; print(router.__file__, actors.__file__, gateway.__file__, sep='\\n')",
    )
    for line in where.split():
        assert line.startswith(str(bare.venv)), f"{line} is not what was installed"
        assert (Path(line).parent / "py.typed").is_file(), f"{line}: no py.typed beside it"
    pages = [{file.name for file in place.iterdir()} for place in (Path(where.split()[2]).parent / "page", PAGE)]
    assert pages[0] == pages[1], f"the gateway's page is {pages[0]}, and not {pages[1]}"
    expect(bare.run("stream-router", "--version"), "stream-router 0.")
    expect(bare.run("stream-router", "--help"), "demo", "translate", "run", "loadtest", "top")


def scripts(bare: Bare) -> None:
    said = (["The current weather in Berlin", "15°C", "[end_turn, "], ["Hello", "end_turn"])
    for number, (script, words) in enumerate(zip(blocks("python"), said, strict=True)):
        (bare.folder / f"script_{number}.py").write_text(script, encoding="utf-8")
        shown = bare.run("python", f"script_{number}.py")
        expect(shown, *words)
        if not number:
            print(shown.strip())


def commands(bare: Bare) -> None:
    (shell,) = (block for block in blocks("") if "stream-router translate" in block)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    ended = 'trap "kill %1" EXIT; set -eu\n'
    shown = bare.run("bash", "-c", ended + shell.replace("8080", port).replace("stall_s=3", "stall_s=0"))
    expect(shown, '"message_type":', '"tool_call":', '"usage_statistics"', "data: [DONE]")


def demo(bare: Bare) -> None:
    bare.run("stream-router", "demo", "--agents", "4", "--speed", "20", "--json", "figures.json")
    assert json.loads((bare.folder / "figures.json").read_text()), "the demo has no figures"


def config_by_name(bare: Bare) -> None:
    loaded = "from router import load_config; print(*(load_config(name).routers for name in ('local', 'cluster')))"
    expect(bare.run("python", "-c", loaded), "1 4")


STEPS: tuple[Callable[[Bare], None], ...] = (installed, config_by_name, commands, scripts, demo)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--python", action="append", default=[], help="repeatable; else the one that runs this")
    parser.add_argument("--constraint", help="a file of versions")
    asked = parser.parse_args()
    for python in asked.python or [sys.executable]:
        with tempfile.TemporaryDirectory(prefix="smoke-") as root:
            began = time.monotonic()
            bare = Bare(python, asked.wheel.resolve(), asked.constraint, Path(root))
            version = bare.run("python", "-V").strip()
            print(f"{version}: installed in {time.monotonic() - began:.0f} s", flush=True)
            for step in STEPS:
                began = time.monotonic()
                step(bare)
                print(
                    f"{version}: {step.__name__.replace('_', ' ')}: right ({time.monotonic() - began:.0f} s)",
                    flush=True,
                )


if __name__ == "__main__":
    main()

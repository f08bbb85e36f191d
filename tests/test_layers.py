"""Who may import whom. A line that breaks the rule is printed with its file and number."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Lowest first: a room imports itself and the rooms below it.
LAYERS = (
    ("actors.protocol", "actors.errors"),
    ("actors",),
    ("router.config", "router.config_files", "router.lazy_names"),
    ("router.archive",),
    ("router.core",),
    ("router.status",),
    ("router.on_ray",),
    ("router.sources",),
    ("router.client",),
    ("router",),
    ("gateway",),
)
PURE = (
    "actors.protocol", "actors.interface", "actors.providers", "router.core", "router.sources.frameworks",
    "gateway.formats",
)  # fmt: skip
IMPURE = {"ray", "asyncio", "time", "os"}
KNOW_RAY = {"actors/stream/stream_actor.py", "actors/transport/line.py"}
# The packages' own doors name their rooms' contents, loaded when they are first used; so does the gateway's command.
DOORS = {"router/__init__.py", "router/cli/commands/gateway.py"}
# What users bring along: known by its shape, never imported.
FRAMEWORKS = {
    "agents", "anthropic", "google", "langchain", "langchain_core", "langgraph", "litellm", "ollama", "openai",
    "pydantic_ai", "vllm",
}  # fmt: skip

Imported = tuple[str, int, str]
"""(file, line, module)."""


def _modules(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            # `from actors.stream import measures` imports `actors.stream.measures`.
            folder = ROOT / node.module.replace(".", "/")
            for alias in node.names:
                is_module = (folder / f"{alias.name}.py").exists() or (folder / alias.name).is_dir()
                yield node.lineno, f"{node.module}.{alias.name}" if is_module else node.module


@functools.cache
def imports() -> list[Imported]:
    return list(_imports())


def _imports() -> Iterator[Imported]:
    for top in ("actors", "router", "gateway"):
        for file in sorted((ROOT / top).rglob("*.py")):
            name = file.relative_to(ROOT).as_posix()
            for line, module in _modules(ast.parse(file.read_text(encoding="utf-8"))):
                yield name, line, module


def _is_in(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def _module_of(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _layer(module: str) -> int:
    fitting = [(len(room), level) for level, rooms in enumerate(LAYERS) for room in rooms if _is_in(module, room)]
    return max(fitting)[1]


def _say(broken: list[Imported], rule: str) -> str:
    return "\n".join([rule, *(f"{file}:{line}: imports {module}" for file, line, module in broken)])


def _ours(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] in {"actors", "router", "gateway"}


def test_a_room_imports_only_itself_and_what_is_below_it():
    broken = [
        found
        for found in imports()
        if _ours(found[2]) and found[0] not in DOORS and _layer(found[2]) > _layer(_module_of(found[0]))
    ]
    assert not broken, _say(broken, "a room imports only itself and the rooms below it: " + str(LAYERS))


def test_the_protocol_imports_nothing_of_ours_but_the_errors():
    broken = [
        found
        for found in imports()
        if found[0].startswith("actors/protocol/")
        and _ours(found[2])
        and not (_is_in(found[2], "actors.protocol") or found[2] == "actors.errors")
    ]
    assert not broken, _say(broken, "actors.protocol imports actors.errors and nothing else of ours")


@pytest.mark.parametrize("room", PURE)
def test_what_decides_knows_no_ray_no_loop_no_clock_and_no_system(room: str):
    folder = room.replace(".", "/") + "/"
    broken = [found for found in imports() if found[0].startswith(folder) and found[2].split(".")[0] in IMPURE]
    assert not broken, _say(broken, f"{room} is pure")


def test_in_the_actors_room_only_the_shell_knows_ray():
    broken = [
        found
        for found in imports()
        if found[0].startswith("actors/") and found[2].split(".")[0] == "ray" and found[0] not in KNOW_RAY
    ]
    assert not broken, _say(broken, f"of actors/ only these import ray: {', '.join(sorted(KNOW_RAY))}")


@pytest.mark.parametrize("inside", ["actors.stream", "router.core"])
def test_clients_know_the_protocol_and_not_the_servers_insides(inside: str):
    broken = [found for found in imports() if found[0].startswith("router/client/") and _is_in(found[2], inside)]
    assert not broken, _say(broken, f"router.client does not import {inside}")


def test_a_routers_core_does_not_know_a_stream_actors_insides():
    broken = [found for found in imports() if found[0].startswith("router/core/") and _is_in(found[2], "actors.stream")]
    assert not broken, _say(broken, "router.core does not import actors.stream")


def test_a_gateway_knows_what_is_public_and_nothing_of_what_stands_behind_it():
    inside = ("router.client", "router.core", "router.on_ray", "router.status", "actors.stream", "actors.transport")
    broken = [
        found
        for found in imports()
        if found[0].startswith("gateway/") and any(_is_in(found[2], room) for room in inside)
    ]
    assert not broken, _say(broken, "gateway imports router's public names only")


def test_no_framework_is_imported():
    broken = [found for found in imports() if found[2].split(".")[0] in FRAMEWORKS]
    assert not broken, _say(broken, "a framework is known by its shape, so that nobody has to install it")

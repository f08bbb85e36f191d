"""What the documentation shows runs as printed. Pages that want more than this have tests of their own."""

from __future__ import annotations

import ast
import inspect
import re
import types
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[3] / "docs"
PAGES = {file.relative_to(DOCS).as_posix(): file.read_text(encoding="utf-8") for file in sorted(DOCS.rglob("*.md"))}
# The tests that run what these pages show.
ELSEWHERE = {
    "reading.md": "test_reading_on_ray.py",
    "running-agents.md": "test_launch_on_ray.py",
    "finding.md": "test_finding_on_ray.py",
    "gateway.md": "../../gateway/test_gateway_on_ray.py",
}
SAID = {
    "how-to.md": [
        "tests", "Hello.\nstop_reason\nusage_statistics\n1\n", "You asked: one", "cancelled",
        "chat.completion.chunk",
    ],
    "coming-from.md": ["reasoning_message\nassistant_message", "Hello.", "True", "Ready? Yes."],
    "index.md": ["The current weather in Berlin"],
    "metrics.md": [],
    "operations.md": [],
    "security.md": [],
    "sources.md": [],
}  # fmt: skip


def snippets(page: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGES[page], re.DOTALL | re.MULTILINE)
    return [code for language, code in found if language == "python"]


async def provider(*_arguments: Any, **_options: Any) -> AsyncIterator[dict[str, Any]]:
    """Stand in for the streams of SDKs and frameworks; tests/router/sources has the real ones."""
    yield {"choices": [{"index": 0, "delta": {"content": "Hello."}}]}
    yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def stand_ins() -> dict[str, Any]:
    spans = pytest.importorskip("opentelemetry.sdk.trace")
    return {
        "provider": provider,
        "graph": types.SimpleNamespace(astream=provider),
        "client": types.SimpleNamespace(messages=types.SimpleNamespace(stream=provider)),
        "messages": [],
        "token": None,
        "TracerProvider": spans.TracerProvider,
        "Resource": pytest.importorskip("opentelemetry.sdk.resources").Resource,
        "TraceIdRatioBased": pytest.importorskip("opentelemetry.sdk.trace.sampling").TraceIdRatioBased,
        "BatchSpanProcessor": lambda _exporter: spans.SpanProcessor(),
        "OTLPSpanExporter": lambda **_where: None,
    }


def test_every_page_that_shows_code_has_it_run():
    shown = {page for page in PAGES if snippets(page)}
    assert shown <= SAID.keys() | ELSEWHERE.keys(), "a page with code that no test runs"
    for page, file in ELSEWHERE.items():
        assert page in (Path(__file__).parent / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", sorted(PAGES))
def test_what_is_shown_is_python(page: str):
    for code in snippets(page):
        compile(code, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.ray
@pytest.mark.parametrize("page", sorted(SAID.keys() - {"index.md"}))  # the README's first script is that of index.md
async def test_what_a_page_shows_runs_as_printed(page: str, router: Any, running_router: str, request_id: str, capsys):
    names = {**stand_ins(), "router": router, "StreamRouter": type(router)}
    for snippet in snippets(page):
        code = snippet.replace('connect("agents"', f'connect("{running_router}"')
        code = re.sub(r'"((?:req|how|letta|graph)-\d)"', rf'"{request_id}-\1"', code)
        running = types.FunctionType(compile(code, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)()
        if inspect.isawaitable(running):
            await running
    out = capsys.readouterr().out
    for words in SAID[page]:
        assert words in out


def test_the_first_page_shows_the_readmes_first_script():
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert snippets("index.md")[0] in readme

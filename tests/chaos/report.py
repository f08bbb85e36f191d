"""Runs of kinds, each in a process of its own, and the table of what they found."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from typing import Any

import ray

from .common import ROOT
from .load import percentile

RUN_DEADLINE_S = 400.0
NOUGHTS = (
    "lost",
    "duplicated",
    "out_of_order",
    "wrong",
    "without_terminal",
    "with_several_terminals",
    "error_count",
)
COLUMNS = {
    "kind": "kind",
    "kills": "kills",
    "streams": "streams",
    "messages": "messages",
    "lost": "lost",
    "duplicated": "duplicated",
    "out_of_order": "out of order",
    "wrong": "wrong",
    "without_terminal": "terminals missing",
    "recovery_p50_s": "recovery p50",
    "recovery_p99_s": "p99",
}


def run(kind: str) -> dict[str, Any]:
    """Run one kind once; return its figures. Raises RuntimeError with what it said on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", kind],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_DEADLINE_S,
        check=False,
    )
    if done.returncode != 0 or not done.stdout.strip():
        raise RuntimeError(f"{kind} ended with status {done.returncode}:\n{done.stderr[-4000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def run_all(kinds: list[str], rounds: int) -> dict[str, Any]:
    """Run kinds several times, one after the other, telling on stderr how far it is; return all figures."""
    rows: dict[str, dict[str, Any]] = {}
    failed: list[str] = []
    runs: list[dict[str, Any]] = []
    for number in range(1, rounds + 1):
        for kind in kinds:
            began = time.monotonic()
            try:
                figures = run(kind)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                failed.append(str(error))
                print(f"round {number}/{rounds}: {kind} FAILED: {error}", file=sys.stderr, flush=True)
                continue
            seconds = round(time.monotonic() - began, 1)
            runs.append({"round": number, "name": kind, "seconds": seconds, **figures})
            _add(rows.setdefault(kind, {}), figures)
            print(f"round {number}/{rounds}: {kind}, {seconds:g} s", file=sys.stderr, flush=True)
    whole = not failed and not any(row[name] for row in rows.values() for name in NOUGHTS)
    return {"machine": _machine(), "whole": whole, "kinds": list(rows.values()), "failed": failed, "runs": runs}


def _add(row: dict[str, Any], figures: dict[str, Any]) -> None:
    row["kind"] = figures["kind"]
    for name in ("kills", "streams", "messages", *NOUGHTS):
        row[name] = row.get(name, 0) + figures[name]
    row["recovery_s"] = row.get("recovery_s", []) + figures["recovery_s"]
    row["recovery_p50_s"] = percentile(row["recovery_s"], 0.5)
    row["recovery_p99_s"] = percentile(row["recovery_s"], 0.99)
    for name in ("left_ended_after_s", "publisher_waited_s"):
        if name in figures:
            row[name] = max(row.get(name, 0.0), figures[name])
    if "floods" in figures:
        row["floods"] = figures["floods"]


def table(result: dict[str, Any]) -> str:
    """Return the table, in Markdown, with what does not fit into its columns below it."""
    lines = ["| " + " | ".join(COLUMNS.values()) + " |", "|---|" + "---:|" * (len(COLUMNS) - 1)]
    notes = []
    for row in result["kinds"]:
        lines.append("| " + " | ".join(_shown(name, row[name]) for name in COLUMNS) + " |")
        if "left_ended_after_s" in row:
            notes.append(f"Requests that nobody took over had ended {row['left_ended_after_s']:.1f} s after the kill.")
        if "publisher_waited_s" in row:
            notes.append(f"A killed reader held its publisher up for {row['publisher_waited_s']:.1f} s.")
        for name, flood in row.get("floods", {}).items():
            rate = f"{flood.get('answered_per_s', 0):,} refused opens/s ({name.replace('_', ' ')})"
            times = ", ".join(f"{part} {1000 * flood[f'latency_{part}_s']:.0f} ms" for part in ("p50", "p99", "max"))
            notes.append(f"With {rate}: chunk to message {times}.")
    return "\n".join([*lines, "", *notes, f"Measured on: {result['machine']}."])


def _shown(name: str, value: Any) -> str:
    if name.startswith("recovery"):
        return "" if value is None else f"{value:.2f} s"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _machine() -> str:
    return f"{os.cpu_count()} cores, Ray {ray.__version__}, Python {platform.python_version()}, {platform.system()}"

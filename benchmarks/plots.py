"""The plots of docs/benchmarks.md, from a file of figures: `python -m benchmarks.plots FILE FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt  # the backend is chosen first
from matplotlib.ticker import FuncFormatter

from benchmarks.curves import CURVES

mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "plots"})  # small, and the same for the same figures
INK, OURS, QUIET = "#22303c", "#1f77b4", "#8a97a3"


def write(found: dict[str, Any], folder: Path) -> None:
    """Write throughput.png, latency.png and curves.svg, as far as their figures are there."""
    folder.mkdir(parents=True, exist_ok=True)
    if "cost_curves" in found:
        _cost_curves(found["cost_curves"]["points"], folder / "curves.svg")
    curves = found.get("curves")
    if curves:
        _throughput(found, curves["throughput"], folder / "throughput.png")
        _latency(found, curves["latency"], folder / "latency.png")


def _cost_curves(points: dict[str, list[dict[str, Any]]], path: Path) -> None:
    figure, grid = plt.subplots(2, 2, figsize=(9, 6))
    for axes, (name, found) in zip(grid.flat, points.items(), strict=True):
        curve = CURVES[name]
        _plain(axes, curve.name, size=10)
        at = [point["at"] for point in found]
        cost = [point["cpu_us_per_chunk_in_all"] for point in found]
        axes.plot(at, cost, "o-", color=OURS, label="a chunk")
        axes.set_xscale("log")
        axes.set_xticks(at, [f"{n:,}" for n in at])
        axes.minorticks_off()
        if curve.work(2.0) == curve.work(1.0):
            axes.set_ylim(bottom=0)
        else:
            over_work = [us / curve.work(n) * curve.work(at[0]) for us, n in zip(cost, at, strict=True)]
            axes.plot(at, over_work, "o:", color=QUIET, label="over its work, as at the first point")
            axes.set_yscale("log")
            axes.legend(frameon=False, fontsize=8)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_ylabel("µs of CPU a chunk")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _axes(title: str) -> tuple[Any, Any]:
    figure, axes = plt.subplots(figsize=(8, 4.5), dpi=130)
    _plain(axes, title)
    return figure, axes


def _plain(axes: Any, title: str, size: int = 12) -> None:
    axes.set_title(title, loc="left", color=INK, fontsize=size)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e3e8ec", linewidth=0.8)


def _throughput(found: dict[str, Any], points: list[dict[str, Any]], path: Path) -> None:
    figure, axes = _axes("Chunks of 350 bytes per second, publisher to reader, over the number of streams")
    axes.plot(
        [p["streams"] for p in points],
        [p["chunks_per_s"] for p in points],
        "o-",
        color=OURS,
        label="router, 2 stream actors",
    )
    baselines = found.get("baselines", {})
    marks = (
        ("bound", "chunks_per_s", "bound: the same work in one process, times two", None),
        ("redis_streams", "chunks_per_s", "Redis streams", 512),
        ("redis_streams", "chunks_per_s_hiredis", "Redis streams with hiredis", 512),
        ("nats_jetstream", "chunks_per_s", "NATS JetStream", 512),
        ("serve_streaming", "chunks_per_s", "Ray Serve streaming", 32),
        ("naive", "chunks_per_s_8_streams", "a call per chunk per hop", 8),
        ("naive", "chunks_per_s", "a call per chunk per hop", 32),
        ("ray_queue", "chunks_per_s", "ray.util.queue", 8),
    )
    shown = set()
    for (name, key, label, streams), colour in zip(
        marks, ("#2ca02c", "#d62728", "#ff7f0e", "#17becf", "#e377c2", "#9467bd", "#9467bd", "#8c564b"), strict=True
    ):
        value = baselines.get(name, {}).get(key)
        if value is None:
            continue
        if streams is None:
            axes.axhline(value["median"], color=colour, linestyle="--", linewidth=1.2, label=label)
        else:
            axes.plot([streams], [value["median"]], "s", color=colour, label=None if label in shown else label)
        shown.add(label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("open streams")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def _latency(found: dict[str, Any], points: list[dict[str, Any]], path: Path) -> None:
    figure, axes = _axes("From provider chunk to reader's message, 256 streams, over the load")
    load = [p["sent_per_s"] for p in points]
    for key, label, style in (("p50_ms", "median", "o-"), ("p90_ms", "90 %", "o--"), ("p99_ms", "99 %", "o:")):
        axes.plot(load, [p[key] for p in points], style, color=OURS, label=label)
    light = found.get("latency", {}).get("light")
    if light is not None:
        axes.axhline(light["call_ms"]["median"], color=QUIET, linewidth=1.2, label="one bare Ray call, now and then")
    saturated = found.get("latency", {}).get("saturated")
    if saturated is not None:
        axes.axvline(saturated["chunks_per_s"]["median"], color=QUIET, linestyle=":", label="saturated")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("chunks per second")
    axes.set_ylabel("milliseconds")
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


if __name__ == "__main__":
    write(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))

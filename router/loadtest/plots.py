"""The plots of a report, each as a piece of HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from router.loadtest.charts import HALF, WIDE, Bar, Chart
from router.loadtest.figure_names import SHARES, TIMES

Results = Mapping[str, Any]

LATENCY_TEXT = (
    "From the moment a chunk is handed to publish until a prompt reader has the message that it completes: what the "
    "router adds. By the second, on a logarithmic scale."
)
FIRST_TEXT = "From an agent's question until its reader has the first message. The provider's thinking is in it."
PERCENTILES_TEXT = "How long the slowest had to wait."
THROUGHPUT_TEXT = "Chunks that came in and messages that went out, a second; behind them, the streams that were open."
MEMORY_TEXT = "Of the processes on the driver's machine, pages shared with others left out."
CPU_TEXT = "Of the same processes."
QUEUES_TEXT = (
    "What the stream actors hold: messages of open streams that were not read yet, and all that is kept for replay and "
    "late readers."
)

_SHARE_COLOURS = {"p50": "#3b82f6", "p90": "#f59e0b", "p99": "#dc2626"}
_TWO_COLOURS = ("#3b82f6", "#f59e0b")
_TIME_COLOURS = {
    "added_latency_ms": "#3b82f6",
    "time_to_first_message_ms": "#8b5cf6",
    "inter_message_gap_ms": "#14b8a6",
}
_ROLE_COLOURS = {
    "driver": "#94a3b8",
    "provider": "#cbd5e1",
    "publisher": "#a78bfa",
    "reader": "#2dd4bf",
    "ray": "#e2c08d",
    "router": "#ef4444",
    "stream actor": "#3b82f6",
}
_FAULT_COLOURS = {
    "kill-stream-actor": "#dc2626",
    "kill-router": "#7c3aed",
    "kill-node": "#111827",
    "stop-actor": "#d97706",
}
_GOOD_ENDS = {
    "end_turn": "#22a06b",
    "tool_call": "#3b82f6",
    "max_tokens": "#8b5cf6",
    "refusal": "#14b8a6",
    "stop_sequence": "#0ea5e9",
    "content_filter": "#a16207",
}
_BAD_ENDS = {"error": "#dc2626", "cancelled": "#94a3b8", "incomplete": "#ea580c", "lost": "#111827"}
_OTHER_END = "#be185d"
_THINKING = "#dfe4ec"
_ROW_HEIGHT = 5
_GANTT_HEIGHTS = (260, 900)
_ACROSS = "seconds after the start"


def latency(found: Results, name: str, *, is_narrow: bool = False) -> str:
    """Return percentiles over time, the faults marked; where it is narrow, not named."""
    series = found["series"]
    chart = Chart(_ACROSS, "ms", "ms", width=HALF if is_narrow else WIDE, is_log=True)
    for part, values in series[name].items():
        chart.line(part, series["at_s"], values, _SHARE_COLOURS[part])
    _mark_faults(chart, found, named=not is_narrow)
    return chart.to_html()


def latency_of_two(runs: Sequence[Results], names: Sequence[str]) -> str:
    """Return the median and the 99th percentile of two runs over time."""
    chart = Chart(_ACROSS, "ms", "ms", is_log=True)
    for found, name, colour in zip(runs, names, _TWO_COLOURS, strict=True):
        series = found["series"]
        for part, width in (("p50", 1.0), ("p99", 2.5)):
            chart.line(f"{name} {part}", series["at_s"], series["added_latency_ms"][part], colour, width=width)
    return chart.to_html()


def percentiles(runs: Sequence[Results], names: Sequence[str] = ("",)) -> str:
    """Return the percentiles of the three times that matter, of one run or of two."""
    labels = [part.replace("_", ".") for part in SHARES]
    width = HALF if len(runs) == 1 else WIDE
    chart = Chart("", "ms", "ms", width=width, is_log=True, names=labels, end=len(labels) - 1.0)
    for number, (found, run) in enumerate(zip(runs, names, strict=False)):
        for name, colour in _TIME_COLOURS.items():
            if found[name]["count"]:
                values = [found[name][part] for part in SHARES]
                title = f"{run} {TIMES[name].lower()}".strip()
                chart.line(title, range(len(labels)), values, colour, is_dashed=bool(number))
    return chart.to_html()


def throughput(found: Results) -> str:
    """Return chunks in and messages out over time, with the streams that were open."""
    series = found["series"]
    chart = Chart(_ACROSS, "a second", "a second", right="open streams")
    chart.area("open streams", series["at_s"], series["streams_open"], "#cbd5e1", on_the_right=True)
    for key, name, colour in (("chunks_per_s", "chunks in", "#8b5cf6"), ("messages_per_s", "messages out", "#14b8a6")):
        chart.line(name, series["at_s"], series[key], colour)
    _mark_faults(chart, found)
    return chart.to_html()


def throughput_of_two(runs: Sequence[Results], names: Sequence[str]) -> str:
    """Return the messages out of two runs."""
    chart = Chart(_ACROSS, "messages a second", "a second")
    for found, name, colour in zip(runs, names, _TWO_COLOURS, strict=True):
        chart.line(name, found["series"]["at_s"], found["series"]["messages_per_s"], colour)
    return chart.to_html()


def by_role(found: Results, key: str, unit: str) -> str:
    """Return memory or CPU over time, the roles one on the other."""
    series = found["series"]["processes"]
    chart = Chart(_ACROSS, unit, unit, width=HALF, end=_end_s(found))
    roles = sorted(series[key], key=lambda role: list(_ROLE_COLOURS).index(role) if role in _ROLE_COLOURS else 0)
    for role in roles:
        chart.stack(role, series["at_s"], series[key][role], _ROLE_COLOURS.get(role, "#888"))
    return chart.to_html()


def queues(found: Results) -> str:
    """Return what the stream actors hold over time."""
    series = found["series"]["queues"]
    chart = Chart(_ACROSS, "MB", "MB")
    for key, name, colour in (("held_bytes", "kept in all", "#94a3b8"), ("unread_bytes", "not read yet", "#dc2626")):
        values = [None if value is None else value / 1e6 for value in series[key]]
        chart.area(name, series["at_s"], values, colour)
    _mark_faults(chart, found)
    return chart.to_html()


def gantt(found: Results) -> str:
    """Return a row a stream: when it was asked for, when it spoke, how it ended."""
    rows = sorted(found["timeline_streams"]["rows"], key=lambda row: row[2])
    height = min(max(len(rows) * _ROW_HEIGHT + 90, _GANTT_HEIGHTS[0]), _GANTT_HEIGHTS[1])
    chart = Chart(_ACROSS, "streams, by start", height=height, rows=len(rows))
    for place, row in enumerate(rows):
        name, recording, asked_s, spoke_s, ended_s, reason = row[:6]
        if ended_s is None:
            continue
        colour = {**_GOOD_ENDS, **_BAD_ENDS}.get(reason, _OTHER_END)
        tip = f"stream {name}: {recording}\n{asked_s:.1f} s to {ended_s:.1f} s, {reason}"
        thought_s = (ended_s if spoke_s is None else spoke_s) - asked_s
        chart.bars.append(Bar(place, asked_s, thought_s, _THINKING, tip))
        chart.keys["provider thinks"] = _THINKING
        if spoke_s is not None:
            chart.bars.append(Bar(place, spoke_s, ended_s - spoke_s, colour, tip))
            chart.keys[str(reason or "not opened")] = colour
    _mark_faults(chart, found)
    return chart.to_html()


def _mark_faults(chart: Chart, found: Results, *, named: bool = True) -> None:
    """Draw the faults, and end the plot where the last stream ended: what follows is only waiting."""
    chart.end = _end_s(found)
    for fault in found["faults"]:
        if fault["target"] is not None:
            text = fault["kind"] if named else ""
            chart.marks.append((fault["at_s"], _FAULT_COLOURS.get(fault["kind"], "#555"), text))


def _end_s(found: Results) -> float:
    """Return when the last message was read, and a little more."""
    series = found["series"]
    busy = [at_s for at_s, rate in zip(series["at_s"], series["messages_per_s"], strict=True) if rate]
    return 1.02 * (max(busy, default=0.0) + float(series["bin_s"]))

"""The plots of a report, each as a piece of HTML; the plotting library is put into the page once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

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
_HEIGHT = 340
_ROW_HEIGHT = 5
_GANTT_HEIGHTS = (260, 900)
_DECADES_WITH_STEPS_MAX = 3


def library() -> str:
    """Return the plotting library's script."""
    from plotly.offline import get_plotlyjs  # noqa: PLC0415  # an extra, and slow to load

    script: str = get_plotlyjs()
    return script


def latency(found: Results, name: str, *, name_faults: bool = True) -> str:
    """Return percentiles over time, the faults marked."""
    series = found["series"]
    figure = _figure("seconds after the start", "ms")
    for part, values in series[name].items():
        figure.add_scatter(
            x=series["at_s"],
            y=values,
            name=part,
            mode="lines+markers",
            connectgaps=True,
            line={"color": _SHARE_COLOURS[part], "width": 2},
            marker={"size": 3},
            hovertemplate="%{y:.1f} ms",
        )
    _log_scale(figure)
    _mark_faults(figure, found, named=name_faults)
    return _html(figure)


def latency_of_two(runs: Sequence[Results], names: Sequence[str]) -> str:
    """Return the median and the 99th percentile of two runs over time."""
    figure = _figure("seconds after the start", "ms")
    for found, name, colour in zip(runs, names, _TWO_COLOURS, strict=True):
        series = found["series"]
        for part, width in (("p50", 1), ("p99", 2.5)):
            figure.add_scatter(
                x=series["at_s"],
                y=series["added_latency_ms"][part],
                name=f"{name} {part}",
                mode="lines",
                connectgaps=True,
                line={"color": colour, "width": width},
                hovertemplate="%{y:.1f} ms",
            )
    _log_scale(figure)
    return _html(figure)


def percentiles(runs: Sequence[Results], names: Sequence[str] = ("",)) -> str:
    """Return the percentiles of the three times that matter, of one run or of two."""
    figure = _figure("", "ms")
    dashes = ("solid", "dot")
    labels = [part.replace("_", ".") for part in SHARES]
    for found, run, dash in zip(runs, names, dashes, strict=False):
        for name, colour in _TIME_COLOURS.items():
            if not found[name]["count"]:
                continue
            figure.add_scatter(
                x=labels,
                y=[found[name][part] for part in SHARES],
                name=f"{run} {TIMES[name].lower()}".strip(),
                mode="lines+markers",
                line={"color": colour, "width": 2, "dash": dash},
                hovertemplate="%{y:,.1f} ms",
            )
    _log_scale(figure)
    return _html(figure)


def throughput(found: Results) -> str:
    """Return chunks in and messages out over time, with the streams that were open."""
    series = found["series"]
    figure = _figure("seconds after the start", "a second")
    figure.add_scatter(
        x=series["at_s"],
        y=series["streams_open"],
        name="open streams",
        yaxis="y2",
        mode="lines",
        fill="tozeroy",
        line={"color": "#cbd5e1", "width": 1},
        fillcolor="rgba(203,213,225,.35)",
    )
    for key, name, colour in (("chunks_per_s", "chunks in", "#8b5cf6"), ("messages_per_s", "messages out", "#14b8a6")):
        figure.add_scatter(x=series["at_s"], y=series[key], name=name, mode="lines", line={"color": colour, "width": 2})
    right = {
        "title": "open streams",
        "overlaying": "y",
        "side": "right",
        "showgrid": False,
        "rangemode": "tozero",
        "tickmode": "auto",
        "nticks": 5,
        "tickformat": ",d",
    }
    figure.update_layout(yaxis2=right, yaxis={"rangemode": "tozero"})
    _mark_faults(figure, found)
    return _html(figure)


def throughput_of_two(runs: Sequence[Results], names: Sequence[str]) -> str:
    """Return the messages out of two runs."""
    figure = _figure("seconds after the start", "messages a second")
    for found, name, colour in zip(runs, names, _TWO_COLOURS, strict=True):
        series = found["series"]
        figure.add_scatter(
            x=series["at_s"], y=series["messages_per_s"], name=name, mode="lines", line={"color": colour}
        )
    return _html(figure)


def by_role(found: Results, key: str, unit: str) -> str:
    """Return memory or CPU over time, the roles one on the other."""
    series = found["series"]["processes"]
    figure = _figure("seconds after the start", unit)
    roles = sorted(series[key], key=lambda role: list(_ROLE_COLOURS).index(role) if role in _ROLE_COLOURS else 0)
    for role in roles:
        figure.add_scatter(
            x=series["at_s"],
            y=series[key][role],
            name=role,
            mode="lines",
            stackgroup="all",
            line={"width": 0.5, "color": _ROLE_COLOURS.get(role, "#888")},
            hovertemplate="%{y:,.1f} " + unit,
        )
    figure.update_yaxes(rangemode="tozero")
    figure.update_xaxes(range=[0, _end_s(found)])
    return _html(figure)


def queues(found: Results) -> str:
    """Return what the stream actors hold over time."""
    series = found["series"]["queues"]
    figure = _figure("seconds after the start", "MB")
    for key, name, colour in (("held_bytes", "kept in all", "#94a3b8"), ("unread_bytes", "not read yet", "#dc2626")):
        values = [None if value is None else value / 1e6 for value in series[key]]
        figure.add_scatter(
            x=series["at_s"],
            y=values,
            name=name,
            mode="lines",
            fill="tozeroy",
            line={"color": colour, "width": 1.5},
            hovertemplate="%{y:,.2f} MB",
        )
    figure.update_yaxes(rangemode="tozero")
    _mark_faults(figure, found)
    return _html(figure)


def gantt(found: Results) -> str:
    """Return a row a stream: when it was asked for, when it spoke, how it ended."""
    rows = sorted(found["timeline_streams"]["rows"], key=lambda row: row[2])
    figure = _figure("seconds after the start", "streams, by start")
    thinking = [(place, row) for place, row in enumerate(rows) if row[4] is not None]
    _bars(
        figure,
        "provider thinks",
        _THINKING,
        [(place, row[2], (row[3] if row[3] is not None else row[4]) - row[2], row) for place, row in thinking],
    )
    for reason in sorted({row[5] for _, row in thinking}, key=lambda reason: (reason not in _GOOD_ENDS, str(reason))):
        spoke = [
            (place, row[3], row[4] - row[3], row) for place, row in thinking if row[5] == reason and row[3] is not None
        ]
        _bars(figure, str(reason or "not opened"), {**_GOOD_ENDS, **_BAD_ENDS}.get(reason, _OTHER_END), spoke)
    height = min(max(len(rows) * _ROW_HEIGHT + 90, _GANTT_HEIGHTS[0]), _GANTT_HEIGHTS[1])
    _mark_faults(figure, found)
    figure.update_layout(barmode="overlay", bargap=0.25, height=height, hovermode="closest")
    figure.update_yaxes(autorange="reversed", showticklabels=False, showgrid=False)
    return _html(figure)


def _bars(figure: Any, name: str, colour: str, bars: Sequence[tuple[int, float, float, Sequence[Any]]]) -> None:
    if not bars:
        return
    figure.add_bar(
        y=[bar[0] for bar in bars],
        base=[bar[1] for bar in bars],
        x=[bar[2] for bar in bars],
        orientation="h",
        name=name,
        marker={"color": colour, "line": {"width": 0}},
        customdata=[[bar[3][0], bar[3][1], bar[3][5]] for bar in bars],
        hovertemplate="stream %{customdata[0]}: %{customdata[1]}<br>"
        "%{base:.1f} s + %{x:.1f} s, %{customdata[2]}<extra></extra>",
    )


def _mark_faults(figure: Any, found: Results, *, named: bool = True) -> None:
    """Draw the faults, and end the plot where the last stream ended: what follows is only waiting."""
    figure.update_xaxes(range=[0, _end_s(found)])
    struck = [fault for fault in found["faults"] if fault["target"] is not None]
    if struck and named:
        figure.update_layout(margin={"t": 64}, height=_HEIGHT + 40)
    for number, fault in enumerate(struck):
        colour = _FAULT_COLOURS.get(fault["kind"], "#555")
        figure.add_vline(x=fault["at_s"], line={"color": colour, "width": 1.5, "dash": "dash"})
        if not named:
            continue
        figure.add_annotation(
            # Labels of neighbours must not lie on each other.
            x=fault["at_s"],
            y=1.0,
            yref="paper",
            yshift=15 * (number % 3),
            text=fault["kind"],
            showarrow=False,
            xanchor="center",
            yanchor="bottom",
            font={"size": 11, "color": colour},
        )


def _log_scale(figure: Any) -> None:
    """Make the scale of times logarithmic, with marks that can be read: 2 and 5 too, where few powers of ten fit."""
    values = [value for trace in figure.data for value in trace.y if value]
    if not values:
        return
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    steps = (1, 2, 5) if high - low <= _DECADES_WITH_STEPS_MAX else (1,)
    marks = [step * 10.0**power for power in range(low, high + 1) for step in steps]
    figure.update_yaxes(type="log", tickvals=marks, ticktext=[f"{mark:,.10g}" for mark in marks])


def _end_s(found: Results) -> float:
    """Return when the last message was read, and a little more."""
    series = found["series"]
    busy = [at_s for at_s, rate in zip(series["at_s"], series["messages_per_s"], strict=True) if rate]
    return 1.02 * (max(busy, default=0.0) + float(series["bin_s"]))


def _figure(across: str, up: str) -> Any:
    import plotly.graph_objects as go  # noqa: PLC0415  # an extra, and slow to load

    figure = go.Figure()
    figure.update_layout(
        template="plotly_white",
        height=_HEIGHT,
        margin={"l": 60, "r": 30, "t": 12, "b": 44},
        font={"family": "system-ui, Segoe UI, Roboto, sans-serif", "size": 13, "color": "#1c2430"},
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": -0.2, "yanchor": "top"},
        hovermode="x unified",
        xaxis={"title": {"text": across, "standoff": 6}, "gridcolor": "#eef1f5", "zeroline": False},
        yaxis={"title": {"text": up}, "gridcolor": "#eef1f5", "zeroline": False},
    )
    return figure


def _html(figure: Any) -> str:
    piece: str = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        config={"displaylogo": False, "responsive": True, "displayModeBar": False},
    )
    return piece

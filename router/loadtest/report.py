"""The report of a load test: one HTML file with all in it, from the results alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any

import yaml

from router.loadtest import plots
from router.loadtest.figure_names import COUNTS, SHARES, TIMES

Results = Mapping[str, Any]
_EXAMPLE_CHARS_MAX = 600


def to_html(found: Results) -> str:
    """Return the report of one run."""
    parts = [
        _heading(found),
        _verdict(found),
        _tiles(found),
        _section("Added latency", plots.LATENCY_TEXT, plots.latency(found, "added_latency_ms")),
        _pair(
            _section(
                "Time to first message",
                plots.FIRST_TEXT,
                plots.latency(found, "time_to_first_message_ms", is_narrow=True),
            ),
            _section("Percentiles", plots.PERCENTILES_TEXT, plots.percentiles([found])),
        ),
        _section("Throughput", plots.THROUGHPUT_TEXT, plots.throughput(found)),
        _section("Streams", _gantt_text(found), plots.gantt(found)),
        _pair(
            _section("Memory", plots.MEMORY_TEXT, plots.by_role(found, "memory_mb", "MB")),
            _section("CPU", plots.CPU_TEXT, plots.by_role(found, "cpu_cores", "cores")),
        ),
        _section("Queues", plots.QUEUES_TEXT, plots.queues(found)),
        _pair(_thresholds(found), _counts(found)),
        _faults(found),
        _pair(_times(found), _processes(found)),
        _wrong(found),
        _workload(found),
    ]
    return _page(f"Load test {found['name']}", parts)


def to_comparison(
    first: Results,
    second: Results,
    names: tuple[str, str],
    rows: Sequence[Sequence[str]],
    differences: Sequence[str] = (),
) -> str:
    """Return the report of two runs side by side; `rows` and `differences` are those of `comparison`."""
    titles = [
        f"{name}: {found['name']}, {found['started_at']}" for name, found in zip(names, (first, second), strict=True)
    ]
    parts = [
        f"<h1>Two load tests</h1><p>{escape(titles[0])}<br>{escape(titles[1])}</p>",
        _section("Figures", "What is better is green, what is worse is red.", _comparison_table(names, rows)),
        _section(
            "Added latency",
            "Median (thin) and 99th percentile (thick), second by second, from each run's start.",
            plots.latency_of_two((first, second), names),
        ),
        _section("Percentiles", plots.PERCENTILES_TEXT, plots.percentiles([first, second], names)),
        _section(
            "Messages out", "Messages handed to readers, a second.", plots.throughput_of_two((first, second), names)
        ),
        _section("The workloads differ", "So not all of the change is the router's doing.", _lines(differences))
        if differences
        else "",
    ]
    return _page("Two load tests", parts)


def _page(title: str, parts: Iterable[str]) -> str:
    template = Template(resources.files("router.loadtest").joinpath("report.html").read_text(encoding="utf-8"))
    return template.substitute(title=escape(title), body="\n".join(parts))


# --- parts ----------------------------------------------------------------------------------------


def _heading(found: Results) -> str:
    environment = found["environment"]
    where = (
        f"{environment['cpus']} CPUs, {environment['system']}, Python {environment['python']}, Ray {environment['ray']}"
    )
    described = f"{escape(found['description'])}<br>" if found["description"] else ""
    readers = escape(how_read(found))
    text = f"{described}{escape(found['started_at'])} · seed {found['seed']} · {readers} · {escape(where)}"
    return f"<h1>Load test {escape(found['name'])}</h1><p>{text}</p>"


def how_read(found: Results) -> str:
    """Return by which way the streams were read, and in which format."""
    readers = found["workload"].get("readers", {})
    if readers.get("via") != "sse":
        return "read from the router"
    count = readers.get("gateways", 1)
    return f"read in the format {readers.get('format', 'native')}, through {count} gateway{'s' if count > 1 else ''}"


def _verdict(found: Results) -> str:
    wrong = [f"{found['counts'][name]:,} {name}" for name in COUNTS if found["counts"][name]]
    breached = [limit["name"] for limit in found["thresholds"] if not limit["met"]]
    text = (
        f"Wrong: {', '.join(wrong)}."
        if wrong
        else f"Nothing lost, duplicated, reordered or unverified in {found['readings']:,} readings."
    )
    if breached:
        text += f" Thresholds breached: {', '.join(breached)}."
    elif found["thresholds"]:
        text += f" All {len(found['thresholds'])} thresholds met."
    if found["provider_errors"]:
        text += f" The provider failed {found['provider_errors']:,} of {found['streams']:,} streams (see Errors)."
    if found["interrupted"]:
        text += " The run was interrupted; these are its figures until then."
    bad = " bad" if wrong or breached else ""
    return f'<section class="verdict{bad}">{escape(text)}</section>'


def _tiles(found: Results) -> str:
    def pair(name: str) -> str:
        return f"{_number(found[name]['p50'])} / {_number(found[name]['p99'])} ms"

    tiles = [
        (f"{found['streams']:,}", f"streams, {found['streams_open_max']:,} at once"),
        (f"{found['messages_per_s']:,.0f}/s", f"messages out, {found['messages']:,} in all"),
        (f"{found['chunks_per_s']:,.0f}/s", f"chunks in, {found['chunks']:,} in all"),
        (cores_busy(found), f"cores busy on average, of {found['environment']['cpus']}"),
        (pair("added_latency_ms"), "added latency, p50 / p99"),
        (pair("time_to_first_message_ms"), "first message, p50 / p99"),
        (f"{found['credit_waits']:,}", "waits for credit"),
        (f"{found['actors']:,}", "stream actors at most"),
        (f"{_number(found['memory_mb'])} MB", "memory at most, all processes"),
    ]
    inner = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(label)}</span></div>' for value, label in tiles
    )
    return f'<div class="tiles">{inner}</div>'


def cores_busy(found: Results) -> str:
    """Return what throughput was paid with: cores busy on average, of all processes on the driver's machine."""
    return "-" if found["cpu_cores"] is None else f"{found['cpu_cores']:.2f}"


def _section(title: str, text: str, inner: str) -> str:
    return f"<section><h2>{escape(title)}</h2><p>{escape(text)}</p>{inner}</section>"


def _pair(left: str, right: str) -> str:
    return f'<div class="pair">{left}{right}</div>'


def _gantt_text(found: Results) -> str:
    every = found["timeline_streams"]["every"]
    which = "All streams" if every == 1 else f"Every {every}th stream"
    return f"{which}, a row each: pale while the provider thinks, then in the colour of its end. Dashed: faults."


def _thresholds(found: Results) -> str:
    if not found["thresholds"]:
        return _section("Thresholds", "The workload names none.", "")
    rows = [
        (
            escape(limit["name"]),
            _cell(_number(limit["value"])),
            _cell(" … ".join("" if limit[side] is None else f"{limit[side]:g}" for side in ("min", "max"))),
            '<span class="good">met</span>' if limit["met"] else '<span class="bad">breached</span>',
        )
        for limit in found["thresholds"]
    ]
    return _section(
        "Thresholds",
        "Least and most allowed; a figure that was not measured meets none.",
        _table(("figure", "value", "allowed", ""), rows),
    )


def _counts(found: Results) -> str:
    rows = [
        (
            f'<td class="n">{escape(name)}</td>',
            _cell(f"{found['counts'][name]:,}", is_bad=bool(found["counts"][name])),
            f'<span class="soft">{escape(text)}</span>',
        )
        for name, text in COUNTS.items()
    ]
    return _section("What went wrong", "Over all readers.", _table(("", "", "what it counts"), rows))


def _faults(found: Results) -> str:
    if not found["faults"] and not found["rpc_failures"]:
        return ""
    text = "What was done to the router, when."
    if found["rpc_failures"]:
        text += f" Besides, {found['rpc_failures']:.0%} of all calls between processes failed, all the time."
    rows = [
        (
            _cell(f"{fault['at_s']:.1f} s"),
            escape(fault["kind"]),
            escape(fault["target"] or "hit nothing"),
            escape(fault["detail"]),
        )
        for fault in found["faults"]
    ]
    return _section("Faults", text, _table(("at", "fault", "target", ""), rows))


def _times(found: Results) -> str:
    shares = list(SHARES)
    rows = [
        (escape(title), *(_cell(_number(found[name][part])) for part in (*shares, "max")))
        for name, title in TIMES.items()
        if found[name]["count"]
    ]
    return _section(
        "Times", "In milliseconds.", _table(("", *(share.replace("_", ".") for share in shares), "max"), rows)
    )


def _processes(found: Results) -> str:
    rows = [
        (
            escape(process["role"]),
            _cell(str(process["pid"])),
            _cell(f"{process['cpu_s']:,.1f} s"),
            _cell(f"{process['memory_mb_max']:,.0f} MB"),
        )
        for process in found["processes"]
        if process["role"] != "ray"
    ]
    own = [process for process in found["processes"] if process["role"] == "ray"]
    if own:
        cpu_s, memory_mb = (sum(process[key] for process in own) for key in ("cpu_s", "memory_mb_max"))
        rows.append((f"Ray's own ({len(own)})", "", _cell(f"{cpu_s:,.1f} s"), _cell(f"{memory_mb:,.0f} MB")))
    return _section(
        "Processes",
        "On the machine of the driver; memory without what is shared.",
        _table(("role", "pid", "CPU", "memory at most"), rows),
    )


def _wrong(found: Results) -> str:
    if not found["examples"] and not found["errors"]:
        return ""
    rows = [(_cell(f"{count:,}"), escape(kind)) for kind, count in found["errors"].items()]
    examples = "".join(f"<pre>{escape(text[:_EXAMPLE_CHARS_MAX])}</pre>" for text in found["examples"])
    return _section(
        "Errors",
        "By kind, then the first few in words. What a provider does by its script is an error here, too.",
        _table(("times", "kind"), rows) + examples,
    )


def _workload(found: Results) -> str:
    text = yaml.safe_dump(found["workload"], sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
    return f"<section><details><summary>The workload</summary><pre>{escape(text)}</pre></details></section>"


def _lines(texts: Sequence[str]) -> str:
    return f"<pre>{escape(chr(10).join(texts))}</pre>"


def _comparison_table(names: tuple[str, str], rows: Sequence[Sequence[str]]) -> str:
    colours = {"better": "good", "worse": "bad"}
    made = [
        (
            escape(row[0]),
            _cell(row[1]),
            _cell(row[2]),
            f'<span class="{colours.get(row[4], "soft")}">{escape(row[3])}</span>',
        )
        for row in rows
    ]
    return _table(("", *names, "change"), made)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join("<tr>" + "".join(_td(cell) for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _td(cell: str) -> str:
    return cell if cell.startswith("<td") else f"<td>{cell}</td>"


def _cell(text: str, *, is_bad: bool = False) -> str:
    """Return a cell with a number."""
    return f'<td class="n{" bad" if is_bad else ""}">{escape(text)}</td>'


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:,.1f}"  # noqa: PLR2004  # digits worth showing

"""The tables of docs/benchmarks.md out of a file of figures: `python -m benchmarks.tables FILE [--only NAME]`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import pace, targets
from benchmarks.curves import CURVES
from benchmarks.targets import look_up

Found = dict[str, Any]
_PEERS = (
    ("NATS JetStream, in memory, acknowledged", "nats_jetstream", "chunks_per_s", "ratio_to_nats"),
    ("Redis streams, pipelined by 512, redis-py", "redis_streams", "chunks_per_s", "ratio_to_redis"),
    ("Redis streams, the same with hiredis", "redis_streams", "chunks_per_s_hiredis", "ratio_to_redis_hiredis"),
    ("Ray Serve streaming, 32 calls", "serve_streaming", "chunks_per_s", "ratio_to_serve"),
    ("`ray.util.queue.Queue`, one a request (8 queues)", "ray_queue", "chunks_per_s", "ratio_to_ray_queue"),
    ("a call per chunk per hop, an actor a request (32 streams)", "naive", "chunks_per_s", "ratio_to_naive"),
)


# --- the form ---------------------------------------------------------------------------------------


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], words: Collection[int] = (0,)) -> str:
    """Return a table of Markdown: these columns are words, the others figures."""
    under = "|" + "".join("---|" if at in words else "---:|" for at in range(len(head)))
    return "\n".join([_row(head), under, *map(_row, rows)])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def number(value: float | None, digits: int = 3) -> str:
    """Return a figure as it is written: so many digits that count, thousands apart; an empty cell for none."""
    if value is None:
        return ""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 ** (digits - 1) else f"{rounded:g}"


def spread(figure: dict[str, Any] | None) -> str:
    """Return a median with its lowest and highest."""
    if figure is None:
        return ""
    return f"{number(figure['median'])} ({number(figure['low'])} to {number(figure['high'])})"


# --- the tables -------------------------------------------------------------------------------------


def goals(found: Found) -> str:
    """What was hoped for."""
    rows = [
        (
            row["what"],
            row["target"],
            number(row["value"]),
            {True: "", False: "missed", None: "not measured"}[row["holds"]],
        )
        for row in targets.check(found)
    ]
    return markdown(("what", "wanted", "came", ""), rows)


def peers(found: Found) -> str:
    """Against others, and what these do not do."""
    shared, baselines = look_up(found, "throughput.shared") or {}, found.get("baselines", {})
    formats = shared.get("other_formats", {})
    rows = [
        ("the router: pydantic messages to the reader", spread(shared.get("chunks_per_s")), "", ""),
        ("… structs", spread(formats.get("struct")), "", ""),
        ("… plain dicts", spread(formats.get("dict")), "", ""),
        ("… packed bytes", spread(formats.get("packed")), "", ""),
        (
            "`bound`: the same work in one process without Ray, times two cores",
            spread(look_up(baselines, "bound.chunks_per_s")),
            number(shared.get("ratio_to_bound")),
            "",
        ),
    ]
    for title, name, key, ratio in _PEERS:
        of = baselines.get(name, {})
        rate = f"left out: {of['left_out']}" if "left_out" in of else spread(of.get(key))
        lacks = "as above" if rows[-1][3] and rows[-1][3] == of.get("lacks") else of.get("lacks", "")
        rows.append((title, rate, number(shared.get(ratio)), lacks))
    head = ("512 streams", "chunks a second", "the router's over it", "what it does not do here")
    return markdown(head, [row for row in rows if row[1]], words=(0, 3))


def dedicated(found: Found) -> str:
    """An actor for each stream."""
    run = look_up(found, "throughput.dedicated") or {}
    naive = look_up(found, "baselines.naive.chunks_per_s")
    rows = [
        ("the router", spread(run.get("chunks_per_s")), ""),
        ("a call per chunk per hop", spread(naive), number(run.get("ratio_to_naive"))),
    ]
    return markdown(("32 streams, an actor each", "chunks a second", "the router's over it"), rows)


def latency(found: Found) -> str:
    """Latencies, in milliseconds."""

    def ms(path: str) -> str:
        value = look_up(found, path)
        value = value["median"] if isinstance(value, dict) else value
        return "" if value is None else f"{number(value)} ms"

    half, fixed = look_up(found, "latency.half") or {}, look_up(found, "latency.fixed") or {}
    asked, cores = number(half.get("asked_per_s")), number(look_up(fixed, "cores_busy.median"))
    rows = [
        ("one bare Ray call, one after the other", ms("latency.light.call_without_gaps_ms"), ""),
        ("… fifty a second, as light load is", ms("latency.light.call_ms"), ""),
        ("one stream, fifty chunks a second: chunk to message", ms("latency.light.p50_ms"), ms("latency.light.p99_ms")),
        ("open to first message, actors warm", ms("open.p50_ms"), ms("open.p99_ms")),
        (
            f"256 streams at half of their most ({asked} chunks a second)",
            ms("latency.half.p50_ms"),
            ms("latency.half.p99_ms"),
        ),
        (
            f"256 streams at 20,000 chunks a second ({cores} cores busy)",
            ms("latency.fixed.p50_ms"),
            ms("latency.fixed.p99_ms"),
        ),
        ("first message of small streams: alone", ms("fairness.p50_ms.alone"), ms("fairness.p99_ms.alone")),
        ("… beside one that floods", ms("fairness.p50_ms.beside_a_flood"), ms("fairness.p99_ms.beside_a_flood")),
        ("neighbours of streams that misbehave: alone", "", ms("bad_input.p99_ms.alone")),
        ("… beside them", "", ms("bad_input.p99_ms.beside")),
    ]
    return markdown(("", "median", "99 %"), [row for row in rows if any(row[1:])])


def pace_of_models(found: Found) -> str:
    """Cores busy and latency at the pace of real models."""
    return pace.table(look_up(found, "pace.rows") or [])


def stages(found: Found) -> str:
    """CPU by process and by stage, the bound by stage, and what to attack next."""
    of = found["stages"]
    account, standing, whole = of.get("account", {}), of.get("standing", {}), of.get("whole_us_per_chunk", {})
    rows = []
    for process in [*of["us_per_chunk"], *(name for name in account if name not in of["us_per_chunk"])]:
        by_stage = of["us_per_chunk"].get(process, {})
        row = account.get(process, {})
        told = ", ".join(f"{stage} {number(us, 2)}" for stage, us in by_stage.items())
        figures = (sum(by_stage.values()), whole.get(process), row.get("measured"), row.get("unexplained"))
        rows.append((process, told, *(number(figure, 2) for figure in figures)))
    head = ("process", "by stage, measured apart", "together", "whole, apart", "measured", "unexplained")
    parts = [markdown(head, rows, words=(0, 1))]
    lines = standing or {line: {"bound": us} for line, us in of["bound_us_per_chunk"].items()}
    bound = [
        (line, number(row["bound"], 2), number(row.get("spent"), 2), number(row.get("times") or None, 2))
        for line, row in lines.items()
    ]
    parts.append(markdown(("line", "bound, µs", "spent on the like, µs", "times"), bound))
    parts.append(f"Two cores that do nothing else: {number(of['bound_chunks_per_s'])} chunks a second.")
    if "next" in of:
        told = "; ".join(f"{process}, {stage} ({number(us, 2)} µs)" for process, stage, us in of["next"])
        parts.append(
            f"The router reaches {number(of['share_of_bound'])} of it. The costliest stages beyond the bound: {told}. "
            f"What is not explained: {number(of['unexplained'], 2)} µs."
        )
    return "\n\n".join(parts)


def cost_curves(found: Found) -> str:
    """Cost per chunk as the work grows."""
    curves = found["cost_curves"]
    rows = [
        (
            CURVES[name].name if at == 0 else "",
            f"{point['at']:,}",
            number(point["cpu_us_per_chunk_in_all"]),
            number(point["cpu_us_per_chunk_in_all"] / CURVES[name].work(point["at"])),
            number(point["chunks_per_s"]),
        )
        for name, points in curves["points"].items()
        for at, point in enumerate(points)
    ]
    head = ("", "", "µs of CPU a chunk", "over its work", "chunks a second")
    said = "\n".join(f"- Cliff: {cliff}." for cliff in curves["cliffs"]) or "No cliff."
    return f"{markdown(head, rows)}\n\n{said}"


def predictions(found: Found) -> str:
    """What larger machines should reach."""
    rows = [
        (
            layout["name"],
            number(layout["chunks_per_s"], 2),
            layout["limited_by"],
            ", ".join(f"{name} {number(value, 2)}" for name, value in layout["limits"].items()),
        )
        for layout in found["prediction"]["layouts"]
    ]
    return markdown(("machine", "chunks a second", "limited by", "all limits"), rows, words=(0, 2, 3))


TABLES: dict[str, tuple[str, str, Callable[[Found], str]]] = {
    "goals": ("Against what one hopes for", "targets", goals),
    "peers": ("Against others", "baselines", peers),
    "dedicated": ("An actor each", "throughput.dedicated", dedicated),
    "latency": ("Latency", "latency", latency),
    "pace": ("At the pace of real models", "pace", pace_of_models),
    "stages": ("Where the time goes", "stages", stages),
    "curves": ("As the work grows", "cost_curves", cost_curves),
    "prediction": ("What larger machines should reach", "prediction", predictions),
}
"""Each table: its title, where its figures are, and what writes it."""


def all_tables(found: Found, only: Sequence[str] = ()) -> str:
    """Return the tables whose figures are there, each under its title."""
    return "\n\n".join(
        f"## {title}\n\n{write(found)}"
        for name, (title, path, write) in TABLES.items()
        if look_up(found, path) is not None and (not only or name in only)
    )


def main() -> int:
    """Print the tables of a file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__)
    parser.add_argument("file", type=Path, help="what `python -m benchmarks --json FILE` has written")
    parser.add_argument("--only", action="append", default=[], choices=TABLES, help="one table (repeatable)")
    given = parser.parse_args()
    print(all_tables(json.loads(given.file.read_text()), given.only))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The figures of two runs compared. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router.loadtest.figure_names import COUNTS, TIMES

Results = Mapping[str, Any]
# Within this share, two runs of one workload differ by chance.
NOISE_SHARE = 0.05
# From here on "so many times" says more than a percentage.
TIMES_FROM = 10
# Whether more is better; what is not here is neither.
_MORE_IS_BETTER = {
    "messages_per_s": True,
    "chunks_per_s": True,
    "memory_mb": False,
    "cpu_cores": False,
    "credit_waits": False,
}
_NEUTRAL = ("streams", "streams_open_max", "messages", "chunks", "wall_s", "actors", "provider_errors")
_UNITS = {"wall_s": "wall time, s", "memory_mb": "memory, MB", "cpu_cores": "CPU, cores"}
_TIMES = ("added_latency_ms", "time_to_first_message_ms", "inter_message_gap_ms", "credit_wait_ms")
_PARTS = ("p50", "p90", "p99", "max")


def compare(first: Results, second: Results) -> list[tuple[str, str, str, str, str]]:
    """Return rows of (figure, first, second, change, verdict); the verdict is better, worse, same or empty."""
    rows = [_row(name, first.get(name), second.get(name), None) for name in _NEUTRAL]
    rows += [_row(f"counts: {name}", first["counts"][name], second["counts"][name], False) for name in COUNTS]
    rows += [_row(name, first.get(name), second.get(name), better) for name, better in _MORE_IS_BETTER.items()]
    rows += [
        _row(f"{TIMES[name]} {part} (ms)", first[name][part], second[name][part], False)
        for name in _TIMES
        for part in _PARTS
        if first[name]["count"] or second[name]["count"]
    ]
    return rows


def differences_in_workload(first: Results, second: Results) -> list[str]:
    """Return the keys in which the two workloads differ: what such a comparison must be read with."""
    mine, theirs = _flat(first["workload"]), _flat(second["workload"])
    return [
        f"{key}: {mine.get(key, 'default')} and {theirs.get(key, 'default')}"
        for key in sorted({*mine, *theirs})
        if mine.get(key) != theirs.get(key)
    ]


def _row(
    name: str,
    before: float | None,
    after: float | None,
    more_is_better: bool | None,  # noqa: FBT001  # of three values
) -> tuple[str, str, str, str, str]:
    title = _UNITS.get(name) or name.replace("_per_s", "/s").replace("_", " ")
    shown = (title, _shown(before), _shown(after))
    if before is None or after is None:
        return (*shown, "", "")
    if before == after:
        return (*shown, "=", "same" if more_is_better is not None else "")
    if not before:
        change = f"{after - before:+,.0f}"
    elif after / before >= TIMES_FROM:
        change = f"x {after / before:,.0f}"
    else:
        change = f"{(after - before) / before:+.0%}"
    if more_is_better is None:
        return (*shown, change, "")
    if before and abs(after - before) / before <= NOISE_SHARE:
        return (*shown, change, "same")
    return (*shown, change, "better" if (after > before) == more_is_better else "worse")


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:,.2f}"  # noqa: PLR2004  # digits worth showing


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {
            key: leaf
            for part, below in value.items()
            for key, leaf in _flat(below, f"{path}.{part}" if path else str(part)).items()
        }
    if isinstance(value, list) and any(isinstance(below, Mapping) for below in value):
        return {
            key: leaf for number, below in enumerate(value) for key, leaf in _flat(below, f"{path}.{number}").items()
        }
    return {path: value}

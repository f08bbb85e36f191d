"""What a gateway counts, and how Prometheus reads it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

_HELP = {
    "readers": ("gauge", "Streams that are being read."),
    "opened": ("counter", "Streams that readers have opened."),
    "resumed": ("counter", "Those of them that had a cursor."),
    "ended": ("counter", "Streams that readers have read to their end."),
    "slow": ("counter", "Readers that were closed because they took too little."),
    "interrupted": ("counter", "Readers that were closed before the end for another reason of ours."),
    "bytes": ("counter", "Bytes of streams that were sent."),
    "runs": ("counter", "Runs that were started."),
    "refused": ("counter", "Requests that were answered with an error, by its status."),
}


class Figures:
    """Counts by name and label: the format of a stream, or the status of a refusal."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, name: str, label: str, amount: int = 1) -> None:
        """Count something."""
        self._counts[name, label] += amount

    def of(self, name: str) -> int:
        """Return a count over all labels."""
        return sum(count for (known, _), count in self._counts.items() if known == name)

    def plus(self, others: Iterable[Figures]) -> Figures:
        """Return the sums of these and others."""
        together = Figures()
        for figures in (self, *others):
            together._counts.update(figures._counts)  # noqa: SLF001  # its own kind
        return together

    def text(self) -> str:
        """Return all counts as Prometheus reads them."""
        lines = []
        for name, (kind, meaning) in _HELP.items():
            full = f"stream_router_gateway_{name}" + ("_total" if kind == "counter" else "")
            lines += [f"# HELP {full} {meaning}", f"# TYPE {full} {kind}"]
            word = "status" if name == "refused" else "format"
            for (known, label), count in sorted(self._counts.items()):
                if known == name:
                    lines.append(f'{full}{{{word}="{label}"}} {count}')
        return "\n".join(lines) + "\n"

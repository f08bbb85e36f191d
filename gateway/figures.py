"""What a gateway counts, and how Prometheus reads it. Pure."""

from __future__ import annotations

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


class Count:
    """One count. What is counted for every message adds to it itself, without a call."""

    __slots__ = ("amount",)

    def __init__(self) -> None:
        self.amount: int = 0


class Figures:
    """Counts by name and label: the format of a stream, or the status of a refusal."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], Count] = {}

    def count(self, name: str, label: str) -> Count:
        """Return a count, to be added to."""
        found = self._counts.get((name, label))
        if found is None:
            found = self._counts[name, label] = Count()
        return found

    def add(self, name: str, label: str, amount: int = 1) -> None:
        """Count something."""
        self.count(name, label).amount += amount

    def of(self, name: str) -> int:
        """Return a count over all labels."""
        return sum(count.amount for (known, _), count in self._counts.items() if known == name)

    def plus(self, others: Iterable[Figures]) -> Figures:
        """Return the sums of these and others."""
        together = Figures()
        for figures in (self, *others):
            for (name, label), count in figures._counts.items():  # noqa: SLF001  # its own kind
                together.add(name, label, count.amount)
        return together

    def text(self) -> str:
        """Return all counts as Prometheus reads them."""
        lines = []
        for name, (kind, meaning) in _HELP.items():
            full = f"stream_router_gateway_{name}" + ("_total" if kind == "counter" else "")
            lines += [f"# HELP {full} {meaning}", f"# TYPE {full} {kind}"]
            word = "status" if name == "refused" else "format"
            for (known, label), count in sorted(self._counts.items(), key=lambda item: item[0]):
                if known == name:
                    lines.append(f'{full}{{{word}="{label}"}} {count.amount}')
        return "\n".join(lines) + "\n"

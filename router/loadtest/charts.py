"""Charts as SVG: lines, areas and bars over one axis, with a legend below and values where the pointer stands. Pure.

What is drawn is text, so that a report is one small file that any browser shows, also without a network and a script.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

Value = float | None

WIDE, HALF = 1180, 560
HEIGHT = 320
LEFT, RIGHT, TOP, BOTTOM = 62, 20, 14, 44
RIGHT_AXIS = 62
LABEL_ROW = 15
TICKS = 6
POINTS_MAX = 1_200
COLUMNS_MAX = 240
DECADES_WITH_STEPS_MAX = 3
_GRID, _SOFT = "#eef1f5", "#66707f"


@dataclass(slots=True)
class Line:
    """A row of values. `base`: what it stands on, where it is an area."""

    name: str
    x: list[float]
    y: list[Value]
    colour: str
    width: float = 2.0
    is_dashed: bool = False
    base: list[float] | None = None
    on_the_right: bool = False


@dataclass(slots=True)
class Bar:
    """A piece of a row of a Gantt chart."""

    row: int
    start: float
    length: float
    colour: str
    tip: str


@dataclass(slots=True)
class Chart:
    """One chart. `names`: of the places 0, 1, 2 ... on the horizontal axis, where these are no numbers."""

    across: str
    up: str
    unit: str = ""
    width: int = WIDE
    height: int = HEIGHT
    is_log: bool = False
    right: str | None = None
    names: Sequence[str] | None = None
    end: float | None = None
    rows: int = 0
    lines: list[Line] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    marks: list[tuple[float, str, str]] = field(default_factory=list)
    """Vertical lines: (place, colour, what it says)."""
    keys: dict[str, str] = field(default_factory=dict)
    """Names in the legend beside those of the lines, with their colours."""

    def line(
        self,
        name: str,
        x: Sequence[float],
        y: Sequence[Value],
        colour: str,
        *,
        width: float = 2.0,
        is_dashed: bool = False,
    ) -> None:
        """Draw a line; it goes on over what was not measured."""
        self.lines.append(Line(name, list(x), list(y), colour, width, is_dashed))

    def area(
        self, name: str, x: Sequence[float], y: Sequence[Value], colour: str, *, on_the_right: bool = False
    ) -> None:
        """Fill what is below the values."""
        self.lines.append(Line(name, list(x), list(y), colour, 1.0, base=[0.0] * len(x), on_the_right=on_the_right))

    def stack(self, name: str, x: Sequence[float], y: Sequence[Value], colour: str) -> None:
        """Fill an area that stands on the one before."""
        below = self.lines[-1].y if self.lines else [0.0] * len(x)
        base = [value or 0.0 for value in below]
        top = [low + (value or 0.0) for low, value in zip(base, y, strict=True)]
        self.lines.append(Line(name, list(x), [*top], colour, 0.5, base=base))

    def to_html(self) -> str:
        """Return the chart as a piece of HTML."""
        legend = {line.name: line.colour for line in self.lines} | self.keys
        inner = "".join(
            f'<span><i style="background:{colour}"></i>{escape(name)}</span>' for name, colour in legend.items()
        )
        return f'{_Drawing(self).svg()}<div class="legend">{inner}</div>'


class _Drawing:
    def __init__(self, chart: Chart) -> None:
        self._chart = chart
        self._top = TOP + LABEL_ROW * min(3, sum(1 for _, _, text in chart.marks if text))
        self._right = chart.width - (RIGHT_AXIS if chart.right else RIGHT)
        self._bottom = chart.height - BOTTOM
        self._end = chart.end or max((value for line in chart.lines for value in line.x), default=1.0) or 1.0
        left = [line for line in chart.lines if not line.on_the_right]
        self._scale = _log_scale(left) if chart.is_log else _linear_scale(left)
        self._right_scale = _linear_scale([line for line in chart.lines if line.on_the_right])

    def svg(self) -> str:
        chart = self._chart
        parts = [
            f'<svg viewBox="0 0 {chart.width} {chart.height}" role="img" font-size="12" fill="{_SOFT}">',
            *self._axes(),
            *(self._line(line) for line in chart.lines),
            *(self._bar(bar) for bar in chart.bars),
            *(self._mark(number, *mark) for number, mark in enumerate(chart.marks)),
            *self._tips(),
            "</svg>",
        ]
        return "".join(parts)

    def _x(self, value: float) -> float:
        share = min(max(value / self._end, 0.0), 1.0)
        return LEFT + share * (self._right - LEFT)

    def _y(self, share: float) -> float:
        return self._bottom - share * (self._bottom - self._top)

    def _axes(self) -> list[str]:
        chart, parts = self._chart, []
        if not chart.rows:
            for share, text in self._scale.ticks:
                y = self._y(share)
                parts.append(f'<path d="M{LEFT} {y:.1f}H{self._right}" stroke="{_GRID}"/>')
                parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        if chart.right:
            for share, text in self._right_scale.ticks:
                parts.append(f'<text x="{self._right + 8}" y="{self._y(share) + 4:.1f}">{text}</text>')
        places = list(enumerate(chart.names)) if chart.names else [(at, _short(at)) for at in _steps(self._end)]
        for at, text in places:
            parts.append(
                f'<text x="{self._x(at):.1f}" y="{self._bottom + 18}" text-anchor="middle">{escape(text)}</text>'
            )
        middle = (self._top + self._bottom) / 2
        parts.append(f'<path d="M{LEFT} {self._bottom}H{self._right}" stroke="#cbd5e1"/>')
        parts.append(
            f'<text x="{(LEFT + self._right) / 2}" y="{chart.height - 8}" text-anchor="middle">{escape(chart.across)}'
            "</text>"
        )
        for x, text in ((14, chart.up), (chart.width - 8, chart.right or "")):
            parts.append(
                f'<text x="{x}" y="{middle}" text-anchor="middle" transform="rotate(-90 {x} {middle})">{escape(text)}'
                "</text>"
            )
        return parts

    def _line(self, line: Line) -> str:
        scale = self._right_scale if line.on_the_right else self._scale
        points = [
            (self._x(x), self._y(scale.share(y)), index)
            for index, (x, y) in enumerate(zip(line.x, line.y, strict=True))
            if y is not None and x <= self._end
        ]
        points = points[:: max(1, math.ceil(len(points) / POINTS_MAX))]
        if not points:
            return ""
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in points)
        filled = ""
        if line.base is not None:
            back = "L".join(f"{x:.1f} {self._y(scale.share(line.base[at])):.1f}" for x, _, at in reversed(points))
            filled = f'<path d="M{path}L{back}Z" fill="{line.colour}" fill-opacity=".45"/>'
        dash = ' stroke-dasharray="4 3"' if line.is_dashed else ""
        drawn = f'<path d="M{path}" fill="none" stroke="{line.colour}" stroke-width="{line.width:g}"{dash}/>'
        if len(points) == 1 and line.base is None:
            drawn += f'<circle cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="3" fill="{line.colour}"/>'
        return filled + drawn

    def _bar(self, bar: Bar) -> str:
        step = (self._bottom - self._top) / max(self._chart.rows, 1)
        left, right = self._x(bar.start), self._x(bar.start + bar.length)
        return (
            f'<rect x="{left:.1f}" y="{self._top + bar.row * step:.1f}" width="{max(right - left, 0.5):.1f}" '
            f'height="{max(0.75 * step, 0.5):.1f}" fill="{bar.colour}"><title>{escape(bar.tip)}</title></rect>'
        )

    def _mark(self, number: int, at: float, colour: str, text: str) -> str:
        x = self._x(at)
        line = (
            f'<path d="M{x:.1f} {self._top}V{self._bottom}" stroke="{colour}" stroke-width="1.5" '
            'stroke-dasharray="5 4"/>'
        )
        # Labels of neighbours must not lie on each other.
        y = self._top - 4 - LABEL_ROW * (number % 3)
        return line + (
            f'<text x="{x:.1f}" y="{y}" text-anchor="middle" fill="{colour}">{escape(text)}</text>' * bool(text)
        )

    def _tips(self) -> list[str]:
        """Say the values of all lines at each place where the pointer may stand."""
        lines = [line for line in self._chart.lines if line.x == self._chart.lines[0].x]
        if not lines:
            return []
        places = [x for x in lines[0].x if x <= self._end]
        every = max(1, math.ceil(len(places) / COLUMNS_MAX))
        width = (self._right - LEFT) / max(len(places) / every, 1)
        size = f'width="{width:.1f}" height="{self._bottom - self._top}" fill="transparent"'
        return [
            f'<rect x="{self._x(places[at]) - width / 2:.1f}" y="{self._top}" {size}>'
            f"<title>{escape(self._tip(lines, at))}</title></rect>"
            for at in range(0, len(places), every)
        ]

    def _tip(self, lines: Sequence[Line], at: int) -> str:
        place = self._chart.names[at] if self._chart.names else f"{lines[0].x[at]:g} s"
        said = [place]
        for line in lines:
            value = line.y[at]
            if value is not None:
                own = value - (line.base[at] if line.base else 0.0)
                unit = "" if line.on_the_right else f" {self._chart.unit}".rstrip()
                said.append(f"{line.name}: {own:,.1f}{unit}")
        return "\n".join(said)


@dataclass(slots=True)
class _Scale:
    """A vertical axis. `share`: where a value stands, from 0 (bottom) to 1; `ticks`: (share, text)."""

    share: Callable[[float], float]
    ticks: list[tuple[float, str]]


def _linear_scale(lines: Sequence[Line]) -> _Scale:
    high = max((value for line in lines for value in line.y if value is not None), default=1.0) or 1.0
    steps = _steps(high)
    top = max(steps[-1] + (steps[1] - steps[0] if steps[-1] < high else 0.0), high)
    return _Scale(lambda value: min(max(value / top, 0.0), 1.0), [(step / top, _short(step)) for step in _steps(top)])


def _log_scale(lines: Sequence[Line]) -> _Scale:
    """Return a logarithmic axis with marks that can be read: 2 and 5 too, where few powers of ten fit."""
    values = [value for line in lines for value in line.y if value]
    low = math.floor(math.log10(min(values, default=1.0)))
    high = max(math.ceil(math.log10(max(values, default=10.0))), low + 1)
    steps = (1, 2, 5) if high - low <= DECADES_WITH_STEPS_MAX else (1,)
    marks = [step * 10.0**power for power in range(low, high + 1) for step in steps if step * 10.0**power <= 10.0**high]

    def share(value: float) -> float:
        return min(max((math.log10(value) - low) / (high - low), 0.0), 1.0) if value > 0 else 0.0

    return _Scale(share, [(share(mark), _short(mark)) for mark in marks])


def _steps(high: float) -> list[float]:
    """Return round numbers from 0 up to `high`, about `TICKS` of them; two at least."""
    rough = max(high, 1e-9) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [number * step for number in range(max(math.floor(high / step + 1e-9), 1) + 1)]


def _short(value: float) -> str:
    return f"{value:,.10g}"

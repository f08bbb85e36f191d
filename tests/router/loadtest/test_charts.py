"""Charts: what is drawn lies within its frame, whatever the values; a report stays small, whatever the run."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from router.loadtest.charts import BOTTOM, HEIGHT, LEFT, TOP, WIDE, Bar, Chart

VALUES = st.lists(st.one_of(st.none(), st.floats(0, 1e12)), min_size=1, max_size=50)


def points(html: str) -> list[tuple[float, float]]:
    paths = re.findall(r'<path d="M([^"HVZ]+)"', html)
    return [(float(x), float(y)) for path in paths for x, y in re.findall(r"([\d.-]+) ([\d.-]+)", path)]


@given(VALUES, st.booleans(), st.one_of(st.none(), st.floats(0.1, 1e6)))
def test_every_point_lies_within_the_frame(values, is_log, end):
    chart = Chart("across", "up", is_log=is_log, end=end)
    chart.line("a line", range(len(values)), values, "#000")
    if not is_log:
        chart.area("an area", range(len(values)), values, "#000")
    for x, y in points(chart.to_html()):
        assert LEFT - 0.1 <= x <= WIDE
        assert TOP - 0.1 <= y <= HEIGHT - BOTTOM + 0.1


def test_areas_stand_on_each_other_and_say_their_own_share():
    chart = Chart("across", "up", "MB")
    chart.stack("low", [0, 1], [1.0, 1.0], "#111")
    chart.stack("high", [0, 1], [3.0, None], "#222")
    assert [line.y for line in chart.lines] == [[1.0, 1.0], [4.0, 1.0]]
    assert "0 s\nlow: 1.0 MB\nhigh: 3.0 MB" in chart.to_html()


def test_what_others_wrote_is_escaped():
    chart = Chart("<a>", "<b>", rows=1)
    chart.line("<c>", [0], [1.0], "#000")
    chart.bars.append(Bar(0, 0.0, 1.0, "#000", "<d>"))
    chart.marks.append((0.5, "#000", "<e>"))
    html = chart.to_html()
    assert not re.search("<[a-e]>", html)
    assert all(f"&lt;{name}&gt;" in html for name in "abcde")


def test_a_long_run_is_drawn_in_little():
    chart = Chart("across", "up")
    for number in range(5):
        chart.line(f"line {number}", range(20_000), [float(at % 97) for at in range(20_000)], "#000")
    assert len(chart.to_html()) < 150_000

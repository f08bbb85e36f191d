"""Results, thresholds, files, the report and the comparison: from figures alone."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from actors.errors import ConfigError
from router.loadtest import plots, report, results
from router.loadtest.comparison import compare, differences_in_workload
from router.loadtest.workload import Workload
from router.runs import whole_file
from router.runs.whole_file import write_whole


@pytest.mark.parametrize(
    ("limit", "value", "met"),
    [
        (5, 5, True),
        (5, 5.1, False),
        ({"min": 10}, 9, False),
        ({"min": 10}, 10, True),
        ({"min": 1, "max": 3}, 2, True),
        (0, 0, True),
    ],
)
def test_a_threshold_is_met_up_to_and_with_its_bound(limit, value, met):
    limits = Workload.load({"streams": 1, "thresholds": {"lost": limit}}).thresholds
    checked = results.check_thresholds(limits, {"counts": {"lost": value}})
    assert [(one["name"], one["value"], one["met"]) for one in checked] == [("lost", value, met)]


def test_a_figure_that_was_not_measured_meets_no_threshold():
    limits = Workload.load({"streams": 1, "thresholds": {"credit_wait_ms.p99": 50}}).thresholds
    assert not results.check_thresholds(limits, {"credit_wait_ms": {"p99": None}})[0]["met"]


def test_every_figure_that_a_threshold_may_name_is_in_the_results(make_results):
    from router.loadtest.figure_names import METRICS  # noqa: PLC0415

    found = make_results()
    for name in METRICS:
        value = found
        for part in name.split("."):
            value = value[part]


@pytest.mark.parametrize(
    ("readers", "said"),
    [
        ({}, "read from the router"),
        ({"via": "sse"}, "read in the format native, through 1 gateway"),
        ({"via": "sse", "format": "agui", "gateways": 2}, "read in the format agui, through 2 gateways"),
    ],
)
def test_the_report_names_the_way_and_the_format_of_its_readers(make_results, readers, said):
    workload = Workload.load({"streams": 1, "readers": readers}).model_dump(mode="json", exclude_defaults=True)
    assert f" · {said} · " in report.to_html(make_results(workload=workload))


def test_results_survive_their_file(tmp_path: Path, make_results):
    found = make_results()
    file = tmp_path / "a.json"
    write_whole(file, results.to_json(found))
    assert results.load_results(file) == json.loads(json.dumps(found))
    assert results.load_results(file)["counts"]["lost"] == 0


def test_a_file_of_something_else_is_refused(tmp_path: Path):
    file = tmp_path / "a.json"
    for text, said in (("{", "not JSON"), ("[]", "not the results"), ('{"format": "other"}', "not the results")):
        file.write_text(text)
        with pytest.raises(ConfigError, match=said):
            results.load_results(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        results.load_results(tmp_path / "none.json")


def test_a_full_disk_leaves_the_old_file_and_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "a.json"
    write_whole(file, "old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole_file.os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.json'"):
        write_whole(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_the_csv_has_a_row_a_second(make_results):
    rows = list(csv.DictReader(io.StringIO(results.to_csv(make_results()))))
    assert [float(row["at_s"]) for row in rows] == list(range(len(rows)))
    assert [row["memory_mb"] for row in rows[:3]] == ["390.0"] * 3
    assert [row["unread_bytes"] for row in rows[:4]] == ["", "", "1000.0", "1000.0"]
    assert sum(float(row["chunks_per_s"]) for row in rows) == 60 * 40
    assert float(rows[3]["added_latency_ms_p50"]) > 0


@pytest.mark.parametrize(("cores", "shown"), [(1.4, "1.40"), (None, "-")])
def test_the_cores_that_were_busy_stand_beside_the_throughput(make_results, cores: float | None, shown: str):
    found = {**make_results(), "cpu_cores": cores}
    page = report.to_html(found)
    tile = f"<b>{shown}</b><span>cores busy on average, of {found['environment']['cpus']}</span>"
    assert page.index("chunks in, ") < page.index(tile) < page.index("added latency, p50 / p99")


def test_a_run_too_short_for_cpu_figures_still_has_its_csv(make_results):
    found = make_results()
    found["series"]["processes"] = {"at_s": [1.0], "cpu_cores": {}, "memory_mb": {"router": [90.0]}}
    rows = list(csv.DictReader(io.StringIO(results.to_csv(found))))
    assert {row["cpu_cores"] for row in rows} == {""}
    assert rows[-1]["memory_mb"] == "90.0"
    assert "Memory" in report.to_html(found)


def test_the_report_is_one_file_with_all_in_it(make_results):
    page = report.to_html(make_results())
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", page), "it must open without a network"
    for words in (
        "Nothing lost, duplicated",
        "Added latency",
        "Throughput",
        "Memory",
        "Streams",
        "kill-router",
        "hit nothing",
    ):
        assert words in page, words
    assert page.count("<svg") == 8
    assert "<script" not in page, "and without a program"
    assert len(page) < 1_000_000


def test_the_report_of_a_bad_run_says_so_and_escapes_what_others_wrote(make_results):
    bad = make_results(
        counts={**make_results()["counts"], "lost": 3, "unverified": 1},
        examples=["r-1: <script>alert(1)</script>"],
        errors={"provider: <b>": 2},
        interrupted=True,
    )
    page = report.to_html(bad)
    assert "Wrong: 3 lost, 1 unverified." in page
    assert "interrupted" in page
    assert "<script>alert" not in page
    assert "provider: <b>" not in page


def test_a_run_in_which_nothing_happened_still_has_a_report(make_results):
    found = results.build(
        Workload.load({"streams": 1}),
        results.Measurements(),
        wall_s=0.0,
        streams_open_max=0,
        samples=[],
        queues=[],
        processes=[],
        faults=[],
        faults_planned=0,
        about={"started_at": "now", "interrupted": True, "actors": 0, "environment": make_results()["environment"]},
    )
    assert "interrupted" in report.to_html(found)
    assert results.to_csv(found).startswith("at_s,")


def test_a_fault_that_hit_nothing_or_never_came_is_missed(make_results):
    assert make_results()["faults_missed"] == 2, "of three planned, one struck"


def test_marks_of_a_logarithmic_scale_can_be_read():
    narrow, wide = ({"added_latency_ms": {"p50": [low], "p99": [high]}} for low, high in ((20.0, 40.0), (0.3, 90000.0)))
    pages = [
        plots.latency({"series": {**series, "at_s": [0], "messages_per_s": [1], "bin_s": 1}, "faults": []}, name)
        for series, name in ((narrow, "added_latency_ms"), (wide, "added_latency_ms"))
    ]
    marks = [re.findall(r'text-anchor="end">([\d.,]+)<', page) for page in pages]
    assert marks == [["10", "20", "50", "100"], ["0.1", "1", "10", "100", "1,000", "10,000", "100,000"]]


def test_a_comparison_says_what_became_better_and_worse(make_results):
    slow, quick = make_results("slow", latency_s=0.05), make_results("quick", latency_s=0.005)
    rows = {row[0]: row for row in compare(slow, quick)}
    assert rows["Added latency p99 (ms)"][4] == "better"
    assert rows["Added latency p99 (ms)"][3] == "-90%"
    assert rows["messages/s"][4] == "same"
    assert rows["counts: lost"][3:] == ("=", "same")
    back = {row[0]: row for row in compare(quick, slow)}
    assert back["Added latency p99 (ms)"][4] == "worse"
    far = {row[0]: row for row in compare(make_results(latency_s=0.0005), slow)}
    assert far["Added latency p99 (ms)"][3].startswith("x "), "so many times, where percentages say little"
    assert differences_in_workload(slow, quick) == ["name: slow and quick"]
    page = report.to_comparison(slow, quick, ("slow", "quick"), compare(slow, quick), ["streams: 60 and 30"])
    assert "streams: 60 and 30" in page
    assert "-90%" in page

"""What the project asks of its environment, and the files of versions that go with it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKEFILE = (ROOT / "Makefile").read_text()
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text()


def constraints(file: str) -> dict[str, str]:
    lines = [line.partition("#")[0].strip() for line in (ROOT / file).read_text().splitlines()]
    pairs = [line.split("==") for line in lines if line]
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def requirements(*extras: str) -> dict[str, str]:
    """Return the lowest version of each requirement that names one."""
    wanted = [*PROJECT["dependencies"], *(line for extra in extras for line in PROJECT["optional-dependencies"][extra])]
    found = [re.fullmatch(r"([\w-]+)(?:\[[\w,]+\])?(?:>=([\d.]+)(?:,<[\d.]+)?)?(?:; .+)?", line) for line in wanted]
    assert all(found), wanted
    return {match[1].lower().replace("_", "-"): match[2] or "0" for match in found if match}


def number(version: str) -> list[int]:
    parts = [int(part) for part in re.findall(r"\d+", version)]
    while parts and not parts[-1]:
        parts.pop()
    return parts


def test_the_lowest_versions_are_those_of_the_project():
    lowest = constraints("constraints-lowest.txt")
    wanted = requirements("test", "metrics", "archive", "gateway-test")
    assert lowest.keys() == wanted.keys()
    for name, version in wanted.items():
        assert number(lowest[name]) == number(version), name


def test_every_requirement_has_a_tested_version_that_it_allows():
    tested = constraints("constraints.txt")
    for name, version in requirements(*PROJECT["optional-dependencies"]).items():
        assert number(tested[name]) >= number(version), name


@pytest.mark.parametrize("file", ["constraints.txt", "constraints-lowest.txt"])
def test_versions_say_nothing_of_where_they_come_from(file: str):
    for line in (ROOT / file).read_text().splitlines():
        assert re.fullmatch(r"#.*|[\w.-]+==[\w.+]+", line), line


def test_the_workflow_calls_targets_of_the_makefile_that_are_there():
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    called = [
        step["run"].split()[:2]
        for job in yaml.safe_load(WORKFLOW)["jobs"].values()
        for step in job["steps"]
        if "run" in step
    ]
    assert called
    for program, target in called:
        assert program == "make"
        assert target in targets


def test_the_workflow_tests_every_python_that_the_project_names():
    named = {match[1] for line in PROJECT["classifiers"] if (match := re.search(r":: (3\.\d+)$", line))}
    assert set(yaml.safe_load(WORKFLOW)["jobs"]["test"]["strategy"]["matrix"]["python"]) == named


def test_every_target_that_is_phony_has_help():
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    for target in set(phony[1].split()) - {"help"}:
        assert re.search(rf"^{target}:.* ## ", MAKEFILE, re.MULTILINE), target

"""The recorded streams: each is the file that its index describes, and none is stored twice."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from router.demo import RECORDINGS

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (ROOT / "tests" / "traces" / "recorded", RECORDINGS)


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("folder", FOLDERS, ids=["tests", "shipped"])
def test_a_recording_is_what_its_index_says(folder: Path):
    index = {entry["file"]: entry["sha256"] for entry in json.loads((folder / "index.json").read_text())}
    assert {file.name: digest(file) for file in folder.glob("*.sse")} == index


def test_no_recording_is_stored_twice():
    files = [file for folder in FOLDERS for file in folder.glob("*.sse") if not file.is_symlink()]
    assert len({digest(file) for file in files}) == len(files)

"""A folder of recordings, and which of them answers a request."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from actors.errors import RecordingError
from router.demo import RECORDINGS
from router.scripted_provider import Library


def test_a_folder_without_an_index_is_told_by_its_events(tmp_path: Path):
    for name in ("openai-tool-2", "anthropic-search-3", "google-code-2", "deepseek-responses-reasoning-1"):
        (tmp_path / f"{name}.sse").write_bytes((RECORDINGS / f"{name}.sse").read_bytes())
    found = Library.load(tmp_path).recordings
    assert {name: recording.api for name, recording in found.items()} == {
        "openai-tool-2": "openai-chat",
        "anthropic-search-3": "anthropic-messages",
        "google-code-2": "gemini",
        "deepseek-responses-reasoning-1": "openai-responses",
    }
    assert found["anthropic-search-3"].model.startswith("claude")


def test_a_folder_that_is_none_is_refused(tmp_path: Path):
    with pytest.raises(RecordingError, match="no such folder"):
        Library.load(tmp_path / "nope")
    with pytest.raises(RecordingError, match="no recordings"):
        Library.load(tmp_path)
    (tmp_path / "x.sse").write_text("hello")
    with pytest.raises(RecordingError, match="not a recorded stream"):
        Library.load(tmp_path)
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(RecordingError, match=r"index.json"):
        Library.load(tmp_path)


def test_the_model_picks_the_recording_by_its_name_then_its_model_then_in_turn(library: Library):
    assert library.choose("openai-chat", "openai-tool-2", 7).name == "openai-tool-2"
    assert library.choose("openai-chat", "gpt-4-0125-preview", 0).name == "openai-tool-2"
    turns = {library.choose("gemini", "whatever", n).name for n in range(2)}
    assert turns == {"google-code-2", "google-parallel-tools-reasoning-1"}
    with pytest.raises(RecordingError, match="is a recording of openai-chat"):
        library.choose("gemini", "openai-tool-2", 0)
    with pytest.raises(RecordingError, match="did you mean 'openai-tool-2'"):
        library.find("openai-tool-3")


def test_the_shipped_recordings_are_those_that_the_index_describes():
    index = json.loads((RECORDINGS / "index.json").read_text())
    licences = (RECORDINGS / "LICENCES.md").read_text()
    assert {entry["file"] for entry in index} == {file.name for file in RECORDINGS.glob("*.sse")}
    for entry in index:
        body = (RECORDINGS / entry["file"]).read_bytes()
        assert hashlib.sha256(body).hexdigest() == entry["sha256"]
        assert set(entry["source"]) >= {"repository", "commit", "path"}
        assert f"| {entry['source']['repository']} | {entry['licence'].split(' ')[0]}" in licences

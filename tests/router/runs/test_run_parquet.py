"""The messages of a run as Parquet: every whole line is there, and a full disk leaves the old file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.archive import table
from router.runs.parquet import write_parquet

pytest.importorskip("pyarrow")

import pyarrow.parquet as pq

MESSAGES = [
    {"message_type": "assistant_message", "id": "m", "date": "d", "run_id": "r-1", "seq_id": 1, "content": "Hello"},
    {
        "message_type": "tool_call_message", "id": "m", "date": "d", "run_id": "r-1", "seq_id": 2,
        "tool_call": {"name": "search", "arguments": "{}", "tool_call_id": "c"},
    },
    {"message_type": "stop_reason", "id": "m", "date": "d", "run_id": "r-1", "seq_id": 3, "stop_reason": "tool_call"},
]  # fmt: skip


@pytest.fixture
def messages(tmp_path: Path) -> Path:
    file = tmp_path / "run.jsonl"
    file.write_text("".join(json.dumps(message) + "\n" for message in MESSAGES) + '{"message_type": "cut o')
    return file


def test_every_whole_line_is_a_row(messages: Path, tmp_path: Path):
    file = tmp_path / "run.parquet"
    assert write_parquet(messages, file) == 3
    rows = pq.read_table(file).to_pylist()
    assert [set(row) for row in rows] == [{"request_id", *table.MESSAGE_FIELDS}] * 3
    assert [(row["request_id"], row["text"], row["tool_name"]) for row in rows] == [
        ("r-1", "Hello", None), ("r-1", "{}", "search"), ("r-1", "tool_call", None),
    ]  # fmt: skip
    assert [json.loads(row["json"]) for row in rows] == MESSAGES


def test_what_cannot_be_written_leaves_the_file_of_before(messages: Path, tmp_path: Path, monkeypatch):
    file = tmp_path / "run.parquet"
    write_parquet(messages, file)
    before = file.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        write_parquet(messages, file)
    assert file.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []

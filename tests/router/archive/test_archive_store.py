"""The archive's files: what is in them, that they are whole or not there, and what SQL sees of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from archived import CALL, FINISH, NOON, chunk, ended

from actors.errors import ConfigError
from actors.protocol.labels import pack_labels
from actors.tenants import SEPARATOR
from router.archive import table
from router.archive.archivist import Archivist
from router.archive.plan import Batch
from router.archive.rows import row_of
from router.config import RouterConfig

pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")

from router.archive.query import query
from router.archive.store import Store

DAY_S = 86_400.0


def archivist(folder: Path | str) -> Archivist:
    return Archivist(RouterConfig.model_validate({"archive": {"folder": str(folder)}}).model_dump_json(), 0)


def batch(*requests, day: str = "2026-11-28", name: str = "w-000001.parquet") -> list:
    return [day, name, [tuple(one) for one in requests]]


def test_a_row_says_what_the_request_came_to():
    row = row_of(ended("req", chunk("Let me look."), CALL, FINISH), "agents/router-0")
    assert row.keys() == table.COLUMNS.keys()
    assert (row["request_id"], row["subject"], row["agent_id"]) == ("req", None, "Ada")
    assert (row["text"], row["stop_reason"], row["completion_tokens"]) == ("Let me look.", "tool_call", 7)
    kinds = [(one["message_type"], one["text"]) for one in row["messages"]]
    assert kinds[0] == ("assistant_message", "Let me look.")
    assert ("tool_call_message", '{"city": "Rome"}') in kinds
    call = next(one for one in row["messages"] if one["message_type"] == "tool_call_message")
    assert (call["tool_name"], call["tool_call_id"]) == ("weather", "call-1")
    assert all(one.keys() == table.MESSAGE_FIELDS.keys() for one in row["messages"])
    assert json.loads(row["messages"][0]["json"])["content"] == "Let me look."


def test_labels_are_columns(tmp_path: Path):
    labels = pack_labels({"team": "blue"}, {"run": 7})
    archivist(tmp_path).write(batch(ended("req")._replace(labels=labels), ended("other")))
    found = query("select request_id, metadata from requests where tags['team'] = 'blue'", str(tmp_path))
    assert found.rows == [("req", '{"run": 7}')]


def test_a_tenant_s_request_has_its_subject_beside_its_own_name():
    row = row_of(ended(f"team-a{SEPARATOR}req"), "r")
    assert (row["subject"], row["request_id"]) == ("team-a", "req")


def test_what_was_written_is_found_by_name_and_seen_by_sql(tmp_path: Path):
    archive = archivist(tmp_path)
    requests = [ended(f"req-{n}") for n in range(200)]
    assert archive.write(batch(*requests)) == 200
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["w-000001.parquet"]
    assert archive.find("req-137") == requests[137].log
    assert archive.find("nobody") is None
    assert archive.find(f"team-a{SEPARATOR}req-137") is None, "it is nobody's else"
    found = query("select count(*), min(day::varchar) from requests where text = 'Hello req-7'", str(tmp_path))
    assert found.rows == [(1, "2026-11-28")]
    spoken = query(
        "select text, seq_id from messages where request_id = 'req-7' and message_type = 'assistant_message'",
        str(tmp_path),
    )
    assert spoken == (["text", "seq_id"], [("Hello req-7", 2)])


def test_what_is_archived_twice_is_there_once_and_the_later_epoch_counts(tmp_path: Path):
    archive = archivist(tmp_path)
    archive.write(batch(ended("req", chunk("first"), FINISH)))
    archive.write(batch(ended("req", chunk("second"), FINISH, epoch=2), name="v-000001.parquet"))
    archive.write(batch(ended("req", chunk("second"), FINISH, epoch=2), name="v-000001.parquet"))
    assert query("select text from requests", str(tmp_path)).rows == [("second",)]
    assert archive.find("req") == ended("req", chunk("second"), FINISH).log
    newer = ended("req", chunk("of today"), FINISH, at=NOON + DAY_S)._replace(date="2026-11-29T12:00:00+00:00")
    archive.write(batch(newer, day="2026-11-29"))
    assert archive.find("req") == newer.log, "an ID that was used again names the newest"
    assert query("select count(*) from requests", str(tmp_path)).rows == [(2,)]


def test_a_log_that_cannot_be_read_keeps_no_other_out(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    archive = archivist(tmp_path)
    assert archive.write(batch(ended("req-1")._replace(log=b"\xc1"), ended("req-2"))) == 1
    assert "'req-1' is not archived" in caplog.text
    assert archive.find("req-2") is not None


@pytest.mark.parametrize("call", ["write", "mv"])
def test_a_store_that_is_full_leaves_nothing_that_a_reader_would_take(tmp_path: Path, monkeypatch, call: str):
    store = Store(str(tmp_path))
    store.write("2026-11-28", "a.parquet", b"whole")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    if call == "mv":
        monkeypatch.setattr(store.filesystem, "mv", full)
    else:
        monkeypatch.setattr(store.filesystem, "open", full)
    with pytest.raises(OSError, match="No space left"):
        store.write("2026-11-28", "b.parquet", b"x" * 1000)
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["a.parquet"]


def test_an_object_store_is_as_good_as_a_folder():
    folder = "memory://archive/agents"
    archive = archivist(folder)
    archive.write(batch(ended("req")))
    assert archive.find("req") is not None
    assert query("select request_id from requests", folder).rows == [("req",)]


def test_what_is_wrong_is_said_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigError, match="nothing is archived there"):
        query("select 1", str(tmp_path))
    archivist(tmp_path).write(batch(ended("req")))
    with pytest.raises(ConfigError, match="there are the tables requests and messages"):
        query("select nothing from nowhere", str(tmp_path))
    with pytest.raises(ConfigError, match=r"archive\.folder 'nosuch://x' cannot be used"):
        Store("nosuch://x")
    monkeypatch.setattr(table, "find_spec", lambda name: None if name == "pyarrow" else object())
    with pytest.raises(ConfigError, match=r"the archive needs pyarrow: pip install 'agent-stream-router\[archive\]'"):
        archivist(tmp_path)


def test_the_docs_name_every_column():
    docs = (Path(__file__).parents[3] / "docs" / "archive.md").read_text(encoding="utf-8")
    for name, (kind, what) in (*table.COLUMNS.items(), *table.MESSAGE_FIELDS.items()):
        assert f"| `{name}` | {kind} | {what} |" in docs, name


def test_a_batch_crosses_as_plain_parts():
    assert Batch(*batch(ended("req"))).name == "w-000001.parquet"

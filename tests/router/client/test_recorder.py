"""Recording: what was given is what is read back, bounded, without keys, and never at a request's cost."""

from __future__ import annotations

import gzip
import json
import logging
import os
import threading
from pathlib import Path

import pytest

from actors.errors import RecordingError
from actors.recording_format import as_sse, read_recording, read_timed_recording
from actors.settings import StreamSettings
from router.client.publishing import recorder as recorder_module
from router.client.publishing.recorder import Recorder
from router.config import RecordConfig
from router.scripted_provider.library import Library

CHUNKS = [
    b'{"choices":[{"index":0,"delta":{"content":"h\xc3\xa9llo"}}]}',
    b'{"x":\n1}',
    b"\xff\xfe not text",
    b"[DONE]",
]


def record(folder: Path, items, request_id: str = "req-1", **config) -> Path:
    recorder = Recorder(RecordConfig(folder=str(folder), **config))
    recording = recorder.recording(request_id, StreamSettings(dialect="chat"), "2026-01-01T00:00:00+00:00")
    assert recording is not None
    for item in items:
        recording.keep(item)
    recording.close()
    recorder.close()
    files = sorted(folder.iterdir())
    assert len(files) == 1
    return files[0]


@pytest.mark.parametrize("compressed", [True, False])
def test_what_was_given_is_read_back_byte_for_byte_with_times(tmp_path, compressed):
    file = record(tmp_path, [*CHUNKS, ["step_end", {}], ["finish", {"stop_reason": None}]], compressed=compressed)
    assert file.name == ("req-1.jsonl.gz" if compressed else "req-1.jsonl")
    assert read_recording(file.read_bytes()) == CHUNKS
    timed = read_timed_recording(file.read_bytes())
    assert timed.request_id == "req-1"
    assert StreamSettings.load(timed.settings) == StreamSettings(dialect="chat")
    assert [payload for _, payload in timed.chunks] == CHUNKS
    times = [t_s for t_s, _ in timed.chunks] + [t_s for t_s, _, _ in timed.records]
    assert times == sorted(times)
    assert [kind for _, kind, _ in timed.records] == ["step_end", "finish"]
    assert timed.cut is None


def test_nobody_else_may_read_a_recording(tmp_path):
    assert record(tmp_path, CHUNKS).stat().st_mode & 0o077 == 0


def test_long_streams_are_whole_over_many_blocks(tmp_path):
    chunks = [b'{"n":%d,"text":"%s"}' % (n, os.urandom(40).hex().encode()) for n in range(5000)]
    file = record(tmp_path, chunks)
    assert file.read_bytes().count(b"\x1f\x8b\x08") > 3
    assert read_recording(file.read_bytes()) == chunks


def test_a_file_that_breaks_off_gives_what_is_whole_of_it(tmp_path):
    chunks = [b'{"n":%d,"text":"%s"}' % (n, os.urandom(40).hex().encode()) for n in range(3000)]
    for compressed in (True, False):
        folder = tmp_path / str(compressed)
        data = record(folder, chunks, compressed=compressed).read_bytes()
        for size in (len(data) // 2, len(data) - 7, len(data) - 1):
            got = read_recording(data[:size])
            assert got == chunks[: len(got)]
            assert len(got) > len(chunks) // 4


def test_what_looks_like_a_key_is_taken_out_and_what_does_not_stays(tmp_path):
    secret = "sk-proj-abcdefghijklmnop1234567890"
    chunks = [
        json.dumps({"error": {"message": f"Incorrect API key provided: {secret}"}}).encode(),
        b'{"headers":"Authorization: Bearer abcdefghijklmnopqrstuvwxyz012345"}',
        b'{"logprobs":[{"token":"Hello","bytes":[72]}],"usage":{"completion_tokens":12}}',
    ]
    file = record(tmp_path, [*chunks, ["fail", {"message": f"refused {secret}"}]])
    text = gzip.decompress(file.read_bytes()).decode()
    assert secret not in text
    assert "abcdefghijklmnopqrstuvwxyz012345" not in text
    got = read_recording(file.read_bytes())
    assert [json.loads(chunk) for chunk in got[:2]]  # still JSON
    assert got[2] == chunks[2]


def test_a_request_is_kept_up_to_its_bound_and_says_that_it_was_cut(tmp_path):
    file = record(tmp_path, [b"x" * 60, b"y" * 60, b"z"], request_bytes_max=100)
    timed = read_timed_recording(file.read_bytes())
    assert [payload for _, payload in timed.chunks] == [b"x" * 60]
    assert "request_bytes_max" in timed.cut


def test_a_full_folder_takes_nothing_more_and_warns(tmp_path, caplog):
    (tmp_path / "old").write_bytes(b"x" * 1000)
    recorder = Recorder(RecordConfig(folder=str(tmp_path), bytes_max=1010))
    with caplog.at_level(logging.WARNING):
        for name in ("a", "b", "c"):
            recording = recorder.recording(name, StreamSettings(), "")
            recording.keep(os.urandom(100))
            recording.close()
        recorder.close()
    assert [file.name for file in tmp_path.iterdir()] == ["old"]
    assert caplog.text.count("bytes_max") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_a_warning_and_nothing_else(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(Path, "touch", lambda self, **_: self.symlink_to("/dev/full"))
    recorder = Recorder(RecordConfig(folder=str(tmp_path)))
    with caplog.at_level(logging.WARNING):
        recording = recorder.recording("req-1", StreamSettings(), "")
        for _ in range(10):
            recording.keep(os.urandom(20_000))
        recording.close()
        recorder.close()
    assert "No space left on device" in caplog.text


def test_a_folder_that_cannot_be_made_is_a_warning_and_nothing_else(tmp_path, caplog):
    (tmp_path / "file").touch()
    recorder = Recorder(RecordConfig(folder=str(tmp_path / "file" / "folder")))
    with caplog.at_level(logging.WARNING):
        recorder.recording("req-1", StreamSettings(), "").keep(b"{}")
        recorder.close()
    assert "req-1 is recorded no further" in caplog.text


def test_a_disk_that_is_too_slow_cuts_the_recording_and_never_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(recorder_module, "PENDING_BYTES_MAX", 1000)
    gate = threading.Event()
    taking = recorder_module._Files.take
    monkeypatch.setattr(recorder_module._Files, "take", lambda *args: (gate.wait(), taking(*args))[1])
    recorder = Recorder(RecordConfig(folder=str(tmp_path)))
    recording = recorder.recording("req-1", StreamSettings(), "")
    for _ in range(100):
        recording.keep(b"x" * 100)
    recording.close()
    gate.set()
    recorder.close()
    timed = read_timed_recording(next(tmp_path.iterdir()).read_bytes())
    assert len(timed.chunks) == 10
    assert timed.cut == "the disk was too slow"


def test_which_requests_are_kept():
    def kept(request_id: str, **config) -> bool:
        return Recorder(RecordConfig(folder="x", **config)).recording(request_id, StreamSettings(), "") is not None

    assert kept("anything")
    assert not kept("anything", sample=0.0)
    assert kept("debug-7", request_ids=("debug-*", "other"))
    assert not kept("prod-7", request_ids=("debug-*", "other"))
    share = sum(kept(f"req-{n}", sample=0.25) for n in range(2000)) / 2000
    assert 0.2 < share < 0.3
    assert Recorder(RecordConfig()).recording("anything", StreamSettings(), "") is None


@pytest.mark.parametrize(
    "request_id", ["../../etc/passwd", "..", "a/b", "x" * 250, "日本語" * 30, ".hidden", "with space"]
)
def test_any_request_id_makes_a_file_name_inside_the_folder(tmp_path, request_id):
    folder = tmp_path / "records"
    file = record(folder, [b"{}"], request_id=request_id)
    assert file.parent == folder
    assert not file.name.startswith(".")
    assert read_timed_recording(file.read_bytes()).request_id == request_id
    assert list(tmp_path.iterdir()) == [folder]


def test_a_request_taken_over_by_another_process_has_a_second_file(tmp_path):
    for payload in (b"1", b"2"):
        recorder = Recorder(RecordConfig(folder=str(tmp_path), compressed=False))
        recording = recorder.recording("req-1", StreamSettings(), "")
        recording.keep(payload)
        recording.close()
        recorder.close()
    assert {file.name: read_recording(file.read_bytes()) for file in tmp_path.iterdir()} == {
        "req-1.jsonl": [b"1"],
        "req-1.2.jsonl": [b"2"],
    }


def test_nothing_is_written_for_a_request_that_said_nothing(tmp_path):
    recorder = Recorder(RecordConfig(folder=str(tmp_path)))
    recorder.recording("req-1", StreamSettings(), "").close()
    recorder.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"agent_stream_router_recording": 2}\n', "update this program"),
        (b'{"agent_stream_router_recording": 1}\n{"t_s": 0}\n', "line 2"),
        (b'{"agent_stream_router_recording": 1}\n{"t_s": "x", "chunk": ""}\n', "line 2"),
        (b'{"agent_stream_router_recording": 1}\n[]\n', "line 2"),
        (b'{"agent_stream_router_recording": 1}\nnonsense\n', "line 2"),
        (b'{"agent_stream_router_recording": 1}\n{"t_s": 0, "chunk_base64": "!"}\n', "line 2"),
        (b"\x1f\x8bnonsense", "gzip"),
    ],
)
def test_a_recording_that_was_tampered_with_is_refused_by_line(data, said):
    with pytest.raises(RecordingError, match=said):
        read_recording(data)


def test_only_a_recording_of_ours_has_times():
    with pytest.raises(RecordingError, match="record:"):
        read_timed_recording(b'data: {"a":1}\n\n')


def test_the_scripted_provider_serves_a_folder_of_recordings(tmp_path):
    chunk = b'{"object":"chat.completion.chunk","model":"m-1","choices":[{"index":0,"delta":{"content":"a"}}]}'
    record(tmp_path, [chunk, b"[DONE]"], request_id="agent-7")
    (found,) = Library.load(tmp_path).recordings.values()
    assert (found.name, found.api, found.model) == ("agent-7", "openai-chat", "m-1")
    assert read_recording(found.body) == [chunk, b"[DONE]"]


def test_events_get_the_names_that_sdks_look_at():
    payloads = [b'{"type":"message_start"}', b"{}", b"[DONE]"]
    assert as_sse(payloads) == b'event: message_start\ndata: {"type":"message_start"}\n\ndata: {}\n\ndata: [DONE]\n\n'
    assert read_recording(as_sse(payloads)) == payloads

"""`stream-router translate`: a recording in, a reader's messages out."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors.messages import MESSAGE_ADAPTER
from actors.settings import StreamSettings
from router.client.publishing.recorder import Recorder
from router.config import RecordConfig
from router.demo import RECORDINGS
from router.demo.recorded_content import differences, received, recorded
from router.scripted_provider import Library

TOOL = str(RECORDINGS / "openai-tool-2.sse")

Translate = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def translate(run: Any) -> Translate:
    def call(*arguments: str, stdin: bytes = b"") -> list[dict[str, Any]]:
        done = run("translate", *arguments, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, "")
        return [json.loads(line) for line in done.stdout.splitlines()]

    return call


def test_the_messages_are_valid_numbered_and_end_with_stop_reason_and_usage(translate: Translate):
    messages = translate(TOOL)
    assert [message["seq_id"] for message in messages] == list(range(1, len(messages) + 1))
    assert [message["message_type"] for message in messages[-2:]] == ["stop_reason", "usage_statistics"]
    assert {message["run_id"] for message in messages} == {"openai-tool-2"}
    for message in messages:
        MESSAGE_ADAPTER.validate_python(message)


@pytest.mark.parametrize("name", ["openai-tool-2", "anthropic-search-3", "google-code-2", "mistral-reasoning-1"])
def test_the_content_is_that_of_the_recording_also_joined_and_as_jsonl(translate: Translate, name: str, tmp_path: Path):
    recording = Library.load(RECORDINGS).find(name)
    right = recorded(recording.body, recording.api)
    file = str(RECORDINGS / f"{name}.sse")
    assert differences(right, received(translate(file, "--set", "dialect=chat"))) == []
    assert differences(right, received(translate(file, "--set", "dialect=chat", "--coalesce"))) == []
    from_stdin = translate("-", "--set", "dialect=chat", "--run-id", name, stdin=recording.body)
    assert from_stdin == translate(file, "--set", "dialect=chat")
    lines = [line[5:].strip() for line in recording.body.splitlines() if line.startswith(b"data:")]
    jsonl = tmp_path / f"{name}.jsonl"
    jsonl.write_bytes(b"\n".join(line for line in lines if line != b"[DONE]"))
    assert translate(str(jsonl), "--set", "dialect=chat") == from_stdin


def test_joined_pieces_bear_the_seq_id_of_their_last(translate: Translate):
    loose, joined = translate(TOOL, "--set", "dialect=chat"), translate(TOOL, "--set", "dialect=chat", "--coalesce")
    assert len(joined) == 3
    assert [message["seq_id"] for message in joined] == [len(loose) - 2, len(loose) - 1, len(loose)]
    assert joined[0]["tool_call"]["name"] == "PartialUserInfo"
    assert json.loads(joined[0]["tool_call"]["arguments"]) == {"age": 30, "name": "John Doe"}


def test_settings_come_from_a_file_and_single_ones_overrule_it(translate: Translate, tmp_path: Path):
    settings = tmp_path / "s.json"
    settings.write_text('{"dialect": "letta", "assistant_message_tool_name": "PartialUserInfo"}')
    call = [
        '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"say"}}]}}]}',
        '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\\"text\\":"}}]}}]}',
        '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\\"hi\\"}"}}]}}]}',
        '{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}',
    ]
    chunks = "\n".join(call).encode()
    plain = translate("-", "--settings", str(settings), stdin=chunks)
    assert plain[0]["message_type"] == "tool_call_message"
    sets = ["--set", "assistant_message_tool_name=say", "--set", "assistant_message_tool_kwarg=text"]
    spoken = translate("-", "--settings", str(settings), *sets, "--coalesce", stdin=chunks)
    assert (spoken[0]["message_type"], spoken[0]["content"]) == ("assistant_message", "hi")


def test_id_date_and_name_are_those_given(translate: Translate):
    message_id = "message-00000000-0000-4000-8000-000000000080"
    given = ["--message-id", message_id, "--message-date", "2025-05-01T12:00:00", "--name", "Ada", "--run-id", "r"]
    first = translate(TOOL, *given)[0]
    assert (first["id"], first["date"], first["name"]) == (message_id, "2025-05-01T12:00:00+00:00", "Ada")
    assert (first["run_id"], first["otid"]) == ("r", "00000000-0000-4000-8000-000000000080")


def test_openai_chunks_end_with_a_finish_reason_and_usage(translate: Translate):
    chunks = translate(TOOL, "--set", "dialect=chat", "--format", "openai")
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert [c["finish_reason"] for chunk in chunks for c in chunk["choices"] if c["finish_reason"]] == ["tool_calls"]
    assert chunks[-1]["usage"] is not None


def test_verbose_says_on_stderr_what_nobody_knows(run: Any):
    stream = b'data: {"type":"response.created","response":{}}\n\ndata: {"type":"response.brand_new"}\n\n'
    done = run("translate", "-", "--verbose", stdin=stream)
    assert done.returncode == 0
    assert "response.brand_new" in done.stderr
    assert "brand_new" not in done.stdout


def test_a_stream_that_just_stops_is_incomplete_and_still_exit_0(translate: Translate):
    messages = translate("-", stdin=b'{"choices":[{"index":0,"delta":{"content":"Hel"}}]}')
    assert messages[-2]["stop_reason"] == "incomplete"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope.sse"], "nope.sse: cannot be read: No such file or directory"),
        (["README.md"], "README.md: expected a recorded stream"),
        ([TOOL, "--set", "dialekt=chat"], "dialekt: unknown key; did you mean 'dialect'?"),
        ([TOOL, "--set", "dialect"], "expected key=value"),
        ([TOOL, "--set", "chunk_bytes_max=-1"], "chunk_bytes_max: "),
        ([TOOL, "--settings", "nope.json"], "nope.json: cannot be read"),
        ([TOOL, "--settings", "README.md"], "README.md: not JSON"),
        ([TOOL, "--provider", "gpt"], "provider: Input should be"),
        ([TOOL, "--message-date", "yesterday"], "--message-date yesterday: not a date"),
        ([TOOL, "--format", "xml"], "--format"),
        ([], "Missing argument"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_2(run: Any, arguments: list[str], said: str):
    done = run("translate", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_it_reads_what_a_router_has_recorded(translate: Translate, tmp_path: Path):
    recorder = Recorder(RecordConfig(folder=str(tmp_path)))
    recording = recorder.recording("req-1", StreamSettings(dialect="chat"), "2026-01-01T00:00:00+00:00")
    assert recording is not None
    recording.keep(b'{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Hello"}}]}')
    recording.keep(b"[DONE]")
    recording.close()
    recorder.close()
    [file] = tmp_path.iterdir()
    assert translate(str(file), "--set", "dialect=chat")[0]["content"] == "Hello"


def test_head_ends_it_in_silence(program: list[str]):
    done = subprocess.run(  # noqa: S602 - a pipe is what is tested
        f"{' '.join(program)} translate {RECORDINGS / 'ollama-reasoning-1.sse'} | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""

"""Requests, bodies, endpoints, retries and the output file: pure, or nearly so."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from actors.errors import ConfigError
from router.runs.bodies import build_body
from router.runs.config import RunConfig
from router.runs.endpoint import Endpoint
from router.runs.output import Output
from router.runs.requests import Request, parse_requests
from router.runs.retries import Retries
from router.sources.http import HttpProviderError

# --- the request file -----------------------------------------------------------------------------


def test_every_bad_line_is_named_with_its_number_and_nothing_else():
    lines = [
        '{"prompt": "fine"}',
        "{oops",
        "",
        "[1]",
        '{"promt": "x"}',
        '{"id": "a", "prompt": "x"}',
        '{"id": "a", "prompt": "y"}',
        "{}",
        '{"messages": [{"content": "x"}]}',
        '{"prompt": "x", "settings": {"dialekt": "chat"}}',
        '{"prompt": "x", "tools": [{"name": "f"}]}',
    ]
    with pytest.raises(ConfigError) as caught:
        parse_requests("\n".join(lines), "r.jsonl")
    said = str(caught.value)
    assert said.startswith("r.jsonl: 8 bad lines: ")
    for number, words in {
        2: "not JSON",
        4: "expected an object, got list",
        5: "promt: unknown key; did you mean 'prompt'?",
        7: "id 'a' was given to line 6 already",
        8: "there is nothing to ask",
        9: "messages.0: expected a role",
        10: "dialekt: unknown key",
        11: "tools.0: expected",
    }.items():
        part = said.split(f"line {number}: ")[1]
        assert part.split("; line ")[0].find(words) >= 0, (number, part)
    assert "line 1:" not in said
    assert "line 6:" not in said


def test_a_thousand_bad_lines_are_not_all_shown():
    with pytest.raises(ConfigError, match=r"1000 bad lines.*line 20: .*and 980 more"):
        parse_requests("x\n" * 1000, "r.jsonl")


def test_requests_without_an_id_are_named_for_their_line():
    requests = parse_requests('\n{"prompt": "a"}\n\n{"id": "mine", "prompt": "b"}\n', "r")
    assert [request.name for request in requests] == ["line-2", "mine"]


def test_an_empty_file_says_what_a_request_looks_like():
    with pytest.raises(ConfigError, match='"prompt": "Hello"'):
        parse_requests("\n\n", "r")


# --- bodies ---------------------------------------------------------------------------------------

TOOL = {"type": "function", "function": {"name": "add", "description": "adds", "parameters": {"type": "object"}}}
CONVERSATION = Request.model_validate(
    {
        "id": "r",
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": "1+2?"},
            {
                "role": "assistant",
                "content": "Let me see.",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "3"},
            {"role": "user", "content": [{"type": "text", "text": "And?"}]},
        ],
        "tools": [TOOL],
        "max_tokens": 50,
        "temperature": 0.2,
        "model": "m",
    }
)


def test_the_body_of_openai_chat():
    body = build_body("openai-chat", CONVERSATION)
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert body["messages"][1:] == [dict(message) for message in CONVERSATION.messages or ()]
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert (body["model"], body["max_tokens"], body["temperature"], body["tools"]) == ("m", 50, 0.2, [TOOL])


def test_the_body_of_openai_responses():
    body = build_body("openai-responses", CONVERSATION)
    assert body["instructions"] == "Be brief."
    assert body["input"] == [
        {"role": "user", "content": "1+2?"},
        {"role": "assistant", "content": "Let me see."},
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a":1}'},
        {"type": "function_call_output", "call_id": "c1", "output": "3"},
        {"role": "user", "content": "And?"},
    ]
    assert body["tools"] == [{"type": "function", **TOOL["function"]}]
    assert body["max_output_tokens"] == 50
    assert "messages" not in body


def test_the_body_of_anthropic():
    body = build_body("anthropic-messages", CONVERSATION)
    assert body["system"] == "Be brief."
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "1+2?"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "3"},
                {"type": "text", "text": "And?"},
            ],
        },
    ]
    assert body["tools"] == [{"name": "add", "description": "adds", "input_schema": {"type": "object"}}]
    assert build_body("anthropic-messages", Request(id="r", prompt="x", model="m"))["max_tokens"] > 0, "it is required"


def test_the_body_of_gemini():
    body = build_body("gemini", CONVERSATION)
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert [content["role"] for content in body["contents"]] == ["user", "model", "user", "user"]
    assert body["contents"][1]["parts"][1] == {"functionCall": {"name": "add", "args": {"a": 1}}}
    assert body["contents"][2]["parts"] == [{"functionResponse": {"name": "add", "response": {"result": "3"}}}]
    assert body["generationConfig"] == {"maxOutputTokens": 50, "temperature": 0.2}
    assert "model" not in body, "it stands in the path"


def test_a_request_may_say_and_take_out_any_key():
    request = Request(id="r", prompt="x", model="m", body={"top_p": 0.5, "stream_options": None})
    body = build_body("openai-chat", request)
    assert body["top_p"] == 0.5
    assert "stream_options" not in body


def test_content_that_is_no_text_is_refused_where_it_would_be_lost():
    image = {"type": "image_url", "image_url": {"url": "http://x"}}
    request = Request(id="r", messages=({"role": "user", "content": [image]},), model="m")
    assert build_body("openai-chat", request)["messages"][0]["content"] == [image]
    with pytest.raises(ConfigError, match="only text is put into this API's form"):
        build_body("gemini", request)


def test_a_request_without_a_model_is_refused():
    with pytest.raises(ConfigError, match="names no model"):
        build_body("openai-chat", Request(id="r", prompt="x"))


# --- endpoints ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("api", "base_url", "whole"),
    [
        ("openai-chat", "http://h:1", "http://h:1/v1/chat/completions"),
        ("openai-chat", "http://h:1/v1/", "http://h:1/v1/chat/completions"),
        ("openai-chat", "https://h/api/openai", "https://h/api/openai/chat/completions"),
        ("openai-responses", "https://h/v1", "https://h/v1/responses"),
        ("anthropic-messages", "https://h", "https://h/v1/messages"),
        ("anthropic-messages", "https://h/anthropic", "https://h/anthropic/v1/messages"),
        ("anthropic-messages", "https://h/anthropic/v1", "https://h/anthropic/v1/messages"),
        ("gemini", "https://h", "https://h/v1beta/models/m:streamGenerateContent?alt=sse"),
        ("gemini", "https://h/v1", "https://h/v1/models/m:streamGenerateContent?alt=sse"),
    ],
)
def test_an_address_is_taken_as_the_providers_own_sdk_takes_it(api: Any, base_url: str, whole: str):
    endpoint = Endpoint(base_url=base_url, api=api)
    assert endpoint.base_url + endpoint.path("m") == whole


def test_keys_go_into_the_header_of_each_api_and_come_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("A_KEY", "sk-secret\n")
    headers = {}
    for api in ("openai-chat", "openai-responses", "anthropic-messages", "gemini"):
        endpoint = Endpoint(base_url="http://h", api=api, key_env="A_KEY", headers={"x-more": "1"})
        headers[api] = endpoint.auth_headers(endpoint.key())
        assert headers[api]["x-more"] == "1"
    assert headers["openai-chat"]["authorization"] == "Bearer sk-secret"
    assert headers["anthropic-messages"]["x-api-key"] == "sk-secret"
    assert headers["gemini"]["x-goog-api-key"] == "sk-secret"
    monkeypatch.delenv("A_KEY")
    with pytest.raises(ConfigError, match="A_KEY"):
        Endpoint(base_url="http://h", key_env="A_KEY").key()


@pytest.mark.parametrize("url", ["h:1", "ftp://h", "http://", "http://u:p@h", "http://h?key=k"])
def test_an_address_that_is_none_or_holds_a_secret_is_refused(url: str):
    with pytest.raises(ConfigError, match=r"endpoint.base_url"):
        RunConfig.load(None, {"endpoint.base_url": url})


def test_a_configuration_needs_an_endpoint_and_refuses_unknown_keys(tmp_path: Path):
    with pytest.raises(ConfigError, match="where is the provider"):
        RunConfig.load(None, {})
    file = tmp_path / "run.yaml"
    file.write_text("endpoint: {base_url: 'http://h', modle: m}\nconcurency: 3\n")
    with pytest.raises(ConfigError, match=r"endpoint.modle: .*'model'.*concurency: .*'concurrency'"):
        RunConfig.load(file, {})
    file.write_text("endpoint: {base_url: 'http://h'}\nstreams: {coalesce: 1}\n")
    with pytest.raises(ConfigError, match=r"streams.coalesce: unknown key"):
        RunConfig.load(file, {})


# --- retries --------------------------------------------------------------------------------------


def error(kind: Any = "status", **more: Any) -> HttpProviderError:
    return HttpProviderError("x", kind, **more)


def test_waits_double_with_jitter_up_to_their_bound():
    retries = Retries(attempts=9, first_wait_s=1, wait_s_max=10)
    for seed in range(20):
        waits = [retries.wait_s(attempt, error(status=503), random.Random(seed)) or 0 for attempt in range(1, 9)]
        for wait, most in zip(waits, [1, 2, 4, 8, 10, 10, 10, 10], strict=True):
            assert most / 2 <= wait <= most


def test_retry_after_is_honoured():
    retries = Retries(first_wait_s=0.1)
    assert retries.wait_s(1, error(status=429, retry_after_s=7), random.Random(0)) == 7
    assert retries.wait_s(1, error(status=429, retry_after_s=0), random.Random(0)) > 0
    assert retries.wait_s(1, error(status=429, retry_after_s=9999), random.Random(0)) is None


@pytest.mark.parametrize(
    "final",
    [error(status=401), error(status=400), error("not_a_stream", status=200), error("cut")],
    ids=["401", "400", "html", "cut"],
)
def test_what_asking_again_cannot_mend_is_not_asked_again(final: HttpProviderError):
    assert Retries().wait_s(1, final, random.Random(0)) is None


def test_the_last_attempt_is_the_last():
    assert Retries(attempts=1).wait_s(1, error(status=503), random.Random(0)) is None


# --- the output -----------------------------------------------------------------------------------


def lines(name: str, *, stop_reason: str | None = "end_turn", with_usage: bool = True) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = [{"message_type": "assistant_message", "run_id": name, "content": "x"}]
    if stop_reason:
        said.append({"message_type": "stop_reason", "run_id": name, "stop_reason": stop_reason})
        if with_usage:
            said.append({"message_type": "usage_statistics", "run_id": name})
    return said


def test_what_is_complete_stays_and_all_else_is_taken_out(tmp_path: Path):
    file = tmp_path / "out.jsonl"
    with Output(file) as output:
        assert output.complete == {}
        output.write(lines("a"))
        output.write(lines("failed", stop_reason="error"))
        output.write(lines("half", stop_reason=None))
        output.write(lines("nearly", with_usage=False))
        output.write(lines("tool", stop_reason="tool_call"))
        for reason in ("cancelled", "lost", "incomplete", "timeout_stall", "publisher_lost"):
            output.write(lines(reason, stop_reason=reason))
    with file.open("a") as stream:
        stream.write('{"message_type": "assistant_message", "run_id": "cut", "cont')
    with Output(file) as output:
        assert output.complete == {"a": "end_turn", "tool": "tool_call"}
        output.write(lines("failed"))
    kept = [json.loads(line)["run_id"] for line in file.read_text().splitlines()]
    assert kept == ["a"] * 3 + ["tool"] * 3 + ["failed"] * 3
    assert list(tmp_path.iterdir()) == [file], "no temporary file is left"


def test_a_file_of_something_else_is_not_overwritten(tmp_path: Path):
    file = tmp_path / "notes.txt"
    file.write_text("dear diary\n")
    with pytest.raises(ConfigError, match=r"line 1: not a message of an earlier run"), Output(file):
        pass
    assert file.read_text() == "dear diary\n"


def test_an_address_needs_the_name_of_a_service():
    with pytest.raises(ConfigError, match="address has no meaning without connect"):
        RunConfig.load(None, {"endpoint.base_url": "http://h", "address": "head:6379"})
    given = {"endpoint.base_url": "http://h", "address": "head:6379", "connect": "agents"}
    assert RunConfig.load(None, given).connect == "agents"


def test_a_file_in_which_all_is_complete_is_not_written_anew(tmp_path: Path):
    file = tmp_path / "out.jsonl"
    with Output(file) as output:
        output.write(lines("a"))
    file.chmod(0o640)
    inode = file.stat().st_ino
    with Output(file) as output:  # a full disk has no room for a second copy
        assert output.complete == {"a": "end_turn"}
        output.write(lines("b"))
    assert (file.stat().st_ino, file.stat().st_mode & 0o777) == (inode, 0o640)


def test_a_linked_output_stays_a_link_with_its_mode_when_it_is_cleaned(tmp_path: Path):
    (tmp_path / "far").mkdir()
    real = tmp_path / "far" / "real.jsonl"
    link = tmp_path / "out.jsonl"
    link.symlink_to(real)
    with Output(link) as output:
        output.write(lines("a"))
        output.write(lines("half", stop_reason=None))
    real.chmod(0o604)
    with Output(link) as output:
        assert output.complete == {"a": "end_turn"}
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o604
    assert {json.loads(line)["run_id"] for line in real.read_text().splitlines()} == {"a"}


@pytest.mark.parametrize("cut", range(2, 60, 7))
def test_what_a_full_disk_cut_in_the_middle_of_a_line_is_asked_again(tmp_path: Path, cut: int):
    file = tmp_path / "out.jsonl"
    with Output(file) as output:
        output.write(lines("a"))
        output.write(lines("b"))
    file.write_bytes(file.read_bytes()[:-cut])
    with Output(file) as output:
        assert output.complete == {"a": "end_turn"}
        output.write(lines("b"))
    assert [json.loads(line)["run_id"] for line in file.read_text().splitlines()] == ["a"] * 3 + ["b"] * 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_said_once_and_with_the_name_of_the_file():
    file = Path("/dev/full")
    message = {"message_type": "reasoning_message", "run_id": "a", "reasoning": "x"}
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"), Output(file) as output:
        output.write([message])

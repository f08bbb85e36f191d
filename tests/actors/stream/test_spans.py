"""What an agent does shows as spans: its responses, its tools, whose trace it is in."""

from __future__ import annotations

import json

import pytest

from actors.protocol.envelopes import Order
from actors.settings import StreamSettings
from actors.stream.spans import RequestSpans
from actors.tracing import current_traceparent
from router.client.publishing.encoding import within_span
from tests.actors.stream.host_driver import DATE, Driver, record, text

trace = pytest.importorskip("opentelemetry.sdk.trace", reason="spans need the extra 'otel'")
export = pytest.importorskip("opentelemetry.sdk.trace.export")
in_memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")

NS = 1_000_000_000
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Traced(Driver):
    """A driver whose host makes spans, on its own clock."""

    def __init__(self, provider=None) -> None:
        super().__init__()
        self.memory = in_memory.InMemorySpanExporter()
        provider = provider or trace.TracerProvider()
        provider.add_span_processor(export.SimpleSpanProcessor(self.memory))
        self.host.spans = RequestSpans(provider, lambda: int(self.now * NS))

    def spans(self) -> dict[str, trace.ReadableSpan]:
        return {span.name: span for span in self.memory.get_finished_spans()}


def chunk(**parts: object) -> bytes:
    return json.dumps({"model": "gpt-9", **parts}).encode()


def calls_weather() -> list[bytes]:
    call = {"index": 0, "id": "call-1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    return [
        chunk(choices=[{"index": 0, "delta": {"tool_calls": [call]}}]),
        chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]),
        chunk(choices=[], usage={"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}),
        b"[DONE]",
    ]


def answers() -> list[bytes]:
    usage = {
        "prompt_tokens": 30, "completion_tokens": 7, "total_tokens": 37,
        "prompt_tokens_details": {"cached_tokens": 9},
    }  # fmt: skip
    return [
        chunk(choices=[{"index": 0, "delta": {"content": "Sunny."}}]),
        chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]),
        chunk(choices=[], usage=usage),
        b"[DONE]",
    ]


def returned(status: str = "success") -> list:
    body = {"message_type": "tool_return_message", "tool_call_id": "call-1", "status": status, "tool_return": "25"}
    return record("message", **body)


def run_an_agent(driver: Traced, status: str = "success", **settings: object) -> None:
    driver.open("req-1", **settings)
    driver.now = 1.5
    driver.say("req-1", *calls_weather())
    driver.now = 4.0
    driver.say("req-1", returned(status))
    driver.now = 5.0
    driver.say("req-1", answers()[0])
    driver.now = 6.0
    driver.say("req-1", *answers()[1:])
    driver.end("req-1")


def test_a_request_its_responses_and_its_tools_are_spans_under_the_publishers():
    driver = Traced()
    run_an_agent(driver, traceparent=TRACEPARENT)
    spans = driver.memory.get_finished_spans()
    assert [span.name for span in spans] == ["execute_tool weather", "chat gpt-9", "chat gpt-9", "invoke_agent"]
    whole = spans[-1]
    assert f"{whole.context.trace_id:032x}" == TRACEPARENT.split("-")[1]
    assert f"{whole.parent.span_id:016x}" == TRACEPARENT.split("-")[2]
    assert {span.parent.span_id for span in spans[:-1]} == {whole.context.span_id}
    assert {span.context.trace_id for span in spans} == {whole.context.trace_id}


def test_a_response_says_model_provider_usage_finish_and_when_its_first_piece_came():
    driver = Traced()
    run_an_agent(driver)
    first, second = [span for span in driver.memory.get_finished_spans() if span.name == "chat gpt-9"]
    assert first.kind.name == "CLIENT"
    assert dict(first.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.stream": True,
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-9",
        "gen_ai.response.model": "gpt-9",
        "gen_ai.response.time_to_first_chunk": 1.5,
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 4,
        "gen_ai.response.finish_reasons": ("tool_calls",),
    }
    assert (first.start_time, first.end_time) == (0, 1.5 * NS)
    attributes = dict(second.attributes)
    assert attributes["gen_ai.usage.input_tokens"] == 30
    assert attributes["gen_ai.usage.cache_read.input_tokens"] == 9
    assert attributes["gen_ai.response.time_to_first_chunk"] == 1.0, "since the tool returned"
    assert attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert (second.start_time, second.end_time) == (4 * NS, 6 * NS)


def test_a_response_is_not_given_what_the_next_one_used_though_that_came_in_one_piece():
    driver = Traced()
    driver.open("req-1")
    driver.say("req-1", *calls_weather())
    driver.say("req-1", returned(), *answers(), record("finish"))
    first, second = [span for span in driver.memory.get_finished_spans() if span.name == "chat gpt-9"]
    used = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
    assert [first.attributes[name] for name in used] == [10, 4]
    assert [second.attributes[name] for name in used] == [30, 7]


def test_a_response_that_came_in_one_piece_with_the_end_says_the_same():
    driver = Traced()
    driver.open("req-1")
    driver.say("req-1", *answers(), record("finish"))
    driver.end("req-1")
    chat = driver.spans()["chat gpt-9"].attributes
    assert chat["gen_ai.provider.name"] == "openai"
    assert (chat["gen_ai.usage.input_tokens"], chat["gen_ai.usage.output_tokens"]) == (30, 7)
    assert chat["gen_ai.response.finish_reasons"] == ("stop",)


@pytest.mark.parametrize(("status", "code"), [("success", "UNSET"), ("error", "ERROR")])
def test_a_tool_runs_from_its_call_to_its_return(status: str, code: str):
    driver = Traced()
    run_an_agent(driver, status)
    tool = driver.spans()["execute_tool weather"]
    assert (tool.start_time, tool.end_time) == (1.5 * NS, 4 * NS)
    assert tool.attributes["gen_ai.tool.name"] == "weather"
    assert tool.attributes["gen_ai.tool.call.id"] == "call-1"
    assert tool.status.status_code.name == code


def test_the_whole_says_which_agent_it_was_and_what_it_used():
    driver = Traced()
    opened = (Order.OPEN, "req-1", 1, b"\x80", "client", DATE, 2.0, 0, 1, 0, ["ada", 1])
    driver.now = 10.0
    driver.send(opened)
    driver._next_seq["req-1"] = 1
    driver.say("req-1", *answers())
    driver.end("req-1")
    whole = driver.spans()["invoke_agent ada"]
    assert whole.start_time == 8 * NS, "since the request was opened, wherever"
    assert whole.attributes["gen_ai.agent.id"] == "ada"
    assert whole.attributes["stop_reason"] == "end_turn"
    assert whole.attributes["gen_ai.usage.output_tokens"] == 7


def test_a_request_that_fails_is_a_span_that_failed():
    driver = Traced()
    driver.open("req-1")
    driver.say("req-1", text("Hel"), record("fail", error_type="overloaded", message="later"))
    for name in ("chat", "invoke_agent"):
        span = driver.spans()[name]
        assert span.status.status_code.name == "ERROR"
        assert span.attributes["error.type"] == "overloaded"


def test_a_timer_that_runs_out_ends_the_spans():
    driver = Traced()
    driver.open("req-1", stall_timeout_s=5)
    driver.say("req-1", text("Hel"))
    driver.passes(60)
    assert driver.spans()["invoke_agent"].attributes["error.type"] == "timeout_stall"
    assert not driver.host.spans._open


def test_what_follows_another_incarnation_has_the_only_spans_and_nothing_is_kept_of_what_is_gone():
    driver = Traced()
    driver.open("req-1")
    driver.say("req-1", text("Hel"))
    driver.open("req-1", epoch=2)
    driver.say("req-1", text("Hello"), epoch=2)
    driver.end("req-1", epoch=2)
    assert [span.name for span in driver.memory.get_finished_spans()] == ["chat", "invoke_agent"]
    driver.open("req-2")
    driver.send((Order.FORGET, "req-2", 1))
    assert not driver.host.spans._open


def test_a_provider_that_fails_harms_no_request(caplog):
    driver = Traced()

    class Broken:
        def start_span(self, *_args, **_more):
            raise RuntimeError("no collector")

    driver.host.spans._tracer = Broken()
    driver.open("req-1")
    driver.say("req-1", text("Hello"))
    assert driver.end("req-1")
    assert "its spans failed" in caplog.text


def test_a_publisher_hands_on_the_span_that_it_is_in():
    settings = StreamSettings()
    assert within_span(settings) is settings
    with trace.TracerProvider().get_tracer("mine").start_as_current_span("task") as span:
        traceparent = current_traceparent()
        assert (
            traceparent == f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-{span.context.trace_flags:02x}"
        )
        assert within_span(settings).traceparent == traceparent
        given = StreamSettings(traceparent=TRACEPARENT)
        assert within_span(given) is given

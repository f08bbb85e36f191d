"""The span that a client is in reaches the request that it starts, and what is no span hurts nothing."""

from __future__ import annotations

import pytest

from actors.settings import StreamSettings
from gateway.config import AgentConfig
from gateway.runs.order import Order
from gateway.trace_context import traceparent_in
from tests.gateway.fakes import served

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        (PARENT, PARENT),
        (f" {PARENT} ", PARENT),
        (f"00-{TRACE}-{SPAN}-ff", f"00-{TRACE}-{SPAN}-ff"),
        (f"cc-{TRACE}-{SPAN}-01", PARENT),
        (f"cc-{TRACE}-{SPAN}-01-what-comes", PARENT),
        (f"{PARENT}-more", None),
        (f"cc-{TRACE}-{SPAN}-01.more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (PARENT.upper(), None),
        (PARENT[:-1], None),
        ("", None),
        (f"{PARENT},{PARENT}", None),
    ],
)
def test_a_header_is_taken_as_the_standard_says(said: str, taken: str | None):
    assert traceparent_in([said]) == taken
    if taken is not None:
        assert StreamSettings.load({"traceparent": taken}).traceparent == taken


def test_two_headers_say_nothing():
    assert traceparent_in([PARENT, PARENT]) is traceparent_in([]) is None


@pytest.mark.parametrize("settings", [{}, {"dialect": "chat", "stall_timeout_s": 7}])
def test_a_span_changes_nothing_else_of_a_requests_settings(settings: dict[str, object]):
    of_service = StreamSettings.load({"dialect": "letta", "stall_timeout_s": 9})
    order = Order("run-1", "ada", AgentConfig.model_validate({"run": "m:f", "settings": settings}), {}, None, {}, {})
    plain = order.settings(of_service)
    assert plain == (StreamSettings.load(settings) if settings else of_service)
    within = order._replace(traceparent=PARENT).settings(of_service)
    assert within.traceparent == PARENT
    assert within.model_copy(update={"traceparent": None}) == plain


async def test_a_run_is_of_the_span_that_its_client_is_in():
    starts = [
        ("/v1/streams", {"agent": "ada", "input": "Hi"}),
        ("/v1/agents/ada/messages/stream", {"messages": [{"role": "user", "content": "Hi"}]}),
        ("/v1/chat/completions", {"model": "ada", "messages": [{"role": "user", "content": "Hi"}], "stream": True}),
        ("/v1/responses", {"model": "ada", "input": "Hi", "stream": True}),
    ]
    async with served() as gateway:
        for path, body in starts:
            for headers, expected in (({"traceparent": PARENT}, PARENT), ({"traceparent": "none"}, None), ({}, None)):
                async with gateway.http.post(gateway.url + path, json=body, headers=headers) as answered:
                    assert answered.status < 300
                assert gateway.runners.orders[-1].traceparent == expected

"""What a client sends, as what an agent or a provider is asked."""

from __future__ import annotations

from typing import Any

import pytest

from actors.errors import ConfigError, InvalidArgument
from gateway.config import AgentConfig
from gateway.runs.order import Order, function_of, request_of
from router.runs.bodies import build_body
from router.runs.endpoint import Endpoint

TURNS = [{"role": "user", "content": "Hi"}]


def endpoint(api: str = "openai-chat") -> Endpoint:
    return Endpoint.model_validate({"base_url": "http://x", "api": api, "model": "m"})


def test_a_chats_request_reaches_a_provider_of_the_same_api_as_it_was_made():
    given = {
        "messages": TURNS,
        "temperature": 0,
        "max_completion_tokens": 9,
        "response_format": {"type": "json_object"},
    }
    body = build_body("openai-chat", request_of(given, endpoint()), "m")
    assert (body["messages"], body["temperature"], body["max_tokens"]) == (TURNS, 0, 9)
    assert body["response_format"] == {"type": "json_object"}
    assert body["stream"] is True
    assert body["model"] == "m"


def test_what_a_client_says_of_the_stream_and_the_model_is_not_the_providers():
    given = {"messages": TURNS, "model": "ada", "stream": False, "stream_options": {}, "n": 2, "store": True}
    body = build_body("openai-chat", request_of(given, endpoint()), "m")
    assert body.keys() == {"model", "messages", "stream", "stream_options"}
    assert (body["model"], body["stream"]) == ("m", True)


def test_another_api_gets_what_its_form_has_a_place_for_and_the_rest_is_named():
    anthropic = endpoint("anthropic-messages")
    body = build_body("anthropic-messages", request_of({"messages": TURNS, "max_tokens": 9}, anthropic), "m")
    assert body["max_tokens"] == 9
    with pytest.raises(InvalidArgument, match="input: response_format, seed cannot be put into the form of anthropic"):
        request_of({"messages": TURNS, "seed": 1, "response_format": {}}, anthropic)
    assert request_of({"messages": TURNS, "body": {"top_k": 5}}, anthropic).body == {"top_k": 5}


@pytest.mark.parametrize("given", [{}, {"messages": []}, {"messages": [{}]}, {"prompt": 1}, {"messages": 1}])
def test_what_asks_nothing_is_refused(given: dict[str, Any]):
    with pytest.raises(InvalidArgument, match=r"^input: "):
        request_of(given, endpoint())


def test_a_function_is_found_by_its_module_and_name():
    assert function_of("json:dumps").__name__ == "dumps"
    for path, why in (
        ("json:nothing", "AttributeError"),
        ("no_such_module:f", "ModuleNotFoundError"),
        ("json:__doc__", "is to be a function"),
    ):
        with pytest.raises(ConfigError, match=why):
            function_of(path)


def test_the_agents_name_is_a_tag_that_no_client_can_change():
    order = Order("run-1", "ada", AgentConfig(run="m:f"), {}, None, {"agent": "bob", "team": "a"}, {})
    assert order.all_tags == {"agent": "ada", "team": "a"}


def test_a_run_of_a_tenant_has_its_full_name_where_it_is_started_and_its_own_in_what_is_said_of_it():
    order = Order("run-1", "ada", AgentConfig(run="m:f"), {}, None, {}, {}, "one", "team-a")
    assert (order.full_id, order.full_agent_id) == ("team-a:run-1", "team-a:one")
    assert order.own_text("request 'team-a:run-1' is open") == "request 'run-1' is open"
    plain = order._replace(tenant=None, agent_id=None)
    assert (plain.full_id, plain.full_agent_id) == ("run-1", None)

"""The section `gateway`: what is right is taken, what is wrong is named, and strangers need a token."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from fakes import served

from actors.errors import ConfigError
from gateway.config import AgentConfig, GatewayConfig, gateway_section, load_config, with_options
from gateway.serving.entry import read_tokens
from router.config import RouterConfig
from router.config import load_config as load_routers
from router.config_files import packaged_configs


def error_of(**section: object) -> str:
    with pytest.raises(ConfigError) as caught:
        gateway_section(section, "x.yaml")
    return str(caught.value)


def test_local_yaml_shows_every_key_with_its_default():
    shown = yaml.safe_load(packaged_configs()["local"].read_text())["gateway"]
    assert set(shown) == set(GatewayConfig.model_fields)
    assert gateway_section(shown) == GatewayConfig()


def test_routers_leave_the_section_alone(tmp_path: Path):
    file = tmp_path / "mine.yaml"
    file.write_text("routers: 2\ngateway: {port: 0, agents: {ada: {run: 'my_agents:ada'}}}")
    section, routers = load_config(file)
    assert routers == load_routers(file) == RouterConfig(routers=2)
    assert section.agents == {"ada": AgentConfig(run="my_agents:ada")}
    assert load_config("local")[0] == GatewayConfig()


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"prot": 1}, "prot: unknown key; did you mean 'port'?"),
        ({"host": "10.0.0.1"}, "no tokens_file says who may come"),
        ({"host": "::"}, "no tokens_file says who may come"),
        ({"host": "example.com"}, "no tokens_file says who may come"),
        ({"formats": ["smoke"]}, "formats.0"),
        ({"agents": {"a": {}}}, "expected one of run (module:function), endpoint"),
        ({"agents": {"a": {"run": "m:f", "endpoint": {"base_url": "http://x"}}}}, "got run and endpoint"),
        ({"agents": {"a": {"run": "m:f", "actor": {"name": "x"}}}}, "got run and actor"),
        ({"agents": {"a": {"actor": {}}}}, "agents.a.actor.name"),
        ({"agents": {"a": {"actor": {"name": ""}}}}, "agents.a.actor.name"),
        ({"agents": {"a": {"actor": {"name": "x", "method": "__ray_terminate__"}}}}, "agents.a.actor.method"),
        ({"agents": {"a": {"actor": {"name": "x", "nmespace": "y"}}}}, "did you mean 'namespace'?"),
        ({"agents": {"a": {"run": "no function"}}}, "agents.a.run"),
        ({"agents": {"a": {"run": "m:f", "settings": {"dialekt": "chat"}}}}, "did you mean 'dialect'?"),
        ({"agents": {"a": {"endpoint": {"base_url": "ftp://x"}}}}, "expected http://host:port"),
        ({"cors_origins": ["example.com"]}, "expected an origin such as https://app.example.com"),
        ({"cors_origins": ["https://example.com/path"]}, "expected an origin"),
        ({"window_bytes_max": 10}, "window_bytes_max"),
    ],
)
def test_what_is_wrong_is_named(section: dict[str, object], said: str):
    message = error_of(**section)
    assert message.startswith("x.yaml: gateway: ")
    assert said in message


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_needs_no_token(host: str):
    assert gateway_section({"host": host}).tokens_file is None


def test_an_endpoint_speaks_chat_and_says_whose_events_it_sends():
    agent = AgentConfig.model_validate({"endpoint": {"base_url": "http://x", "api": "gemini"}})
    assert agent.stream_settings == {"dialect": "chat", "provider": "gemini"}
    assert AgentConfig(run="m:f").stream_settings is None
    assert AgentConfig(run="m:f", settings={"dialect": "chat"}).stream_settings == {"dialect": "chat"}


def test_options_change_single_keys():
    assert with_options(GatewayConfig(), {"port": 0, "heartbeat_s": 1}) == GatewayConfig(port=0, heartbeat_s=1)
    with pytest.raises(ConfigError, match="options: gateway: prot: unknown key"):
        with_options(GatewayConfig(), {"prot": 0})


def test_a_file_of_tokens_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"gateway.tokens_file .*nowhere cannot be read"):
        read_tokens(GatewayConfig(tokens_file=str(tmp_path / "nowhere")))
    (tmp_path / "tokens").write_text("web 0123456789abcdef read\n")
    assert read_tokens(GatewayConfig(tokens_file=str(tmp_path / "tokens"))) is not None
    assert read_tokens(GatewayConfig()) is None


async def test_what_a_gateway_reads_is_gathered_for_as_long_as_it_says():
    async with served(gather_ms=3) as running:
        assert running.router.gather_ms == 3

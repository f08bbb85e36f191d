"""Configuration: what is right is taken as it is, what is wrong is named by its path."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from actors.errors import ConfigError
from router import config_files
from router.config import RouterConfig, load_config, parse_config
from router.config_files import find_config, packaged_configs
from tests.transport import TRANSPORT


def error_of(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "x.yaml")
    return str(caught.value)


def test_a_path_that_the_system_does_not_take_is_no_configuration_file():
    with pytest.raises(ConfigError, match="cannot be a configuration file"):
        RouterConfig.load("x" * 100_000)


def test_the_packaged_files_are_valid_and_found_by_name_and_by_path():
    assert set(packaged_configs()) == {"cluster", "dedicated", "local"}
    for name in packaged_configs():
        assert load_config(name) == load_config(f"{name}.yaml") == load_config(f"configs/{name}.yaml")


def test_packaged_files_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert load_config("configs/local.yaml").name == "agents"


def test_a_file_of_ones_own_goes_before_a_packaged_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "local.yaml").write_text("routers: 3")
    assert load_config("local.yaml").routers == 3


@pytest.mark.skipif(TRANSPORT != "auto", reason="TEST_TRANSPORT says another default")
def test_local_yaml_shows_every_key_with_its_default():
    # A key that is missing here would be a setting that nobody finds. The reference's flags, which
    # depend on the dialect, are shown in the README.
    shown = yaml.safe_load(packaged_configs()["local"].read_text())
    assert parse_config("").model_dump() == load_config("local").model_dump()
    for section, model in RouterConfig.model_fields.items():
        assert section in shown
        if section != "streams" and hasattr(model.annotation, "model_fields"):
            assert set(shown[section]) == set(model.annotation.model_fields), section


def test_dedicated_is_strict_and_cluster_is_a_service():
    assert load_config("dedicated").stream_actors.max_streams_per_actor == 1
    cluster = load_config("cluster")
    assert cluster.detached
    assert cluster.routers > 1
    assert cluster.stream_actors.spread
    assert not cluster.ray.is_embedded


def test_an_empty_file_means_the_defaults():
    assert parse_config("# nothing\n") == RouterConfig()


def test_an_unknown_key_is_refused_with_its_path_and_the_nearest_right_one():
    assert "stream_actors.max_actor: unknown key; did you mean 'max_actors'?" in error_of(
        "stream_actors: {max_actor: 3}"
    )
    assert "streams.dialekt: unknown key; did you mean 'dialect'?" in error_of("streams: {dialekt: chat}")
    assert "known keys: archive, detached, limits, logs" in error_of("zzz: 1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("routers: many", "routers: "),
        ("routers: 0", "greater than or equal to 1"),
        ("name: 'a b'", "name: "),
        ("ray: {worker_niceness: 40}", "ray.worker_niceness"),
        ("stream_actors: {when_pool_full: explode}", "'wait' or 'refuse'"),
        ("stream_actors: {warm_actors: 9}", "warm_actors is 9 but max_actors is 4"),
        ("detached: true", "set ray.address"),
        ("streams: {when_full: never}", "streams.when_full"),
        ("[1, 2]", "expected keys and values at the top, got list"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(text: str, said: str):
    message = error_of(text)
    assert said in message
    assert message.startswith("x.yaml")
    assert "\n" not in message


def test_all_problems_are_said_at_once():
    message = error_of("routers: x\nnamespcae: y")
    assert "routers: " in message
    assert "did you mean 'namespace'?" in message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("name: agents\nray: [", "line 2, column 7"),
        ("name: agents\n  routers: 2", "line 2, column 10"),
        ("routers: 1\nname: x\nrouters: 2", "line 3, column 1: not valid YAML: key 'routers' is given twice"),
        ("name: \x07", "not valid YAML"),
    ],
)
def test_what_is_not_yaml_is_placed_by_line_and_column(text: str, place: str):
    assert place in error_of(text)


def test_numbers_in_scientific_form_are_numbers():
    assert parse_config("limits: {opens_per_s_max: 1e3}").limits.opens_per_s_max == 1000


def test_a_missing_file_names_those_that_are_there(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("")
    with pytest.raises(ConfigError, match=r"no such configuration file; there are mine.yaml in .*packaged ones are"):
        load_config(tmp_path / "main.yaml")
    with pytest.raises(ConfigError, match="is a folder"):
        load_config(tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path):
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "bad.yaml")


def test_an_installation_without_its_files_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(config_files, "packaged_configs", dict)
    with pytest.raises(ConfigError, match="packaged ones are missing"):
        find_config("somewhere/local.yaml")


def test_a_configuration_is_frozen_and_passes_through_load():
    given = RouterConfig(routers=2)
    assert RouterConfig.load(given) is given
    with pytest.raises(ValidationError):
        given.routers = 3  # type: ignore[misc]

"""Configuration files: where they are, strict YAML, changes by dotted key. What the keys mean, their models say."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from actors.errors import ConfigError


def parse_yaml(text: str, source: str) -> dict[str, Any]:
    """Return the keys and values of YAML text; empty text has none. Raises ConfigError with line and column."""
    try:
        data = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader that also refuses double keys
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{_place(source, error)}: not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not valid YAML: {error}") from None
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"{source}: expected keys and values at the top, got {type(data).__name__}")
    return data


def with_changes(data: dict[str, Any], changes: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return a configuration's plain values with changes by dotted key (`ray.address`, `mix.0.weight`).

    Raises ConfigError.
    """
    changed = copy.deepcopy(data)
    for path, value in changes.items():
        try:
            _set(changed, path.split("."), value)
        except ConfigError as error:
            raise ConfigError(f"{source}: {path}: {error}") from None
    return changed


def _set(data: dict[str, Any], parts: Sequence[str], value: Any) -> None:
    """Set one value in place, making mappings on the way where there is nothing. Raises ConfigError."""
    place: Any = data
    key = _key_in(place, parts[0], "")
    for before, part in itertools.pairwise(parts):
        if isinstance(place, dict) and place.get(key) is None:
            place[key] = {}
        place = place[key]
        key = _key_in(place, part, before)
    place[key] = value


def _key_in(place: Any, part: str, name: str) -> Any:
    """Return a part of a path as a key of `place`, which is called `name`. Raises ConfigError: there is no such key."""
    if isinstance(place, dict):
        return part
    if not isinstance(place, list):
        raise ConfigError(f"{name!r} holds {place!r}, not keys and values")
    if not (part.isdecimal() and int(part) < len(place)):
        raise ConfigError(f"there is no {part!r} in a list of {len(place)} (0 is the first)")
    return int(part)


def find_config(path: str | Path) -> Path:
    """Return the file that a path or a packaged name means; ConfigError where there is none."""
    wanted = Path(path).expanduser()
    try:
        if wanted.is_file():
            return wanted
    except OSError as error:
        raise ConfigError(f"{str(path)[:80]}: cannot be a configuration file: {error.strerror}") from None
    packaged = packaged_configs()
    if str(wanted.parent) in {".", "configs"} and wanted.stem in packaged and wanted.suffix in {"", ".yaml", ".yml"}:
        return packaged[wanted.stem]
    if wanted.is_dir():
        what = f"{wanted}: is a folder, not a configuration file"
        beside = sorted(file.name for file in wanted.glob("*.y*ml"))
    else:
        what = f"{wanted}: no such configuration file"
        beside = sorted(file.name for file in wanted.parent.glob("*.y*ml")) if wanted.parent.is_dir() else []
    there = f"there are {', '.join(beside)} in {wanted if wanted.is_dir() else wanted.parent}; " if beside else ""
    raise ConfigError(f"{what}; {there}packaged ones are {', '.join(packaged) or 'missing'}")


def packaged_configs() -> dict[str, Path]:
    """Return the configurations that come with the package, by name, in order of name."""
    here = Path(__file__).resolve().parent
    for folder in (here / "configs", here.parent / "configs"):  # installed; a checkout
        if folder.is_dir():
            return {file.stem: file for file in sorted(folder.glob("*.yaml"))}
    return {}


def _place(source: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f"{source}, line {mark.line + 1}, column {mark.column + 1}" if mark else source


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe loader, where a key given twice is an error and 1e6 is a number.

    Plain YAML 1.1 takes the last of two equal keys in silence and reads `1e6` as text.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep=deep)


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)

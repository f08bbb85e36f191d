"""Options of several commands, and how they are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from actors.errors import SettingsError

ConnectAddress = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="With --connect: the Ray cluster where it runs.")
]


def check_writable(*files: Path | None) -> None:
    """Create files that are to be written at the end. Raises OSError, before the run and not after it."""
    for file in files:
        if file is not None:
            file.touch()


def parse_sets(pairs: Sequence[str]) -> dict[str, Any]:
    """Return `key=value` pairs as a dict; values are read as YAML (`true`, `3`, `null`, `text`)."""
    values = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise SettingsError(f"--set {pair}: expected key=value")
        try:
            values[key.strip()] = yaml.safe_load(text)
        except yaml.YAMLError:
            values[key.strip()] = text
    return values

"""What several commands' options have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from actors.errors import SettingsError


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

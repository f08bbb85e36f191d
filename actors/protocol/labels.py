"""Labels: what a publisher says of a request so that it can be found again. Tags are searched, metadata is carried.

They cross as bytes: a packed list of the tags (name to value) and of the metadata as JSON. No process but the
one that reads them opens the metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from actors.errors import ProtocolViolation
from actors.protocol.frames import pack, unpack

TAGS_MAX = 32
TAG_NAME_BYTES_MAX = 128
TAG_VALUE_BYTES_MAX = 256
METADATA_BYTES_MAX = 8 * 1024
LABELS_BYTES_MAX = TAGS_MAX * (TAG_NAME_BYTES_MAX + TAG_VALUE_BYTES_MAX + 8) + METADATA_BYTES_MAX + 16
"""What packed labels have at most."""

NO_LABELS = b""
"""The labels of a request that has none."""


class Labels(NamedTuple):
    """The labels of one request."""

    tags: dict[str, str]
    metadata: dict[str, Any]


def pack_labels(tags: Mapping[str, str], metadata: Mapping[str, Any]) -> bytes:
    """Return labels as bytes; what they hold was checked before."""
    if not tags and not metadata:
        return NO_LABELS
    return pack([dict(tags), json.dumps(metadata, separators=(",", ":")) if metadata else ""])


def read_labels(packed: bytes) -> Labels:
    """Return the labels that were packed. Raises ProtocolViolation for what no publisher of this version packs."""
    if not packed:
        return Labels({}, {})
    tags, text = _parts(packed)
    try:
        metadata = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise ProtocolViolation(f"the metadata of a request is no JSON: {error}") from None
    if not isinstance(metadata, dict):
        raise ProtocolViolation(f"the metadata of a request is a mapping, this is {type(metadata).__name__}")
    return Labels(tags, metadata)


def check_labels(packed: bytes) -> None:
    """Raise ProtocolViolation unless these bytes can be somebody's labels."""
    read_labels(packed)


def tags_of(packed: bytes) -> dict[str, str]:
    """Return the tags alone; none where they cannot be read."""
    if not packed:
        return {}
    try:
        return _parts(packed)[0]
    except ProtocolViolation:
        return {}


def _parts(packed: bytes) -> tuple[dict[str, str], str]:
    if len(packed) > LABELS_BYTES_MAX:
        raise ProtocolViolation(f"labels of {len(packed)} bytes; the most allowed is {LABELS_BYTES_MAX}")
    parts = unpack(packed)
    is_pair = isinstance(parts, list) and len(parts) == 2  # noqa: PLR2004  # tags and metadata
    if not is_pair or not isinstance(parts[0], dict) or not isinstance(parts[1], str):
        raise ProtocolViolation(f"labels are tags and metadata; these are {str(parts)[:80]!r}")
    tags = parts[0]
    is_text = all(isinstance(name, str) and isinstance(value, str) for name, value in tags.items())
    if len(tags) > TAGS_MAX or not is_text:
        raise ProtocolViolation(f"tags are up to {TAGS_MAX} names with a text each; these are {str(tags)[:80]!r}")
    return tags, parts[1]

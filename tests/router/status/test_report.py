"""What `status --json` prints fits its schema, and the schema that is shown is that of this program."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from router.config import RouterConfig
from router.core.registry import Registry
from router.status.overview import Overview, RequestDescription, of_shard
from router.status.report import StatusReport, status_schema

SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "status.schema.json").read_text(encoding="utf-8"))
REQUEST = RequestDescription(
    request_id="req-1", state="sealed", actor_id="s1", epoch=1, stop_reason="end_turn", last_seq_id=3, agent_id=None
)


def overview() -> Overview:
    registry = Registry(RouterConfig(), "me", 0.0)
    assert registry.open("client", "req-1", b"\x80", 1.0, date="") is None
    shard = of_shard(registry, RouterConfig(), 0, 2.0, {}, "node")
    return Overview(
        name="agents",
        namespace="agent-stream-router",
        routers=[shard["router"]],
        stream_actors=shard["stream_actors"],
        streams=[],
    )


@pytest.mark.parametrize("listed", [None, [], [REQUEST]])
def test_what_is_printed_fits_the_schema(listed: list[RequestDescription] | None):
    shown = StatusReport.of(overview(), listed)
    jsonschema.validate(shown, SCHEMA)
    assert ("requests" in shown) is (listed is not None)
    assert shown["routers"][0]["waiting"] + shown["routers"][0]["open"] == 1


def test_the_schema_refuses_what_lacks_a_part():
    shown = StatusReport.of(overview(), None)
    del shown["routers"][0]["state"]
    with pytest.raises(jsonschema.ValidationError, match="'state' is a required property"):
        jsonschema.validate(shown, SCHEMA)


def test_the_schema_in_the_docs_is_the_programs_own():
    assert status_schema() == SCHEMA

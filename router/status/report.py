"""What `stream-router status --json` prints. Its schema is `docs/status.schema.json`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, Field

from router.status.overview import Overview, RequestDescription, RouterOverview, StreamActorOverview


class StatusReport(BaseModel):
    """A service as it stands. Fields may be added; none changes its meaning or goes without a new major version."""

    name: str
    namespace: str
    routers: list[RouterOverview]
    stream_actors: list[StreamActorOverview]
    requests: list[RequestDescription] = Field(
        default_factory=list, description="With --requests only: all that the routers know, ended ones too."
    )

    @classmethod
    def of(cls, overview: Overview, listed: Iterable[RequestDescription] | None) -> dict[str, Any]:
        """Return the report as JSON data; without `requests` where they were not asked for."""
        report = cls(
            name=overview.name,
            namespace=overview.namespace,
            routers=overview.routers,
            stream_actors=overview.stream_actors,
            requests=list(listed or ()),
        )
        return report.model_dump(mode="json", exclude={"requests"} if listed is None else None)


def status_schema() -> dict[str, Any]:
    """Return the JSON schema of a report."""
    schema = StatusReport.model_json_schema(mode="serialization")
    schema["required"] = [name for name in schema["required"] if name != "requests"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}

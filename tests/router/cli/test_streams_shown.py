"""Which streams `top` shows."""

from __future__ import annotations

import pytest

from router.cli.streams_shown import LOOKED_AT_MAX, StreamsShown
from router.status.overview import Overview, StreamOverview


def stream(request_id: str, **more: object) -> StreamOverview:
    plain = {"actor_id": "s1", "epoch": 1, "provider": "gemini", "messages": 0, "lag": 0, "unread_bytes": 0}
    return StreamOverview.model_validate({**plain, "age_s": None, "agent_id": None, "request_id": request_id, **more})


OVERVIEW = Overview(
    name="agents",
    namespace="here",
    routers=[],
    stream_actors=[],
    streams=[
        stream("a", lag=9, messages=10, age_s=3.0),
        stream("b", lag=1, messages=90, age_s=30.0, agent_id="Support-7"),
        stream("c", lag=5, unread_bytes=70, provider="anthropic-messages"),
    ],
)
RATES = {"a": 2.0, "b": None, "c": 8.0}


def shown(count: int = 20, **asked: str) -> str:
    chosen = StreamsShown(count, **asked).of(OVERVIEW, lambda request_id, _messages: RATES[request_id])
    return "".join(one.request_id for one in chosen.streams)


@pytest.mark.parametrize(
    ("sort", "order"), [("lag", "acb"), ("rate", "cab"), ("messages", "bac"), ("unread", "cab"), ("age", "bac")]
)
def test_the_most_of_what_is_sorted_by_comes_first(sort: str, order: str):
    assert shown(sort=sort) == order


def test_no_more_are_shown_than_asked_for():
    assert shown(2, sort="age") == "ba"


@pytest.mark.parametrize(("only", "fitting"), [("support-", "b"), ("ANTHROPIC", "c"), ("s1", "acb"), ("nothing", "")])
def test_only_those_that_bear_the_text_somewhere_are_shown(only: str, fitting: str):
    assert shown(only=only) == fitting


def test_a_router_is_asked_for_more_only_where_some_are_chosen_among_them():
    assert StreamsShown(20).asked == 20
    assert StreamsShown(20, only="x").asked == StreamsShown(20, sort="age").asked == LOOKED_AT_MAX
    assert StreamsShown(0, only="x").asked == 0

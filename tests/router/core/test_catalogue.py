"""The catalogue finds what a walk over all requests would, in the order of creation, and looks at little for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry_driver import Router, adopt, held, restarted

from actors.errors import ProtocolViolation, Recovering
from actors.protocol.finding import NUMBER_MAX, ListCall
from actors.protocol.labels import pack_labels, tags_of
from actors.protocol.states import RequestPhase, SessionPhase
from actors.settings import StreamSettings, packed
from actors.tenants import SEPARATOR
from router.core import catalogue
from router.core.catalogue import Wanted
from router.core.doors import Doors
from router.core.request import Request
from router.core.requests import Requests

SETTINGS = StreamSettings()
SUBJECTS = (None, "team-a", "team-b")
AGENTS = (None, "ada", "bob")
TAGS = ({}, {"kind": "x"}, {"kind": "y", "hot": ""}, {"hot": "yes"})
MOVES = ("open", "end", "forget", "rename")


def a_request(number: int, subject: str | None, agent: str | None, tags: dict[str, str], created: int = 0) -> Request:
    prefix = "" if subject is None else subject + SEPARATOR
    name = None if agent is None else prefix + agent
    labels = pack_labels(tags, {})
    request_id = f"{prefix}r{number}"
    return Request(request_id, packed(SETTINGS), SETTINGS, "client", "", 0.0, name, created=created, labels=labels)


def fits(request: Request, wanted: Wanted) -> bool:
    tags = tags_of(request.labels)
    return (
        (wanted.subject is None or request.request_id.startswith(wanted.subject + SEPARATOR))
        and wanted.agent_id in (None, request.agent_id)
        and wanted.phase in (None, request.phase)
        and request.created >= wanted.since
        and (request.created < wanted.after if wanted.newest_first else request.created > wanted.after)
        and all(name in tags and value in (None, tags[name]) for name, value in wanted.tags)
    )


def all_pages(requests: Requests, wanted: Wanted) -> list[str]:
    """Ask on until nothing follows."""
    names: list[str] = []
    while True:
        found = requests.catalogue.find(wanted)
        assert len(found.requests) <= wanted.limit
        names += [request.request_id for request in found.requests]
        if found.is_all:
            return names
        assert found.through != wanted.after, "it goes on"
        wanted = wanted._replace(after=found.through)


def step(requests: Requests, request: Request, move: str) -> None:
    if move == "open" and request.phase == RequestPhase.WAITING:
        requests.place(request, "s1")
    elif move == "end" and request.is_live:
        requests.seal(request, "end_turn", 1.0)
    elif move == "rename":
        requests.describe_again(request, "", "bob", 1)
    elif move == "forget":
        requests.remove(request)


@given(
    st.lists(st.tuples(st.sampled_from(SUBJECTS), st.sampled_from(AGENTS), st.sampled_from(TAGS)), max_size=25),
    st.lists(st.tuples(st.integers(0, 24), st.sampled_from(MOVES)), max_size=25),
    st.tuples(st.sampled_from(SUBJECTS), st.sampled_from(AGENTS), st.sampled_from([None, *RequestPhase])),
    st.sampled_from([(), (("kind", None),), (("kind", "y"), ("hot", None)), (("none", None),)]),
    st.tuples(st.integers(1, 4), st.integers(0, 30), st.booleans(), st.integers(2, 40)),
)
def test_it_finds_what_a_walk_over_all_would(made, moves, scope, tags, paging):
    requests = Requests()
    for number, parts in enumerate(made):
        requests.add(a_request(number, *parts))
    for number, move in moves:
        known = [request for request in requests.values() if request.request_id.endswith(f"r{number}")]
        for request in known:
            step(requests, request, move)
    assert requests.validate() == []
    subject, agent, phase = scope
    limit, since, newest_first, looked_at_max = paging
    agent_id = None if agent is None else f"{subject}{SEPARATOR}{agent}" if subject else agent
    wanted = Wanted(subject, agent_id, tags, phase, since, NUMBER_MAX if newest_first else 0, limit, newest_first)
    right = sorted((r for r in requests.values() if fits(r, wanted)), key=lambda r: r.created, reverse=newest_first)
    before, catalogue.LOOKED_AT_MAX = catalogue.LOOKED_AT_MAX, looked_at_max
    try:
        assert all_pages(requests, wanted) == [request.request_id for request in right]
    finally:
        catalogue.LOOKED_AT_MAX = before


def test_a_page_ends_where_its_labels_become_too_many_bytes():
    requests = Requests()
    big = {"k": "x" * 10_000}
    for number in range(300):
        requests.add(a_request(number, None, None, big))
    found = requests.catalogue.find(Wanted(limit=10_000))
    assert 100 < len(found.requests) < 110
    assert not found.is_all


def test_two_requests_never_have_one_number_and_later_ones_come_later():
    requests = Requests()
    requests.catalogue.set_clock(100.0, 10.0)
    assert requests.catalogue.number(10.5) == 100_500_000
    for number in range(3):
        requests.add(a_request(number, None, None, {}, created=requests.catalogue.number(10.5)))
    assert [request.created for request in requests.values()] == [100_500_000, 100_500_001, 100_500_002]
    requests.add(a_request(3, None, None, {}, created=100_500_000))
    assert requests["r3"].created == 100_500_003


def test_labels_count_in_what_a_router_keeps_and_go_with_their_request():
    router = Router("node-a")
    labels = pack_labels({"kind": "x"}, {"who": "me"})
    router.open("req", labels=labels)
    assert router.registry.requests.kept_bytes == len(labels)
    router.seals("req")
    router.passes(10_000.0)
    assert "req" not in router.registry.requests
    assert router.registry.requests.kept_bytes == 0
    assert router.registry.find(Wanted(tags=(("kind", None),))).requests == []


def test_labels_that_no_publisher_packs_open_nothing():
    router = Router("node-a")
    assert isinstance(router.opens("req", labels=b"\xc1"), ProtocolViolation)
    assert "req" not in router.registry.requests


def test_what_a_publisher_says_of_its_number_is_believed_of_the_past_only():
    router = Router("node-a")
    router.registry.requests.catalogue.set_clock(1_000.0, 0.0)
    router.open("past", epoch=1, created=5)
    router.open("future", epoch=1, created=1 << 60)
    assert [router.request(name).created for name in ("past", "future")] == [5, 1_000_000_000]


@pytest.mark.parametrize("phase", [SessionPhase.OPEN, SessionPhase.SEALED, SessionPhase.COPY])
def test_a_router_without_memory_finds_again_what_its_actors_hold(phase):
    labels = pack_labels({"kind": "x"}, {})
    usage = {"total_tokens": 7}
    told = held("req", phase, owner=("ada", 3, 77, labels), usage=usage)
    router = restarted(s1=[told])
    wanted = Wanted(agent_id="ada", tags=(("kind", "x"),))
    found = router.registry.find(wanted)
    (request,) = found.requests
    assert (request.request_id, request.created, request.usage) == ("req", 77, usage)
    assert found.is_partial, "publishers have not been heard"
    router.passes(60.0)
    assert not router.registry.find(wanted).is_partial


def test_nothing_is_told_while_an_actor_has_not_said_what_it_holds():
    router = Router("node-a")
    router.registry.wait_for_publishers(0.0)
    router.registry.expect(["s1", "s2"])
    adopt(router, "s1", [held("req", SessionPhase.OPEN)])
    router.registry.settle(["s1"], 0.0)
    with pytest.raises(Recovering, match="s2 have not"):
        router.registry.find(Wanted())
    router.registry.settle(["s2"], 0.0)
    assert router.registry.find(Wanted()).is_partial


def test_whoever_waits_for_more_looks_again_when_all_is_known_again():
    router = restarted(s1=[])
    key = router.registry.requests.catalogue.watch(Wanted(agent_id="ada"))
    router.registry.take_effects()
    router.passes(60.0)
    assert router.registry.has_effects
    assert router.registry.take_effects().entered == [key]


@given(
    st.lists(st.tuples(st.sampled_from(SUBJECTS), st.sampled_from(AGENTS), st.sampled_from(TAGS)), max_size=8),
    st.lists(st.tuples(st.integers(0, 7), st.sampled_from(MOVES)), max_size=12),
    st.tuples(st.sampled_from(SUBJECTS), st.sampled_from(AGENTS), st.sampled_from([None, *RequestPhase])),
    st.sampled_from([(), (("kind", None),), (("kind", "y"), ("hot", None)), (("hot", None), ("kind", "x"))]),
)
def test_whoever_waits_for_more_hears_of_whatever_begins_to_fit(made, moves, scope, tags):
    requests = Requests()
    subject, agent, phase = scope
    wanted = Wanted(subject, f"{subject}{SEPARATOR}{agent}" if agent and subject else agent, tags, phase)
    key = requests.catalogue.watch(wanted)
    known: set[str] = set()

    def check() -> None:
        now = {request.request_id for request in requests.values() if fits(request, wanted)}
        news = requests.catalogue.take_news()
        assert news in ([], [key])
        assert news or not now - known
        known.clear()
        known.update(now)

    for number, parts in enumerate(made):
        requests.add(a_request(number, *parts))
        check()
    for number, move in moves:
        for request in [request for request in requests.values() if request.request_id.endswith(f"r{number}")]:
            step(requests, request, move)
            check()
    requests.catalogue.unwatch(key)
    requests.add(a_request(99, *scope[:2], {"kind": "x", "hot": ""}))
    assert not requests.catalogue.news


def test_the_log_of_an_ended_request_takes_its_labels_along():
    router = Router("node-a", "node-b")
    router.registry.requests.catalogue.set_clock(1_000.0, 0.0)
    labels = pack_labels({"kind": "x"}, {})
    where = router.open("req", agent_id="ada", labels=labels, created=9, epoch=1)
    assert where is not None
    router.seals("req")
    router.registry.take_effects()
    router.dies(where)
    sent = [envelope for _, _, envelope, _ in router.registry.take_effects().send]
    owners = [list(envelope.owner) for envelope in sent if hasattr(envelope, "owner")]
    assert owners
    assert all(owner == ["ada", 0, 9, labels] for owner in owners)


def a_list(client_id: str = "", **parts: object) -> ListCall:
    return ListCall(client_id, None, [], None, 0, 0, 100, newest_first=False)._replace(**parts)


@pytest.mark.parametrize(
    "wrong", [{"state": "gone"}, {"tags": ["a"]}, {"tags": [["a", 1]]}, {"tags": [["a", None]] * 33}]
)
def test_a_question_that_is_none_is_refused(wrong):
    doors = Doors(Router("node-a").registry)
    with pytest.raises(ProtocolViolation):
        doors.find(a_list(**wrong))

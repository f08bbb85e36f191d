"""The doors of a router: what is another tenant's is not there, at each of them, and off nothing is different."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from actors.errors import InvalidArgument, NotPermitted, UnknownRequest
from actors.protocol.calls import ClaimCall, FenceCall, LocateCall, OpenCall, Registration, ReleaseCall
from actors.protocol.finding import ListCall
from actors.protocol.frames import pack
from actors.protocol.states import Report, RequestPhase, Role, SessionPhase
from actors.settings import StreamSettings, packed
from actors.tenants import SEPARATOR, Key, Passes, Scope, identity_of
from router.config import RouterConfig
from router.core.doors import Doors
from router.core.registry import Registry
from router.on_ray.descriptions import of_router
from router.status.overview import of_shard

DATE = "2025-05-05T08:44:56+00:00"
SETTINGS = packed(StreamSettings())
ITEMS = pack([b"{}"])
KEY = Key(b"a secret of this test")
PASSES = Passes(KEY.pass_key)
EVERY_SCOPE = ("read", "publish", "cancel")
SEEN = [None, 0]


class Service:
    """One router with two stream actors, and the callers who use it."""

    def __init__(self, *, has_tenants: bool = True) -> None:
        self.has_tenants = has_tenants
        self._calls = itertools.count(1)
        config = RouterConfig.model_validate({"tenants": {"enabled": has_tenants}})
        self.registry = Registry(config, "incarnation", 0.0)
        self.doors = Doors(self.registry, KEY if has_tenants else None)
        self.config = config
        self.registry.keep_house(0.0)
        for number, actor_id in enumerate(self.registry.take_effects().start):
            self.registry.actor_started(actor_id, number, "node", 0.0)

    def caller(self, subject: str, *scopes: str, process: str = "host-1") -> str:
        if not self.has_tenants:
            return f"{process}-{subject}"
        return self.doors.enter(process, KEY.token(subject, scopes or EVERY_SCOPE), 0.0)

    def open(self, caller: str, request_id: str, *, now: float = 1.0, **parts: Any) -> tuple[str, str] | None:
        wanted = Registration(request_id, SETTINGS, DATE, None, False, 0, 0, 1, None, 0)._replace(**parts)
        (error,) = self.doors.open(OpenCall(caller, next(self._calls), SEEN, [list(wanted)]), now)
        return error

    def states(self, caller: str) -> dict[tuple[str, str], Any]:
        return {(state[0], state[1]): state for state in self.doors.news(caller, SEEN, 1.0).states}

    def located(self, caller: str, request_id: str) -> Any:
        (state,) = self.doors.locate(LocateCall(caller, 1, [request_id], []), 1.0).states
        return state

    def described(self, caller: str) -> dict[str, Any]:
        names = self.doors.look(caller)
        return of_router(self.registry, self.config, 0, {}, pid=1, node_id="node", names=names)

    def overview(self, caller: str) -> dict[str, Any]:
        looks = {
            actor_id: {
                "providers": {"openai-chat": [5, 50, 7, []]}, "sealed": 0, "credit_waits": 3, "readers": 4,
                "bytes_held": 99, "unread_bytes": 88, "lag_max": 77,
                "laggards": [
                    [held.request_id, 1, 7, 6, 44, "openai-chat"] for held in self.registry.requests.held_by(actor_id)
                ],
            }
            for actor_id in self.registry.pool.slots
        }  # fmt: skip
        return of_shard(self.registry, self.config, 0, 1.0, looks, "node", self.doors.look(caller))


@pytest.fixture
def service() -> Service:
    """`team-a` has `req-1` open."""
    made = Service()
    assert made.open(made.caller("team-a"), "req-1", agent_id="ada", agent_number=3) is None
    return made


def as_if_it_were(answer: Any, name: str) -> str:
    """Return an answer in which another name stands for the one that was asked for."""
    return repr(answer).replace("missing-request", name)


# --- each door: what is another's, and what never was, have the same answer --------------------------

DOORS: dict[str, Callable[[Service, str, str], Any]] = {
    "read": lambda service, caller, request_id: service.located(caller, request_id),
    "cancel": lambda service, caller, request_id: service.doors.cancel(caller, request_id, 1.0).error,
    "cancel after step": lambda service, caller, request_id: service.doors.cancel(
        caller, request_id, 1.0, after_step=True
    ).error,
    "forget": lambda service, caller, request_id: service.doors.forget(caller, request_id, 0, 1.0)[:2],
    "forget by number": lambda service, caller, request_id: service.doors.forget(caller, request_id, 7, 1.0)[:2],
    "take over": lambda service, caller, request_id: service.open(caller, request_id, take_over=True),
    "publish items": lambda service, caller, request_id: (
        service.doors.forward(caller, [[request_id, 1, 1, 1, ITEMS]], 1.0),
        service.states(caller),
    ),
    "disown": lambda service, caller, request_id: (
        service.doors.disown(caller, request_id, 1.0),
        service.states(caller),
    ),
    "release": lambda service, caller, request_id: (
        service.doors.release(ReleaseCall(caller, request_id, "token", has_ended=True)),
        service.states(caller),
    ),
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("was", ["open", "sealed"])
def test_the_request_of_another_tenant_looks_like_one_that_is_not_there(door: str, was: str, service: Service):
    if was == "sealed":
        assert service.doors.cancel(service.caller("team-a"), "req-1", 1.0).was_open
        report = Report(f"team-a{SEPARATOR}req-1", 1, SessionPhase.SEALED, stop_reason="cancelled", log=b"log")
        (actor_id,) = (request.actor_id for request in service.registry.requests.values())
        service.registry.reports(actor_id, [list(report)], 1.0)
        assert service.located(service.caller("team-a"), "req-1").phase == RequestPhase.SEALED
    before = service.described(service.caller("team-a"))
    theirs = DOORS[door](service, service.caller("team-b", process="host-2"), "req-1")
    nobodys = DOORS[door](service, service.caller("team-b", process="host-3"), "missing-request")
    assert repr(theirs) == as_if_it_were(nobodys, "req-1").replace("host-3", "host-2")
    assert service.described(service.caller("team-a")) == before
    service.registry.validate()


@pytest.mark.parametrize("door", DOORS)
def test_a_recovering_router_tells_them_apart_no_more(door: str, service: Service):
    service.registry.wait_for_publishers(1.0)
    theirs = DOORS[door](service, service.caller("team-b", process="host-2"), "req-1")
    nobodys = DOORS[door](service, service.caller("team-b", process="host-3"), "missing-request")
    assert repr(theirs) == as_if_it_were(nobodys, "req-1").replace("host-3", "host-2")


@pytest.mark.parametrize("door", DOORS)
def test_who_sees_all_finds_it_under_its_full_name(door: str, service: Service):
    operator = service.caller("*", process="host-2")
    found = DOORS[door](service, operator, "team-a:req-1")
    nobodys = DOORS[door](service, operator, "missing-request")
    if door in ("read", "cancel", "cancel after step", "take over", "forget"):
        assert repr(found) != as_if_it_were(nobodys, "team-a:req-1")
    assert SEPARATOR not in repr(found)
    assert repr(SEPARATOR)[1:-1] not in repr(found)


def test_two_tenants_use_one_id_and_meet_nowhere(service: Service):
    mine, theirs = service.caller("team-a"), service.caller("team-b")
    assert service.open(theirs, "req-1") is None
    assert service.doors.cancel(theirs, "req-1", 2.0).error is None
    assert service.states(theirs)[Role.PUBLISHER, "req-1"].cancel == "now"
    assert service.states(mine)[Role.PUBLISHER, "req-1"].cancel is None
    assert [request["request_id"] for request in service.described(mine)["requests"]] == ["req-1"]
    operators = service.described(service.caller("*", "read"))["requests"]
    assert {request["request_id"] for request in operators} == {"team-a:req-1", "team-b:req-1"}
    service.registry.validate()


def test_a_process_of_the_same_tenant_finds_cancels_and_takes_over(service: Service):
    other = service.caller("team-a", process="host-2")
    assert service.located(other, "req-1").phase == RequestPhase.OPEN
    code, text = service.open(other, "req-1") or ("", "")
    assert (code, "request 'req-1' is open with another publisher" in text) == ("duplicate_request", True)
    service.registry.tick(20.0)  # the first one is silent for too long
    assert service.open(other, "req-1", now=20.0, take_over=True) is None
    assert service.doors.cancel(other, "req-1", 21.0).was_open


# --- agents -------------------------------------------------------------------------------------------


def claim(service: Service, caller: str, request_id: str, when_busy: str = "reject") -> Any:
    return service.doors.claim(ClaimCall(caller, request_id, "ada", when_busy, False, "token", 0), 1.0)


def test_agents_of_one_name_are_two_where_their_tenants_are(service: Service):
    for subject in ("team-a", "team-b"):
        for request_id, expected in (("first", None), ("second", "agent_busy")):
            error, state = claim(service, service.caller(subject), request_id)
            assert (error and error[0]) == expected
            assert state[1] == request_id
            if error is not None:
                assert "request 'first' under way" in error[1]
    error, state = claim(service, service.caller("team-b"), "third", "interrupt")
    assert error is None
    assert service.states(service.caller("team-a")).get((Role.AGENT, "first"), state)[2] != "interrupted"


def test_a_fence_is_for_the_agent_of_its_tenant(service: Service):
    stranger = service.caller("team-b")
    assert service.doors.fence(stranger, FenceCall("ada", 99, "new"), 1.0) == (99, [])
    assert service.states(service.caller("team-a"))[Role.PUBLISHER, "req-1"].error is None
    highest, ending = service.doors.fence(service.caller("team-a"), FenceCall("ada", 4, "new"), 1.0)
    assert highest == 4
    assert ending == [f"team-a{SEPARATOR}req-1"]
    code, text = service.states(service.caller("team-a"))[Role.PUBLISHER, "req-1"].error
    assert (code, "agent 'ada' has gone on to request 'new'" in text) == ("agent_fenced", True)


# --- looking on ---------------------------------------------------------------------------------------


def test_a_team_sees_its_own_requests_and_no_counters_of_others(service: Service):
    stranger = service.caller("team-b")
    for shown in (service.described(stranger), service.overview(stranger)):
        text = repr(shown)
        assert "req-1" not in text
        assert "team-a" not in text
        assert not shown["stream_actors"]
        assert not any(shown["router"]["counts"].values())
    mine = service.overview(service.caller("team-a"))
    assert [(stream["request_id"], stream["agent_id"]) for stream in mine["streams"]] == [("req-1", "ada")]
    (actor,) = mine["stream_actors"]
    assert (actor["open"], actor["messages"], actor["lag_max"], actor["bytes_held"]) == (1, 7, 6, 0)
    assert (mine["router"]["open"], mine["router"]["counts"]["opened"]) == (1, 1)
    whole = service.overview(service.caller("*", "operate"))
    assert [stream["request_id"] for stream in whole["streams"]] == ["team-a:req-1"]
    assert len(whole["stream_actors"]) == 2


def test_what_a_team_sees_does_not_change_with_what_others_do(service: Service):
    before = service.described(service.caller("team-b")), service.overview(service.caller("team-b"))
    for number in range(5):
        service.open(service.caller("team-a"), f"more-{number}")
    service.doors.cancel(service.caller("team-a"), "more-1", 2.0)
    assert (service.described(service.caller("team-b")), service.overview(service.caller("team-b"))) == before


# --- scopes -------------------------------------------------------------------------------------------

NEEDS: dict[str, tuple[Callable[[Service, str], Any], set[str]]] = {
    "open": (lambda service, caller: service.open(caller, "new"), {"publish"}),
    "feed": (lambda service, caller: service.doors.forward(caller, [], 1.0), {"publish"}),
    "disown": (lambda service, caller: service.doors.disown(caller, "new", 1.0), {"publish"}),
    "claim": (lambda service, caller: claim(service, caller, "new"), {"publish"}),
    "release": (
        lambda service, caller: service.doors.release(ReleaseCall(caller, "new", "t", has_ended=True)),
        {"publish"},
    ),
    "fence": (lambda service, caller: service.doors.fence(caller, FenceCall("a", 1, "new"), 1.0), {"publish"}),
    "locate": (lambda service, caller: service.located(caller, "new"), {"read"}),
    "look": (lambda service, caller: service.doors.look(caller), {"read", "operate"}),
    "cancel": (
        lambda service, caller: raise_refusal(service.doors.cancel(caller, "new", 1.0).error),
        {"cancel", "publish"},
    ),
    "forget": (
        lambda service, caller: raise_refusal(service.doors.forget(caller, "new", 0, 1.0).error),
        {"cancel", "publish"},
    ),
    "drain": (lambda service, caller: service.doors.drain(caller), {"operate"}),
    "resume": (lambda service, caller: service.doors.resume(caller), {"operate"}),
    "stop": (lambda service, caller: service.doors.stop(caller), {"operate"}),
    "watch": (lambda service, caller: service.doors.news(caller, SEEN, 1.0), {scope.value for scope in Scope}),
}


def raise_refusal(error: tuple[str, str] | None) -> None:
    if error is not None and error[0] == NotPermitted.code:
        raise NotPermitted(error[1])


@pytest.mark.parametrize(("door", "scope"), [*itertools.product(NEEDS, [scope.value for scope in Scope])])
def test_each_door_wants_its_scope(door: str, scope: str):
    service = Service()
    ask, needed = NEEDS[door]
    caller = service.caller("*", scope)
    if scope in needed:
        ask(service, caller)
        return
    with pytest.raises(NotPermitted, match="this needs"):
        ask(service, caller)
    assert not service.registry.requests
    assert not service.registry.admission.draining


@pytest.mark.parametrize("door", NEEDS)
@pytest.mark.parametrize("who", ["", "host-1", "host-1|team-a|publish|" + 32 * "0", None])
def test_no_door_opens_to_who_shows_no_pass(door: str, who: Any):
    service = Service()
    with pytest.raises(NotPermitted, match="shows no token"):
        NEEDS[door][0](service, who)
    assert not len(service.registry.clients)


def test_a_token_that_is_none_gives_no_pass():
    with pytest.raises(NotPermitted):
        Service().doors.enter("host-1", Key(b"the secret of another").token("*", ["operate"]), 0.0)


# --- a router's restart -------------------------------------------------------------------------------


def test_a_router_that_has_lost_its_memory_knows_whose_a_request_is(service: Service):
    (request,) = service.registry.requests.values()
    again = Service()
    publisher = service.caller("team-a")  # the pass that the router before gave
    assert again.open(publisher, "req-1", epoch=1, sent_seq=0, agent_id="ada", agent_number=3) is None
    (learnt,) = again.registry.requests.values()
    assert (learnt.request_id, learnt.agent_id) == (request.request_id, request.agent_id)
    assert again.located(service.caller("team-b"), "req-1").phase == RequestPhase.UNKNOWN
    assert again.located(service.caller("team-a"), "req-1").actor_id == learnt.actor_id


# --- names on the wire --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [f"team-a{SEPARATOR}req-1", f"{SEPARATOR}req-1"])
def test_a_full_name_on_the_wire_is_no_way_round(name: str, service: Service):
    stranger = service.caller("team-b")
    service.doors.forward(stranger, [[name, 1, 1, 1, ITEMS], 7, [], [7]], 1.0)
    (request,) = service.registry.requests.values()
    assert request.sent_seq == 0
    assert service.open(stranger, name)[0] == "protocol_violation"  # type: ignore[index]
    assert service.doors.cancel(stranger, name, 1.0).error[0] == "protocol_violation"  # type: ignore[index]
    assert len(service.registry.requests) == 1


def test_a_request_id_is_as_long_and_as_printable_as_without_tenants():
    service = Service()
    assert service.open(service.caller("team-a"), "x" * 256) is None
    for name in ("x" * 257, "", "nul\0"):
        code, text = service.open(service.caller("team-a"), name) or ("", "")
        assert code == "invalid_request_id"
        assert "team-a" not in text


# --- off ----------------------------------------------------------------------------------------------


def test_without_tenants_every_caller_is_the_same_and_names_are_what_they_are():
    service = Service(has_tenants=False)
    assert service.doors.enter("host-1", "any", 0.0) == "host-1"
    assert service.open("one", "team-a:req-1", agent_id="ada") is None
    assert [request.request_id for request in service.registry.requests.values()] == ["team-a:req-1"]
    assert service.located("other", "team-a:req-1").phase == RequestPhase.OPEN
    state = service.states("one")[Role.PUBLISHER, "team-a:req-1"]
    assert service.registry.news("one", SEEN, 1.0).states == [state]
    assert service.described("")["requests"][0]["agent_id"] == "ada"
    assert service.doors.cancel("", "team-a:req-1", 1.0).was_open
    assert service.doors.cancel("", "missing", 1.0).error[0] == UnknownRequest.code  # type: ignore[index]
    assert service.open("one", f"a{SEPARATOR}b")[0] == "invalid_request_id"  # type: ignore[index]
    assert service.doors.drain("") == 1
    service.doors.resume("")
    service.doors.stop("")


def test_without_tenants_the_registry_gets_the_very_same_envelopes():
    service = Service(has_tenants=False)
    passed: list[Any] = []
    service.registry.forward = lambda *arguments: passed.append(arguments)  # type: ignore[method-assign]
    envelopes = [["req", 1, 1, 1, ITEMS]]
    service.doors.forward("one", envelopes, 1.0)
    assert passed[0][1] is envelopes


def test_an_identity_is_made_once_for_a_pass():
    client_id = PASSES.make("host-1", identity_of("team-a", ["read"]))
    assert PASSES.identity(client_id) is PASSES.identity(client_id)


def a_list(client_id: str, **parts: Any) -> ListCall:
    return ListCall(client_id, None, [], None, 0, 0, 100, newest_first=False)._replace(**parts)


def test_each_tenant_finds_its_own_requests_under_its_own_names():
    service = Service()
    team_a, team_b = service.caller("team-a"), service.caller("team-b")
    all_see = service.caller("*", "read")
    for caller in (team_a, team_b):
        assert service.open(caller, "req", agent_id="ada") is None
    for caller, seen in ((team_a, ["req"]), (team_b, ["req"]), (all_see, ["team-a:req", "team-b:req"])):
        rows = service.doors.find(a_list(caller)).rows
        assert [row.request_id for row in rows] == seen
        assert {row.owner for row in rows} == {"host-1"}, "no pass is told"
    assert [row.request_id for row in service.doors.find(a_list(team_a, agent_id="ada")).rows] == ["req"]
    assert service.doors.find(a_list(team_a, agent_id="bob")).rows == []
    assert service.doors.look_up(team_a, "req").agent_id == "ada"
    with pytest.raises(UnknownRequest) as unknown:
        service.doors.look_up(team_a, "other")
    assert "team-a" not in str(unknown.value)


def test_who_opens_hears_the_numbers_of_what_was_opened():
    service = Service()
    team_a = service.caller("team-a")
    wanted = [list(Registration(name, SETTINGS, DATE, None, False, 0, 0, 1, None, 0)) for name in ("req", "no\nline")]
    call = OpenCall(team_a, 1, SEEN, wanted)
    number, nothing = service.doors.numbers(call, service.doors.open(call, 1.0))
    assert (number, nothing) == (service.registry.requests[f"team-a{SEPARATOR}req"].created, 0)
    assert number > 0


# --- who sees all, as one tenant ----------------------------------------------------------------------


def test_who_sees_all_can_be_one_tenant_and_no_more_than_that(service: Service):
    gateway = service.caller("*", "read", "publish", process="gateway")
    mine, theirs = (service.doors.narrow(gateway, "gateway", subject) for subject in ("team-a", "team-b"))
    assert service.located(mine, "req-1").phase == RequestPhase.OPEN
    assert service.located(theirs, "req-1").phase == RequestPhase.UNKNOWN
    assert service.open(theirs, "req-1") is None
    for caller in (mine, theirs):
        assert [row[0] for row in service.doors.find(a_list(caller)).rows] == ["req-1"]
    with pytest.raises(NotPermitted, match=r"this needs operate"):
        service.doors.drain(service.doors.narrow(service.caller("*", "read", "operate"), "gateway", "team-a"))


def test_a_reader_who_sees_all_publishes_nothing_as_a_tenant(service: Service):
    reader = service.doors.narrow(service.caller("*", "read"), "gateway", "team-a")
    with pytest.raises(NotPermitted, match=r"has the scopes read; this needs publish"):
        service.open(reader, "req-2")


def test_nobody_becomes_another_tenant_who_sees_not_all(service: Service):
    narrow = service.doors.narrow
    gateway = service.caller("*")
    for caller in (service.caller("team-a"), narrow(gateway, "gateway", "team-a")):
        with pytest.raises(NotPermitted, match=r"only a token of the subject '\*'"):
            narrow(caller, "host-1", "team-b")
    with pytest.raises(NotPermitted, match="shows no token"):
        narrow("somebody", "host-1", "team-b")
    with pytest.raises(NotPermitted, match="has no tenants"):
        Service(has_tenants=False).doors.narrow("somebody", "host-1", "team-b")
    for wrong in ("", "a b", f"team{SEPARATOR}", 7):
        with pytest.raises(InvalidArgument):
            narrow(gateway, "gateway", wrong)

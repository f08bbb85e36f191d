"""Counts, holders and the order of logs follow every change; what is inconsistent is said."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from actors.protocol.states import RequestPhase
from actors.settings import StreamSettings, packed
from router.core.request import Request
from router.core.requests import Requests

SETTINGS = StreamSettings()


def a_request(request_id: str) -> Request:
    return Request(request_id, packed(SETTINGS), SETTINGS, "client", "", 0.0)


def step(requests: Requests, request: Request, move: int) -> None:
    """Make one of the moves that are allowed in the request's phase."""
    actor_id = f"s{move % 3}"
    if request.phase == RequestPhase.WAITING:
        [
            lambda: requests.reserve(request, actor_id),
            lambda: requests.place(request, actor_id),
            lambda: requests.seal(request, "cancelled", 1.0),
        ][move % 3]()
    elif request.phase == RequestPhase.OPEN:
        [lambda: requests.unplace(request, 1.0), lambda: requests.seal(request, "end_turn", 1.0)][move % 2]()
    else:
        [
            lambda: requests.hold(request, actor_id),
            lambda: requests.hold(request, None),
            lambda: requests.keep(request, b"x" * move),
            lambda: requests.drop_log(request),
            lambda: requests.remove(request),
        ][move % 5]()


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 29)), max_size=60))
def test_whatever_happens_the_counts_are_right(moves):
    requests = Requests()
    for number, move in moves:
        request_id = f"r{number}"
        request = requests.get(request_id)
        if request is None:
            requests.add(a_request(request_id))
        else:
            step(requests, request, move)
        assert requests.validate() == []


def test_a_wrong_count_and_a_wrong_holder_are_said():
    requests = Requests()
    request = a_request("r")
    requests.add(request)
    request.place("s1")
    assert len(requests.validate()) >= 2


def test_the_log_kept_longest_goes_first_and_never_the_one_just_kept():
    requests = Requests()
    for number in range(3):
        request = a_request(f"r{number}")
        requests.add(request)
        requests.seal(request, "cancelled", 1.0)
        requests.keep(request, b"log")
    assert requests.kept_bytes == 9
    oldest = requests.kept_longest(but=requests["r0"])
    assert oldest is requests["r1"]
    for request_id in ("r1", "r2"):
        requests.remove(requests[request_id])
    assert requests.kept_longest(but=requests["r0"]) is None


def test_what_ends_a_request_costs_no_more_where_many_are_kept():
    """By the processor time of this thread: nothing else tells of the bytes that a list moves."""

    def seconds(count: int) -> float:
        requests = Requests()
        for number in range(count):
            request = a_request(f"r{number}")
            requests.add(request)
            requests.seal(request, "cancelled", 1.0)
            requests.keep(request, b"log")
        last = requests[f"r{count - 1}"]
        begin = time.thread_time()
        for _ in range(400):
            oldest = requests.kept_longest(but=last)
            assert oldest is not None
            requests.remove(oldest)
        return time.thread_time() - begin

    few, many = (min(seconds(count) for _ in range(2)) for count in (2_000, 30_000))
    assert many < 8 * few + 0.005

"""States: each is told by its role, and nothing else is taken for one."""

from __future__ import annotations

import pytest

from actors.errors import ProtocolViolation
from actors.protocol.frames import pack, unpack
from actors.protocol.states import ClaimPhase, ClaimState, PublisherState, ReaderState, RequestPhase, Role, state_of

STATES = [
    PublisherState(Role.PUBLISHER, "req", 1, RequestPhase.OPEN, 1, 4096, None, None, None, 0),
    ReaderState(Role.READER, "req", RequestPhase.SEALED, "actor", 2),
    ReaderState(Role.READER, "req", RequestPhase.WAITING, None, 0),
    ClaimState(Role.AGENT, "req", ClaimPhase.QUEUED, 1),
]


@pytest.mark.parametrize("state", STATES)
def test_a_state_comes_back_as_what_it_was(state):
    found = state_of(unpack(pack(state)))
    assert found == state
    assert type(found) is type(state)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("cut", [0, 1, -1])
def test_a_state_cut_short_is_refused(state, cut):
    with pytest.raises(ProtocolViolation):
        state_of(list(state)[:cut])


@pytest.mark.parametrize("parts", [None, 3, "p", [], ["x", "req"], [["p"], "req"], [None], [{}]])
def test_what_begins_with_no_role_is_refused(parts):
    with pytest.raises(ProtocolViolation):
        state_of(parts)

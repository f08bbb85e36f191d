"""What a scenario may hold beside the plain load and its faults, by name.

Each feature is drawn from a random source of its own, so that one that is turned on or off leaves the others,
and the scenario under them, as they were. `HELD` are those whose promises the product keeps: the suite and
`make simulate` run them. A feature that is not held yet is run by name: `--features disk,closes`.
"""

from __future__ import annotations

from enum import StrEnum


class Feature(StrEnum):
    """One kind of trouble, with the promises that must hold under it."""

    AGENTS = "agents"
    """Requests of one agent, with deaths and stops beside: of two, never both have items accepted."""
    SHARDS = "shards"
    """The agent of all requests belongs to another router than they do, and their publishers give up: as above."""
    MESSAGES = "messages"
    """Whole messages, large ones too, beside chunks: they obey the same bounds."""
    QUEUES = "queues"
    """Small windows and much to replay: what waits in a router is bounded for each stream."""
    BACKLOG = "backlog"
    """Much to send and little room in a router: what waits there is bounded in all, and nobody starves."""
    STOPS = "stops"
    """Any process is stopped for up to 20 s: who was stopped does not kill those who were well."""
    DOUBLE_DEATHS = "double-deaths"
    """A router and an actor die together, or a node with both: what a publisher or another node has is not lost."""
    CONTROL = "control"
    """Ray's control store stands still while the pool wants to grow: what is under way goes on."""
    UNPLACED = "unplaced"
    """No stream actor starts for a while, or ever: opens, timers, cancels and ends hold all the same."""
    DISK = "disk"
    """What is kept for replay cannot be written, or not be read: those it concerns hear it, and only those."""
    HOSTILE = "hostile"
    """Arguments that make no sense: refused in the call, and nobody else hears of it."""
    ABANDONED = "abandoned"
    """Readers leave their loop: what they had not read holds nobody up."""
    REOPENS = "reopens"
    """Readers come back after each batch, beside a slow one: what they gave up holds nobody up."""
    CLOSES = "closes"
    """A process closes its door while others wait behind it: all of them hear so."""
    RIVALS = "rivals"
    """A second publisher of a request, in the same process or another: one of the two is refused."""
    TAKE_OVERS = "take-overs"
    """A request is taken over, or cancelled, while its router begins again."""
    SOCKETS = "sockets"
    """Calls go through sockets, within a node or also between nodes, which break."""
    CLOCKS = "clocks"
    """Clocks jump, by up to a day, forth or back, while requests of one agent wait for each other and routers restart."""
    FORGETS = "forgets"
    """Requests are forgotten as soon as they have ended, or later: none comes back, and their IDs are free again."""
    TENANTS = "tenants"
    """All is of one tenant, and another one asks for it all the time: it finds nothing, whatever restarts meanwhile."""


ALL: frozenset[Feature] = frozenset(Feature)
HELD: frozenset[Feature] = ALL

NONE: frozenset[Feature] = frozenset()


def named(text: str) -> frozenset[Feature]:
    """Return the features of a list as given on the command line: `all`, `none`, `held`, or names with commas."""
    known = {"all": ALL, "none": NONE, "held": HELD}
    return known[text] if text in known else frozenset(Feature(name) for name in text.split(","))

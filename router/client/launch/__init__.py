"""Agents that a router runs: `router.start(agent, ...)`, `router.map(agent, inputs)`.

performing.py  an agent function and the publisher that it speaks through: what it yields is sent
hosts.py       where that happens: a Ray task each, or actors that agents share
policies.py    when an agent is run again                                                   pure
agent_run.py   one agent, from its first try to its last, as its caller sees it
launches.py    all agents that one `StreamRouter` runs
calls.py       the calls of both faces
doors.py       how `StreamRouter.start` is one thing of the class and another of a router
"""

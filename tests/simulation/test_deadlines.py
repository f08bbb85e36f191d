"""How long the survivors take, to the moment: in simulated time a deadline can be held to exactly."""

import pytest

from actors.settings import StreamSettings
from actors.stream.audience import READER_TIMEOUT_S
from router.config import RouterConfig
from router.on_ray.fleet import ACTOR_DEADLINE_S

from .network import Weather
from .scenario import Incident, ReaderPlan, RequestPlan, Scenario, _chunk
from .world import World

STOPPED_AT_S = 2.0
CHUNK_EVERY_S = 0.1


def test_a_stream_actor_that_hangs_under_load_is_given_up_at_its_deadline():
    ops = [("chunk", _chunk(f"{number} ")) for number in range(60)]
    paced = [step for op in ops for step in (op, ("sleep", CHUNK_EVERY_S))]
    plan = RequestPlan(
        "request",
        StreamSettings(dialect="chat"),
        [*paced, ("chunk", _chunk("", "stop"))],
        process=0,
        starts_s=0.5,
        readers=[ReaderPlan(0, 0.5)],
    )
    config = RouterConfig.model_validate({"stream_actors": {"max_actors": 1, "warm_actors": 1}})
    incident = Incident(STOPPED_AT_S, "stop_actor", seconds=60.0)
    scenario = Scenario(config, Weather(), 1.0, 1, [plan], [incident], quiet_at_s=STOPPED_AT_S)
    world = World(1, scenario, tells=True)
    try:
        world.run()
    finally:
        world.close()
    assert not world.failures
    given_up_at_s = next(float(line.split()[0]) for line in world.lines if "ray.kill(" in line)
    assert ACTOR_DEADLINE_S <= given_up_at_s - STOPPED_AT_S < ACTOR_DEADLINE_S + 2 * CHUNK_EVERY_S


@pytest.mark.parametrize("seed", range(5))
def test_a_reading_process_that_was_stopped_for_longer_than_it_is_waited_for_reads_on(seed):
    """Its subscriptions had been dropped; it must hear of that, or it would wait for ever."""
    ops = [step for number in range(100) for step in (("chunk", _chunk(f"{number} ")), ("sleep", 1.0))]
    plan = RequestPlan(
        "request",
        StreamSettings(dialect="chat"),
        [*ops, ("chunk", _chunk("", "stop"))],
        process=0,
        starts_s=0.5,
        readers=[ReaderPlan(1, 0.5)],
    )
    config = RouterConfig.model_validate({"stream_actors": {"max_actors": 1, "warm_actors": 1}})
    incident = Incident(STOPPED_AT_S, "stop_process", what=1, seconds=2 * READER_TIMEOUT_S)
    scenario = Scenario(config, Weather(), 1.0, 2, [plan], [incident], quiet_at_s=STOPPED_AT_S)
    world = World(seed, scenario, tells=True)
    try:
        world.run()
    finally:
        world.close()
    assert not world.failures
    assert any("reader 0 ended at 102 (end_turn" in line for line in world.lines)

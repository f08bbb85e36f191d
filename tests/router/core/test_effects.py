"""Effects: each is given to the shell once, and none is overlooked."""

from __future__ import annotations

from dataclasses import fields

import pytest

from actors.protocol.envelopes import ForgetEnvelope, Order
from router.core.effects import PLACED, Effects, Note

EXAMPLES = {
    "start": ["s1"],
    "stop": ["s1"],
    "send": [("s1", "req", ForgetEnvelope(Order.FORGET, "req", 1), 64)],
    "wake": {"client": True},
    "notes": [Note(PLACED, "req", 1, "s1")],
    "kept": ["req"],
    "entered": [("all", None)],
}


def test_each_kind_of_effect_has_an_example_here():
    assert EXAMPLES.keys() == {field.name for field in fields(Effects)}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_an_effect_of_any_kind_is_something_to_do_and_is_taken_once(kind):
    effects = Effects(**{kind: EXAMPLES[kind]})
    assert effects
    taken = effects.take()
    assert getattr(taken, kind) == EXAMPLES[kind]
    assert not effects
    assert not effects.take()


def test_what_is_added_while_the_taken_is_performed_is_not_performed_twice():
    effects = Effects()
    effects.start.append("s1")
    taken = effects.take()
    effects.start.append("s2")
    assert (taken.start, effects.start) == (["s1"], ["s2"])


def test_no_two_hold_their_effects_in_common():
    first, second = Effects(), Effects()
    for kind, example in EXAMPLES.items():
        held = getattr(first, kind)
        held.update(example) if isinstance(held, dict) else held.extend(example)
    assert first
    assert not second


@pytest.mark.parametrize("kind", EXAMPLES)
def test_items_are_taken_by_themselves_only_where_nothing_else_is_to_be_done(kind):
    effects = Effects(**({"send": EXAMPLES["send"]} | {kind: EXAMPLES[kind]}))
    if kind == "send":
        assert effects.take_sends() == EXAMPLES["send"]
        assert not effects
    else:
        assert effects.take_sends() == []
        taken = effects.take()
        assert (taken.send, getattr(taken, kind)) == (EXAMPLES["send"], EXAMPLES[kind])

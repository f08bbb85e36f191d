"""Deadlines count the time in which this process has run."""

from __future__ import annotations

from router.client.links.patience import PAUSE_S, Patience, was_stopped


def test_a_deadline_passes_by_waiting():
    patience = Patience(10.0)
    for _ in range(3):
        patience.spend(4.0, 4.0)
    assert patience.is_over


def test_a_process_that_was_stopped_for_an_hour_has_its_deadline_still_before_it():
    patience = Patience(60.0)
    patience.spend(3600.0, 4.0)
    assert not patience.is_over
    assert patience.left_s >= 60.0 - 4.0 - PAUSE_S


def test_a_timer_that_fires_much_too_late_tells_of_a_stop():
    assert was_stopped(30.0, 5.0)
    assert not was_stopped(5.2, 5.0)

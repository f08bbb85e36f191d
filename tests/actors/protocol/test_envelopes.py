"""Envelopes: every kind has one shape, which begins with its kind, the request and the epoch."""

from __future__ import annotations

from actors.protocol.envelopes import ENVELOPES, Order


def test_every_order_has_a_shape_and_every_shape_an_order():
    assert ENVELOPES.keys() == set(Order)
    assert len(set(ENVELOPES.values())) == len(Order)


def test_all_begin_alike_so_that_an_epoch_that_is_over_can_be_told_before_the_rest_is_read():
    for shape in ENVELOPES.values():
        assert shape._fields[:3] == ("kind", "request_id", "epoch")


def test_the_numbers_that_cross_are_fixed():
    """Old and new processes of one service meet: a number is never given to another kind."""
    assert {order.name: int(order) for order in Order} == {
        "DATA": 0, "OPEN": 1, "END": 2, "CANCEL_AFTER_STEP": 3, "STORED": 4, "RESTORE": 5, "FORGET": 6, "COPY": 7,
        "ADOPT": 8,
    }  # fmt: skip

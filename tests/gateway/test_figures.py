"""What a gateway counts."""

from __future__ import annotations

import pickle

from gateway.figures import Figures


def test_what_is_added_to_a_count_is_in_its_figures():
    figures = Figures()
    count = figures.count("bytes", "native")
    count.amount += 7
    figures.add("bytes", "native", 3)
    figures.add("bytes", "chat")
    assert figures.count("bytes", "native") is count
    assert figures.of("bytes") == 11
    assert 'stream_router_gateway_bytes_total{format="native"} 10' in figures.text().splitlines()


def test_a_sum_takes_what_workers_have_sent_and_changes_none_of_them():
    ours, theirs = Figures(), Figures()
    ours.add("opened", "native", 2)
    theirs.add("opened", "native")
    theirs.add("refused", "404")
    together = ours.plus([pickle.loads(pickle.dumps(theirs))])  # noqa: S301  # our own, as Ray carries them
    assert (together.of("opened"), together.of("refused")) == (3, 1)
    assert (ours.of("opened"), theirs.of("opened")) == (2, 1)

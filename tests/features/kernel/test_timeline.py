from __future__ import annotations

import numpy as np
import pytest

from tidemill.features.kernel.timeline import BEFORE_ALL, Timeline, searched


@pytest.mark.parametrize("different", [1, 3, 10**6])
def test_rows_are_in_the_order_of_key_event_known_and_sequence_and_else_as_they_came(different: int) -> None:
    draw = np.random.default_rng(different)
    event, known, seq = draw.integers(-different, different, (3, 500))
    known[::3] = BEFORE_ALL
    key = draw.integers(-1, 3, 500)
    order = np.lexsort((np.arange(500), seq, known, event, key))
    expected = order[key[order] >= 0]
    timeline = Timeline.build(key, event, known, seq)
    assert timeline.order.tolist() == expected.tolist()
    assert timeline.known.tolist() == known[expected].tolist()


def test_a_moment_falls_after_the_rows_before_it() -> None:
    draw = np.random.default_rng(0)
    among, values = np.sort(draw.integers(0, 50, 100)), draw.integers(-5, 55, 300)
    assert searched(among, values).tolist() == np.searchsorted(among, values).tolist()
    assert searched(among, values[:0]).tolist() == []
    assert searched(among[:0], values).tolist() == [0] * 300

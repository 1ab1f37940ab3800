from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidemill.alerting.grouping import Inhibition, Sent, Silence, Timing, notifications, suppressed

TIMING = Timing(wait=30, interval=300, repeat=3600)


def sent(*changes, until=2000, timing=TIMING):
    return notifications(changes, timing, until)


def test_a_group_from_its_first_alert_to_its_end():
    changes = [
        (0, "a", True),
        (10, "b", True),
        (40, "a", True),
        (100, "c", True),
        (400, "a", False),
        (700, "b", False),
        (710, "c", False),
    ]
    assert sent(*changes) == [
        Sent(30, "first", ("a", "b"), ()),
        Sent(330, "new_alerts", ("a", "b", "c"), ()),
        Sent(630, "new_resolved", ("b", "c"), ("a",)),
        Sent(930, "all_resolved", (), ("b", "c")),
    ]  # fmt: skip


def test_a_flap_within_the_wait_is_silent():
    assert sent((0, "a", True), (20, "a", False)) == []


def test_what_fires_on_is_repeated():
    found = sent((0, "a", True), until=9000, timing=Timing(30, 300, 3600))
    assert [(one.at, one.reason) for one in found] == [(30, "first"), (3930, "repeat"), (7830, "repeat")]


def test_a_group_that_ended_begins_anew():
    found = sent((0, "a", True), (100, "a", False), (1000, "a", True))
    assert [(one.at, one.reason) for one in found] == [(30, "first"), (330, "all_resolved"), (1030, "first")]


@given(st.lists(st.tuples(st.integers(0, 3000), st.sampled_from("abc"), st.booleans()), max_size=20))
def test_every_alert_that_lasts_is_told_once_and_its_end_too(changes):
    found = notifications(changes, TIMING, until=5000)
    last = {}
    for _, name, fires in sorted(changes, key=lambda change: change[0]):
        last[name] = fires
    firing = {name for name, fires in last.items() if fires}
    assert set(found[-1].firing if found else ()) == firing
    told = set()
    for one in found:
        assert set(one.resolved) == told - set(one.firing)
        told = set(one.firing)
    assert [one.at for one in found] == sorted({one.at for one in found})


def test_silence_and_inhibition():
    alerts = [
        {"model": "m1", "severity": "warning"},
        {"model": "m2", "severity": "warning"},
        {"model": "m1", "severity": "critical"},
    ]
    rule = Inhibition({"severity": "critical"}, {"severity": "warning"}, ("model",))
    silence = Silence({"model": "m2"}, 0, 600)
    assert suppressed(alerts, [silence], [rule], at=0) == [True, True, False]
    assert suppressed(alerts, [silence], [rule], at=600) == [True, False, False]
    assert suppressed(alerts[:2], [], [rule], at=0) == [False, False]

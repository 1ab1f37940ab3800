from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidemill.alerting.lifecycle import Rule, RuleState, counted, states, step


def test_the_life_of_a_rule():
    conditions = [0, 1, 1, 0, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0]
    assert states(Rule(hold=120, keep=120), map(bool, conditions), every=60) == [
        "inactive", "pending", "pending", "inactive", "pending", "pending", "firing", "firing", "firing", "firing",
        "firing", "firing", "inactive", "inactive",
    ]  # fmt: skip


def test_without_times_a_rule_follows_its_condition():
    assert states(Rule(), [True, False, True], every=60) == ["firing", "inactive", "firing"]


def slow(conditions, hold, keep, every):
    """A rule told by its words: looking back over all evaluations each time."""
    found = []
    firing = False
    for now in range(len(conditions)):
        back = 0
        while back < now and conditions[now - back - 1] == conditions[now]:
            back += 1
        lasted = back * every
        if conditions[now]:
            firing = firing or lasted >= hold
            found.append("firing" if firing else "pending")
        else:
            firing = firing and lasted < keep
            found.append("firing" if firing else "inactive")
    return found


@given(st.lists(st.booleans(), max_size=30), st.integers(0, 4), st.integers(0, 4))
def test_the_states_are_those_of_the_words(conditions, hold, keep):
    assert states(Rule(hold * 60, keep * 60), conditions, every=60) == slow(conditions, hold * 60, keep * 60, 60)


def test_a_state_survives_being_stored():
    import msgspec

    state = step(Rule(keep=100), RuleState("firing"), at=5, condition=False)
    assert msgspec.convert(msgspec.to_builtins(state), RuleState) == RuleState("firing", 5)


def test_counting_events():
    assert counted([0, 100, 700, 750, 800, 810, 820], count=3, period=600) == [750 + 50]
    assert counted([0, 300, 600], count=3, period=600) == []
    assert counted([0, 1, 2, 3, 4, 5], count=3, period=600) == [2, 5]
    assert counted([], count=1, period=1) == []

"""Answers of families I and J: the life of alerts, and decisions to retrain."""

from __future__ import annotations

import re
from typing import Any

from tidemill.alerting.grouping import Change, Inhibition, Silence, Timing, notifications, suppressed
from tidemill.alerting.lifecycle import Rule, counted, states
from tidemill.alerting.policy import Policy, decide, rollback
from tidemill.measures.gains import fold_gain, holds
from tidemill.testing.drift_cases.situation import Answer, Case, Situation, constants

MINIMUM_GAIN = 0.005
HOUR = 3_600_000_000
FOREVER = 2**62


def rule(case: Case) -> dict[str, Answer]:
    """The state of a rule at each evaluation."""
    hold, keep = _setting(case, "for", 120), _setting(case, "keep_firing_for", 120)
    step = _setting(case, "step", _setting(case, "every", 60))
    conditions = [bool(value) for value in case.input["condition"]]
    return {"state": lambda: states(Rule(hold, keep), conditions, step)}


def group(case: Case) -> dict[str, Answer]:
    """What a group of alerts sends, until nothing new is left to say, or for as long as is expected."""
    given = case.input
    timing = Timing(
        given.get("group_wait", 30), given.get("group_interval", 300), given.get("repeat_interval", 4 * 3600)
    )
    changes: list[Change] = [(at, name, str(what).startswith("fire")) for at, name, what, *_ in given["events"]]
    expected = case.expected.get("notifications") or []
    last = max([at for at, _, _ in changes], default=0) + timing.wait + timing.interval
    until = given.get("until", max([last, *(entry[0] for entry in expected)]))

    def sent() -> list[list[Any]]:
        found = notifications(changes, timing, until)
        return [[one.at, one.reason, list(one.firing), list(one.resolved)] for one in found]

    return {"notifications": sent}


def held_back(case: Case) -> dict[str, Answer]:
    """Silences and inhibitions."""
    names = [name for _, name, what in case.input["events"] if what == "fire"]
    alerts = [_labels(name) for name in names]
    silences, inhibitions = _silences(case.input.get("silence")), _inhibitions(case.input.get("inhibit"))
    first = suppressed(alerts, silences, inhibitions, at=0)
    after = suppressed(alerts, silences, inhibitions, at=FOREVER)
    return constants(
        {
            "notified_at_first_flush": [_shown(one) for one, held in zip(alerts, first, strict=True) if not held],
            "notified_after_silence_expiry_if_still_firing": [
                _shown(one) for one, held, still in zip(alerts, first, after, strict=True) if held and not still
            ],
            "suppressed_but_recorded": sum(first),
        }
    )


def count_criteria(case: Case) -> dict[str, Answer]:
    """Notifications after so many events within a period."""
    stated = re.search(r"(\d+)\D+(?:within|in)\D+(\d+)", case.what)
    count = case.input.get("count", int(stated[1]) if stated else 3)
    period = case.input.get("period", int(stated[2]) if stated else 600)
    return {"notify_at": lambda: counted(case.input["event_times"], count, period)}


def triggers(case: Case) -> dict[str, Answer]:
    """Decisions on alarms in order."""
    given = case.input["policy"]
    policy = Policy(
        cooldown=round(given.get("cooldown_h", 0) * HOUR),
        min_new_labels=given.get("min_new_labels", 0),
        max_per_7d=given.get("max_per_7d", 10**9),
    )

    def decisions() -> list[list[Any]]:
        started: list[int] = []
        found = []
        for hour, rows in case.input["alerts"]:
            code = decide(policy, round(hour * HOUR), rows, started)
            if code == "retrain":
                started.append(round(hour * HOUR))
            found.append([hour, code])
        return found

    return {"decisions": decisions}


def rollbacks(case: Case) -> dict[str, Answer]:
    """What live metrics of a promoted model lead to."""
    champion = case.input["champion_metric"]
    live = next(value for key, value in case.input.items() if key.startswith("live_"))
    return {"actions": lambda: [rollback(metric, champion, labels) for labels, metric in live]}


def gates(case: Case) -> dict[str, Answer]:
    """Champion against challenger on paired gains."""

    def one(gains: list[float]) -> dict[str, Any]:
        gain = fold_gain(gains)
        return {"mean_gain": gain.mean, "lower95": gain.lower95, "promote": holds(gain, MINIMUM_GAIN, confident=True)}

    return {name: lambda gains=gains: one(gains) for name, gains in case.input.items()}  # type: ignore[misc]


def _setting(case: Case, name: str, default: int) -> int:
    """A number of seconds from the input, else from the words: `name=120 s` or `name 120 s`."""
    if name in case.input:
        return int(case.input[name])
    stated = re.search(rf"(?<!\w){name}\s*=?\s*(\d+)", case.what)
    return int(stated[1]) if stated else default


def _labels(name: str) -> dict[str, str]:
    """`Name{label=value,...}` as labels."""
    head, _, rest = name.partition("{")
    pairs = (pair.split("=", 1) for pair in rest.rstrip("}").split(",") if pair)
    labels = {key.strip(): value.strip() for key, value in pairs}
    return {"alertname": head, **labels}


def _shown(labels: dict[str, str]) -> str:
    return f"{labels['alertname']}{{model={labels['model']}}}" if "model" in labels else labels["alertname"]


def _silences(text: str | None) -> list[Silence]:
    found = re.fullmatch(r"(\w+)=(\w+) until t=(\d+)", text or "")
    return [Silence({found[1]: found[2]}, 0, int(found[3]))] if found else []


def _inhibitions(text: str | None) -> list[Inhibition]:
    found = re.fullmatch(r"(\w+) inhibits (\w+), equal=\[([\w, ]*)\]", text or "")
    if not found:
        return []
    equal = tuple(part.strip() for part in found[3].split(",") if part.strip())
    return [Inhibition({"sev": found[1]}, {"sev": found[2]}, equal)]


SITUATIONS = (
    Situation(("condition",), rule),
    Situation(("event_times",), count_criteria),
    Situation(("events", "group_wait"), group),
    Situation(("events",), held_back),
    Situation(("policy", "alerts"), triggers),
    Situation(("champion_metric", "live_*"), rollbacks),
    Situation((), gates),
)

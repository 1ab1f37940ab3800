"""Answers of family E: performance, labels, fairness, attribution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tidemill.measures.attribution import attribution_ndcg, attribution_violated
from tidemill.measures.estimate import estimate
from tidemill.measures.fairness import fairness
from tidemill.measures.labels import LabelEvent, LabelJoin, Prediction, join_labels
from tidemill.testing.drift_cases.situation import Answer, Case, Situation, constants


def cbpe(case: Case) -> dict[str, Answer]:
    """Performance expected from calibrated probabilities."""
    found = estimate(case.input["calibrated_p"], case.input["y_pred"])
    matrix = {"TP": found.tp, "FP": found.fp, "FN": found.fn, "TN": found.tn}
    return constants({**msgspec.structs.asdict(found), **matrix})


def label_join(case: Case) -> dict[str, Callable[..., Any]]:
    """Coverage and accuracy as labels arrive."""
    predictions = [Prediction(*row) for row in case.input["predictions"]]
    key = next(name for name in case.input if name.startswith("labels"))
    events = [LabelEvent(*row) for row in case.input[key]]

    def at(time: str | None) -> LabelJoin:
        return join_labels(predictions, events, case.input["max_delay"], None if time is None else float(time))

    final = at(None)
    return {
        "coverage_at_*": lambda time: [at(time).labelled, at(time).predicted],
        "accuracy_at_*": lambda time: at(time).accuracy,
        "expired_unlabelled_at_*": lambda time: list(at(time).expired_unlabelled),
        **constants(
            {
                "orphans": list(final.orphans),
                "duplicates_ignored": final.duplicates_ignored,
                "corrections_applied": final.corrections_applied,
                "late_labels_after_expiry": list(final.late),
                "final_coverage": [final.labelled, final.predicted],
                "final_accuracy": final.accuracy,
            }
        ),
    }


def groups(case: Case) -> dict[str, Answer]:
    """Rates per group and their differences."""
    found = fairness(case.input["y_true"], case.input["y_pred"], case.input["group"])
    rates = {name: msgspec.structs.asdict(one) for name, one in found.groups.items()}
    differences = {key: value for key, value in msgspec.structs.asdict(found).items() if key != "groups"}
    return constants({**rates, **differences})


def attribution(case: Case) -> dict[str, Answer]:
    """Order of attributions."""
    ndcg = attribution_ndcg(case.input["baseline_attribution"], case.input["live_rank_order"])
    return constants({"ndcg": ndcg, "violation": attribution_violated(ndcg)})


SITUATIONS = (
    Situation(("calibrated_p", "y_pred"), cbpe),
    Situation(("predictions", "labels*", "max_delay"), label_join),
    Situation(("y_true", "y_pred", "group"), groups),
    Situation(("baseline_attribution", "live_rank_order"), attribution),
)

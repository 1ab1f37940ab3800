"""Answers of families F, G and H: multiplicity, detectors, merging."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from tidemill.measures import distances, multiplicity
from tidemill.measures.detectors import PageHinkley, adwin_cut, ddm, kswin
from tidemill.measures.moments import Moments, merge, moments
from tidemill.measures.multiplicity import Budget
from tidemill.measures.scoring import score_alarms
from tidemill.measures.sequential import cusum_path, first_alarm, sr_path
from tidemill.measures.sketch import kll_rank_error, ks_slack
from tidemill.testing.drift_cases.situation import Answer, Case, Situation, constants
from tidemill.testing.drift_cases.streams import expand

Answers = dict[str, Callable[..., Any]]


def p_values(case: Case) -> dict[str, Answer]:
    """Rejections at 0.05."""
    q = case.input.get("q", 0.05)
    return constants({name: reject(case.input["p"], q) for name, reject in multiplicity.PROCEDURES.items()})


def e_values(case: Case) -> Answers:
    """Rejections and the global null from e-values."""
    e = case.input["e"]
    return {
        "e_bh_*": lambda q: multiplicity.e_bh(e, float(q)),
        "average_e_value": lambda: multiplicity.average_e(e),
        "global_null_rejected_at_*": lambda q: multiplicity.global_null_rejected(e, float(q)),
    }


def e_detectors(case: Case) -> dict[str, Answer]:
    """Paths and alarms of Shiryaev-Roberts and CUSUM."""
    steps, threshold = case.input["e_steps"], case.input.get("threshold", float("inf"))
    sr, cusum = sr_path(steps), cusum_path(steps)
    return constants(
        {
            "sr": sr,
            "cusum": cusum,
            "sr_alarm_step_0based": first_alarm(sr, threshold),
            "cusum_alarm_step_0based": first_alarm(cusum, threshold),
        }
    )


def budget(case: Case) -> Answers:
    """What a month without change costs."""
    one = Budget(case.input["features"], case.input["windows"])
    return {
        "tests": lambda: one.tests,
        "expected_false_feature_alerts_alpha_*": lambda alpha: one.false_feature_alerts(float(alpha)),
        "expected_false_windows_alpha_*": lambda rest: one.false_windows(_first_number(rest)),
        "expected_false_windows_bonferroni_or_bh_*": lambda rest: one.false_windows_corrected(_first_number(rest)),
        "bh_upper_bound_false_windows": lambda: one.windows * 0.05,
        "alpha_per_test_for_*": lambda rest: one.alpha_for(_first_number(rest)),
        "arl_windows_for_*": lambda rest: one.run_length_for(_first_number(rest)),
        "e_detector_threshold_for_ARL_*": lambda arl: float(arl),
    }


def page_hinkley_or_ddm(case: Case) -> Answers:
    """Alarms on a stream."""
    stream = expand(case.input["stream"])
    usual = PageHinkley()
    return {
        "alarms_up_recursion*": lambda rest: usual.alarms_up(stream),
        "alarms_both_minmax*": lambda rest: usual.alarms_both(stream),
        "up_threshold_*": lambda threshold: PageHinkley(threshold=float(threshold)).alarms_up(stream),
        "both_threshold_*": lambda threshold: PageHinkley(threshold=float(threshold)).alarms_both(stream),
        "first_warning": lambda: next(iter(ddm(stream).warnings), None),
        "first_drift": lambda: next(iter(ddm(stream).drifts), None),
        "drifts": lambda: list(ddm(stream).drifts),
    }


def adwin(case: Case) -> Answers:
    """ADWIN's cut threshold."""
    given = case.input
    cut = {"variance": given["window_variance"], "width": given["width"], "delta": given["delta"]}
    return {
        "epsilon_cut": lambda: adwin_cut(given["n0"], given["n1"], **cut),
        "textbook_epsilon*": lambda rest: adwin_cut(given["n0"], given["n1"], **cut, min_length=0),
    }


def kswin_decision(case: Case) -> Answers:
    """KSWIN's decision."""
    found = kswin(case.input["D"], case.input["n"], case.input.get("alpha", 0.005))
    return {
        "paper_threshold*": lambda rest: found.paper_threshold,
        "p_exact": lambda: found.p,
        "fires": lambda: found.fires,
    }


def scoring(case: Case) -> dict[str, Answer]:
    """A detector's score."""
    given = case.input
    found = score_alarms(given["alarms"], given["drifts"], given["delta_max"], given["n_samples"])
    names = ("precision", "episode_recall", "missed_rate", "detection_delay", "false_alarms_per_1000", "f1")
    return constants({**{name: getattr(found, name) for name in names}, "false_alarms": list(found.false_alarms)})


def moment_merge(case: Case) -> dict[str, Answer]:
    """Moments of two parts and of the whole."""
    a, b = expand(case.input["a"]), expand(case.input["b"])
    merged = merge(moments(a), moments(b))
    return constants({"merged": _triple(merged), "direct": _triple(moments([*a, *b])), "std_ddof1": merged.std(ddof=1)})


def count_merge(case: Case) -> Answers:
    """Counts of hours added up to a day, compared with a reference written into the key."""
    day = np.sum(case.input["hour_counts"], axis=0).tolist()
    return {
        "day_counts": lambda: day,
        "psi_day_vs_ref_*": lambda ref: distances.psi([int(number) for number in re.findall(r"\d+", ref)], day),
    }


def sketch_errors(case: Case) -> dict[str, Answer]:
    """Rank errors of a KLL sketch."""
    k = case.input["k"]
    return constants(
        {
            "rank_error_single": kll_rank_error(k),
            "rank_error_pmf": kll_rank_error(k, pmf=True),
            "ks_slack_two_sketches": ks_slack(k, k),
        }
    )


def _triple(part: Moments) -> list[float]:
    return [part.n, part.mean, part.m2]


def _first_number(text: str) -> float:
    found = re.search(r"\d+(?:\.\d+)?", text)
    if found is None:
        raise ValueError(f"no number in {text!r}")
    return float(found.group())


SITUATIONS = (
    Situation(("e_steps",), e_detectors),
    Situation(("p",), p_values),
    Situation(("e",), e_values),
    Situation(("features", "windows"), budget),
    Situation(("stream",), page_hinkley_or_ddm),
    Situation(("n0", "n1"), adwin),
    Situation(("D", "n"), kswin_decision),
    Situation(("alarms", "drifts"), scoring),
    Situation(("a", "b"), moment_merge),
    Situation(("hour_counts",), count_merge),
    Situation(("k",), sketch_errors),
)

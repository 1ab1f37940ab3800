"""Answers of families C and D: distances between a reference and a window."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tidemill.measures import bins, compat, contingency, distances, samples
from tidemill.measures.multivariate import centroid_shift, domain_auc, mmd, pca_errors
from tidemill.measures.quality import CellType, ColumnRule, judge
from tidemill.measures.thresholds import chunk_threshold
from tidemill.testing.drift_cases.situation import Answer, Case, Input, Situation, constants
from tidemill.testing.drift_cases.streams import expand

Two = Callable[[Any, Any], Any]


def _bound(functions: Mapping[str, Two], ref: Any, cur: Any) -> dict[str, Answer]:
    return {key: lambda f=function: f(ref, cur) for key, function in functions.items()}  # type: ignore[misc]


COUNTS: dict[str, Two] = {
    "tvd": distances.tvd,
    "l_infinity": distances.l_infinity,
    "hellinger": distances.hellinger,
    "js_div_nats": distances.js_div,
    "js_dist_base_e": lambda p, q: distances.js_dist(p, q, base=np.e),
    "js_dist_base_2": distances.js_dist,
    "psi": distances.psi_exact,
    "kl_ref_cur": distances.kl,
    "kl_cur_ref": lambda p, q: distances.kl(q, p),
    "psi_evidently_floor": compat.psi_evidently,
    "psi_eps1e-4_renorm": distances.psi,
    "mlrun_kld_sym": compat.mlrun_kld,
    "mlrun_drift": compat.mlrun_drift,
    "chi2_gof_stat": lambda p, q: contingency.goodness_of_fit(p, q).stat,
    "chi2_gof_p": lambda p, q: contingency.goodness_of_fit(p, q).p,
    "chi2_contingency_stat": lambda p, q: contingency.two_sample(p, q).stat,
    "chi2_contingency_p": lambda p, q: contingency.two_sample(p, q).p,
    "stat": lambda p, q: contingency.two_sample(p, q).stat,
    "p": lambda p, q: contingency.two_sample(p, q).p,
    "stat_yates": lambda p, q: contingency.two_sample(p, q, yates=True).stat,
    "p_yates": lambda p, q: contingency.two_sample(p, q, yates=True).p,
}


def _n(values: Any) -> int:
    return len(samples.finite(values))


def _missing(values: list[Any]) -> float:
    return 1 - _n(values) / len(values)


def _fraction(ref: Any, cur: Any) -> str:
    gap = samples.ks_fraction(ref, cur)
    return f"{gap.numerator}/{gap.denominator}" if gap is not None else "0/1"


def _deciles(ref: Any, cur: Any) -> tuple[list[int], list[int]]:
    edges = bins.decile_edges(ref)
    return bins.count_cells(ref, edges).tolist(), bins.count_cells(cur, edges).tolist()


def _sturges(ref: Any, cur: Any) -> Any:
    return bins.equal_width_edges([*ref, *cur], "sturges")


def _distinct(ref: Any, cur: Any) -> Any:
    return bins.equal_width_edges(np.unique([*samples.finite(ref), *samples.finite(cur)]), "sturges")


def _doane(ref: Any) -> Any:
    return bins.equal_width_edges(ref, "doane")


VALUES: dict[str, Two] = {
    "ks_D": samples.ks_d,
    "ks_D_nonnull": samples.ks_d,
    "ks_D_fraction": _fraction,
    "ks_p_exact_two_sided": lambda a, b: samples.ks_p(samples.ks_fraction(a, b) or 0, _n(a), _n(b)),
    "wasserstein": samples.wasserstein,
    "wasserstein_norm_evidently": compat.wasserstein_evidently,
    "std_ref_ddof0": lambda a, b: float(samples.finite(a).std()),
    "decile_inner_edges": lambda a, b: bins.decile_edges(a).tolist(),
    "decile_ref_counts": lambda a, b: _deciles(a, b)[0],
    "decile_cur_counts": lambda a, b: _deciles(a, b)[1],
    "psi_deciles_eps1e-4_renorm": lambda a, b: distances.psi(*_deciles(a, b)),
    "sturges_nbins_on_combined": lambda a, b: len(_sturges(a, b)) - 1,
    "sturges_ref_counts": lambda a, b: bins.count_between(a, _sturges(a, b)).tolist(),
    "sturges_cur_counts": lambda a, b: bins.count_between(b, _sturges(a, b)).tolist(),
    "psi_evidently": lambda a, b: compat.psi_evidently(*compat.evidently_counts(a, b)),
    "js_evidently_base_e": lambda a, b: distances.js_dist(*compat.evidently_counts(a, b), base=np.e),
    "kl_evidently": lambda a, b: compat.kl_evidently(*compat.evidently_counts(a, b)),
    "hellinger_evidently_nbins_on_distinct": lambda a, b: len(_distinct(a, b)) - 1,
    "hellinger_evidently": compat.hellinger_evidently,
    "doane_nbins_on_ref": lambda a, b: len(_doane(a)) - 1,
    "doane_ref_counts": lambda a, b: bins.count_between(a, _doane(a)).tolist(),
    "doane_cur_counts_in_range": lambda a, b: bins.count_between(b, _doane(a)).tolist(),
    "leftover_out_of_range": lambda a, b: float(distances.shares(compat.nannyml_counts(a, b)[1])[-1]),  # type: ignore[index]
    "js_nannyml_base_2": compat.js_nannyml,
    "hellinger_nannyml": compat.hellinger_nannyml,
    "missing_ref": lambda a, b: _missing(a),
    "missing_cur": lambda a, b: _missing(b),
    "n_ref_nonnull": lambda a, b: _n(a),
    "n_cur_nonnull": lambda a, b: _n(b),
    "missing_rate_change": lambda a, b: _missing(b) - _missing(a),
}


def counts(case: Case) -> dict[str, Answer]:
    """Distances of two histograms."""
    return _bound(COUNTS, case.input["ref_counts"], case.input["cur_counts"])


def values(case: Case) -> dict[str, Answer]:
    """Distances of two samples."""
    ref, cur = expand(case.input["ref"]), expand(case.input["cur"])
    if ref and isinstance(ref[0], list):
        return embeddings(ref, cur)
    return _bound(VALUES, ref, cur)


def embeddings(ref: list[Any], cur: list[Any]) -> dict[str, Answer]:
    """Distances of two sets of vectors."""
    shift = centroid_shift(ref, cur)
    return constants(
        {
            "ref_centroid": list(shift.ref_centroid),
            "cur_centroid": list(shift.cur_centroid),
            "euclidean": shift.euclidean,
            "cosine_distance": shift.cosine_distance,
        }
    )


def mlrun_features(case: Case) -> dict[str, Answer]:
    """MLRun's drift per feature and in general."""
    answers: dict[str, Any] = {}
    for name, pair in case.input["features"].items():
        answers[f"{name}_tvd"] = distances.tvd(pair["ref"], pair["cur"])
        answers[f"{name}_hellinger"] = distances.hellinger(pair["ref"], pair["cur"])
        answers[f"{name}_drift"] = compat.mlrun_drift(pair["ref"], pair["cur"])
    general = compat.mlrun_general_drift(answers[f"{name}_drift"] for name in case.input["features"])
    return constants({**answers, "general_drift": general, "status": compat.mlrun_status(general or 0.0)})


def mlrun_dilution(case: Case) -> dict[str, Answer]:
    """What the mean makes of a few features that moved to a disjoint support."""
    n, moved = case.input["n_features"], case.input["n_fully_drifted"]
    general = compat.mlrun_general_drift([1.0] * moved + [0.0] * (n - moved)) or 0.0
    return constants(
        {
            "mlrun_general_drift": general,
            "mlrun_status": compat.mlrun_status(general),
            "evidently_share": moved / n,
            "evidently_dataset_drift_at_0.5": moved / n >= 0.5,
        }
    )


def mlrun_boundaries(case: Case) -> dict[str, Answer]:
    """MLRun's status of single numbers."""
    return constants({"status": [compat.mlrun_status(value) for value in case.input["values"]]})


def chunk_thresholds(case: Case) -> dict[str, Answer]:
    """A threshold from reference chunks."""
    given = case.input
    threshold = chunk_threshold(
        given["reference_chunk_values"], given.get("multiplier", 3), given.get("lower_limit"), given.get("upper_limit")
    )
    upper = threshold.upper if threshold.upper is not None else np.inf
    alerts = {value: float(value) > upper for value in case.expected.get("alerts", {})}
    return constants(
        {
            "upper": threshold.upper,
            "lower": threshold.lower,
            "lower_unclipped": threshold.lower_unclipped,
            "alerts": alerts,
        }
    )


def segments(case: Case) -> dict[str, Answer]:
    """PSI per segment and of all segments together."""
    pairs = {key.removeprefix("segment_"): pair for key, pair in case.input.items() if key.startswith("segment_")}
    answers = {f"psi_{name}": distances.psi(pair["ref"], pair["cur"]) for name, pair in pairs.items()}
    ref, cur = (np.sum([pair[side] for pair in pairs.values()], axis=0) for side in ("ref", "cur"))
    return constants({**answers, "psi_all": distances.psi(ref, cur)})


def quality(case: Case) -> dict[str, Any]:
    """Violations of a schema."""
    rules = {name: parse_rule(text) for name, text in case.input["schema"].items()}
    judged = judge(rules, case.input["rows"])
    answers: dict[str, Any] = {"row_count": judged.row_count, "violations": list(judged.violations)}
    for name, column in judged.columns.items():
        answers |= {
            f"duplicate_{name}s": list(column.duplicates),
            f"{name}_out_of_range": column.out_of_range,
            f"{name}_type_errors": column.type_errors,
            f"{name}_unseen": column.unseen,
            f"{name}_missing_rate": column.missing_rate,
        }
        if rules[name].unique:
            answers.setdefault("duplicate_ids", list(column.duplicates))
    return constants(answers)


def parse_rule(text: str) -> ColumnRule:
    """A column rule from its notation.

    Example:
        >>> parse_rule("int in [0,120]").high
        120.0
    """
    types: dict[str, CellType] = {"int": "int", "float": "float", "str": "str", "string": "str", "bool": "bool"}
    span = re.search(r"in\s*\[\s*([^,\]]+),\s*([^\]]+)\]", text)
    domain = re.search(r"in\s*\{([^}]*)\}", text)
    nullable = re.search(r"nullable(?:\s*<=\s*([0-9.]+))?", text)
    return ColumnRule(
        type=types.get(text.split()[0], "any"),
        unique="unique" in text,
        low=float(span.group(1)) if span else None,
        high=float(span.group(2)) if span else None,
        domain=frozenset(part.strip() for part in domain.group(1).split(",")) if domain else None,
        max_missing=float(nullable.group(1) or 1.0) if nullable else 0.0,
    )


def kernels(case: Case) -> dict[str, Answer]:
    """Maximum mean discrepancy."""
    found = mmd(case.input["X"], case.input["Y"], case.input["gamma"])
    return {key: lambda key=key: getattr(found, key) for key in ("mmd2_u", "kxx", "kyy", "kxy")}  # type: ignore[misc]


def reconstruction(case: Case) -> dict[str, Answer]:
    """PCA reconstruction errors of new points."""
    given: Input = case.input
    errors = pca_errors(given["ref"], given["new"], int(given.get("n_components", 1)))
    return constants({"errors": list(errors)})


def domain_score(case: Case) -> dict[str, Answer]:
    """ROC AUC of a domain classifier."""
    return constants({"auc": domain_auc(case.input["is_current"], case.input["p_current"])})


SITUATIONS = (
    Situation(("ref_counts", "cur_counts"), counts),
    Situation(("ref", "new"), reconstruction),
    Situation(("ref", "cur"), values),
    Situation(("n_features", "n_fully_drifted"), mlrun_dilution),
    Situation(("features",), mlrun_features),
    Situation(("values",), mlrun_boundaries),
    Situation(("reference_chunk_values",), chunk_thresholds),
    Situation(("segment_*",), segments),
    Situation(("schema", "rows"), quality),
    Situation(("X", "Y", "gamma"), kernels),
    Situation(("p_current", "is_current"), domain_score),
)

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tidemill.testing.drift_cases.runner import main
from tidemill.testing.drift_cases.streams import expand

PSI = {"id": "C1", "what": "", "input": {"ref_counts": [60, 30, 10], "cur_counts": [40, 40, 20]}, "abs_tol": 1e-9}


def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], *cases: dict[str, Any]) -> tuple[int, list[str]]:
    path = tmp_path / "cases.json"
    path.write_text(json.dumps({"cases": cases}))
    code = main([str(path)])
    return code, capsys.readouterr().out.splitlines()


def test_a_right_a_wrong_an_unknown_and_a_skipped_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    right = {**PSI, "expected": {"psi": 0.1791759469228, "why": "prose"}}
    wrong = {**PSI, "id": "C2", "expected": {"psi": 0.18}}
    unknown = {**PSI, "id": "C3", "expected": {"psy": 0.18}}
    broken = {**PSI, "id": "C4", "input": {"ref_counts": [1], "cur_counts": [1, 2]}, "expected": {"psi": 0}}
    strange = {**PSI, "id": "D1", "input": {"zzz": 1}, "expected": {}}
    skipped = {**PSI, "id": "K1", "expected": {"chain": []}}
    code, lines = run(tmp_path, capsys, right, wrong, unknown, broken, strange, skipped)
    assert code == 1
    assert lines[-2:] == ["1 skipped (families other than C, D, E, F, G, H, I, J)", "1 passed, 4 failed"]
    assert lines[0].startswith("C2: psi: expected 0.18, found 0.179")
    assert lines[1] == "C3: psy: no answer"


EXAMPLES: list[dict[str, Any]] = [
    {
        "id": "C", "input": {"ref_counts": [10, 20], "cur_counts": [20, 10]},
        "expected": {"stat": 6.666666666667, "stat_yates": 5.4, "p_yates": 0.020136751},
    },
    {
        "id": "C", "input": {"ref": [1.0, None, 2.0, 3.0], "cur": [None, None, 2.0, 3.0]},
        "expected": {
            "missing_ref": 0.25, "missing_cur": 0.5, "missing_rate_change": 0.25, "n_ref_nonnull": 3,
            "n_cur_nonnull": 2, "ks_D_nonnull": 1 / 3, "ks_D_fraction": "1/3",
        },
    },
    {
        "id": "C", "input": {"segment_a": {"ref": [90, 10], "cur": [50, 50]}, "segment_b": {"ref": [10, 90], "cur": [50, 50]}},
        "expected": {"psi_all": 0.0, "psi_a": 0.8788898309, "psi_b": 0.8788898309, "required": "each alone"},
    },
    {
        "id": "C", "input": {"ref": [[1.0, 0.0], [1.0, 2.0]], "cur": [[2.0, 1.0]]},
        "expected": {"ref_centroid": [1.0, 1.0], "euclidean": 1.0, "cosine_distance": 0.051316702},
    },
    {"id": "D", "input": {"ref": [[0, 0], [1, 1], [2, 2]], "new": [[1, 1], [0, 2]]}, "expected": {"errors": [0, 1.732050808]}},
    {
        "id": "E", "input": {"y_true": [1, 0, 1, 0], "y_pred": [1, 0, 0, 0], "group": ["a", "a", "b", "b"]},
        "expected": {
            "a": {"n": 2, "accuracy": 1.0, "selection_rate": 0.5, "tpr": 1.0, "fpr": 0.0},
            "b": {"n": 2, "accuracy": 0.5, "selection_rate": 0.0, "tpr": 0.0, "fpr": 0.0},
            "demographic_parity_difference": 0.5, "demographic_parity_ratio": 0.0, "equalized_odds_difference": 1.0,
        },
    },
    {
        "id": "F", "input": {"e": [60.0, 1.0, 30.0]},
        "expected": {"e_bh_0.05": [0, 2], "average_e_value": 91 / 3, "global_null_rejected_at_0.05": True},
    },
    {
        "id": "F", "input": {"e_steps": [2.0, 0.25, 4.0], "threshold": 6},
        "expected": {"sr": [2, 0.75, 7], "cusum": [2, 0.5, 4], "sr_alarm_step_0based": 2, "cusum_alarm_step_0based": None},
    },
    {
        "id": "G", "input": {"n0": 100, "n1": 100, "window_variance": 0.25, "width": 200, "delta": 0.002},
        "expected": {"epsilon_cut": 0.4179, "textbook_epsilon_without_mwl": 0.4072},
    },
    {
        "id": "G", "input": {"D": 0.5, "n": 30},
        "expected": {"paper_threshold_sqrt(-ln(alpha)/r)": 0.420248, "p_exact": 0.000919, "fires": True},
    },
    {
        "id": "H", "input": {"hour_counts": [[20, 10, 5], [20, 30, 15]]},
        "expected": {"day_counts": [40, 40, 20], "psi_day_vs_ref_[60,30,10]": 0.1791759469228},
    },
]  # fmt: skip


@pytest.mark.parametrize("case", EXAMPLES)
def test_every_situation_of_the_format(
    case: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tolerance = 1e-4 if case["id"] == "G" else 1e-6
    code, lines = run(tmp_path, capsys, {"what": "", "abs_tol": tolerance, **case})
    assert (code, lines[-1]) == (0, "1 passed, 0 failed"), lines


def test_a_file_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main([str(tmp_path / "none.json")]) == 2
    assert "Cannot read the cases" in capsys.readouterr().out


def test_notations_are_not_evaluated() -> None:
    with pytest.raises(ValueError, match="not part of the notation"):
        expand("i<3: __import__('os'); else 1")

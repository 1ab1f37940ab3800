from __future__ import annotations

from typing import Any

import optuna
import pytest
from tests.training.conftest import Make
from tests.training.steps import classify, drawn, fragile, regress

import tidemill as tm
from tidemill.core.errors import InvalidArgument, InvalidData, NotFound, UserCodeError
from tidemill.data.splits import split_rows
from tidemill.tracking.dataset import Dataset
from tidemill.tracking.service import Tracking
from tidemill.training import search as search_module
from tidemill.training.candidate import Candidate
from tidemill.training.scoring import score
from tidemill.training.service import Training

SPACE = {"learning_rate": tm.log_uniform(0.01, 0.5), "max_depth": [2, 3, 4]}


def hunt(training: Training, rows: Dataset, step: Any = classify, space: Any = SPACE, **options: Any) -> Candidate:
    given: dict[str, Any] = {
        "trials": 6, "metric": "roc_auc", "maximize": True, "valid": 0.2, "seed": 3, "timeout": None, "halving": None,
    }  # fmt: skip
    return training.search(step=step, rows=rows, space=space, **{**given, **options})


def test_the_best_is_that_of_plain_optuna_with_the_same_seed(training: Training, make: Make) -> None:
    rows = make()
    found = hunt(training, rows)
    parts = split_rows(rows.frame, by="time", test=0.2, time="at", ids=("flight",))
    fit, valid = rows.part(parts.fit, {"p": 1}), rows.part(parts.test, {"p": 2})

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("learning_rate", 0.01, 0.5, log=True)
        depth = [2, 3, 4][trial.suggest_categorical("max_depth", [0, 1, 2])]
        from tidemill.measures.metrics import metric

        return score(metric("roc_auc"), classify(fit, max_depth=depth, learning_rate=rate), valid)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=3))
    study.optimize(objective, n_trials=6)
    assert found.score == study.best_value
    assert found.params["learning_rate"] == study.best_params["learning_rate"]
    assert found.params["max_depth"] == [2, 3, 4][study.best_params["max_depth"]]


def test_every_trial_is_a_run_under_the_search(training: Training, tracking: Tracking, make: Make) -> None:
    rows = make()
    found = hunt(training, rows)
    trials = tracking.children(found.run_id)
    scores = {trial.id: tracking.latest([trial.id])[trial.id]["roc_auc"] for trial in trials}
    run = tracking.get(found.run_id)
    assert [trial.kind for trial in trials] == ["trial"] * 6
    assert [trial.tags["number"] for trial in trials] == list(range(6))
    assert {trial.params["rows"] for trial in trials} == {480}
    assert found.score == max(scores.values()) == scores[run.tags["best_trial"]]
    assert run.tags["best"] == dict(found.params)
    assert found.fitted_until == rows.manifest.last, "the validation rows chose it"
    assert [link.uri for link in tracking.links(found.run_id, "input")] == [f"dataset/{rows.digest}"]


def test_an_equal_search_finds_an_equal_best_even_where_steps_draw(training: Training, make: Make) -> None:
    rows = make()
    one, two = (hunt(training, rows, drawn, {"share": tm.uniform(0.3, 0.9)}, trials=4) for _ in range(2))
    assert (one.params, one.score) == (two.params, two.score)


def test_a_failing_trial_ends_only_itself(training: Training, tracking: Tracking, make: Make) -> None:
    found = hunt(training, make(), fragile, {"depth": tm.integers(1, 6)}, trials=8)
    statuses = [trial.status for trial in tracking.children(found.run_id)]
    assert found.params["depth"] % 2 == 0
    assert {"failed", "finished"} == set(statuses)
    failed = next(trial for trial in tracking.children(found.run_id) if trial.status == "failed")
    assert "is odd" in (failed.error or "")


def test_when_all_fail_the_first_cause_is_told(training: Training, tracking: Tracking, make: Make) -> None:
    with pytest.raises(UserCodeError, match=r"every trial failed \(3\); the first: .*depth \d is odd"):
        hunt(training, make(), fragile, {"depth": [1, 3, 5]}, trials=3)
    assert tracking.find(kind="search")[0].status == "failed"


def test_halving_tries_a_sample_and_decides_on_all_rows(
    training: Training, tracking: Tracking, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "SAMPLE_LEAST", 60)
    said: list[tuple[int, int]] = []
    training._progress = lambda done, of: said.append((done, of))
    found = hunt(training, make(), trials=5, halving=True)
    trials = tracking.children(found.run_id)
    assert [trial.params["rows"] for trial in trials] == [60] * 5 + [480] * 3
    final = [tracking.latest([trial.id])[trial.id]["roc_auc"] for trial in trials[5:]]
    assert found.score == max(final)
    assert said == [(i, 8) for i in range(1, 9)]


def test_too_few_rows_are_not_sampled(training: Training, tracking: Tracking, make: Make) -> None:
    found = hunt(training, make(), trials=2, halving=True)
    assert [trial.params["rows"] for trial in tracking.children(found.run_id)] == [480, 480]


def test_a_timeout_keeps_what_worked(training: Training, tracking: Tracking, make: Make) -> None:
    found = hunt(training, make(), timeout="1us", trials=5)
    assert len(tracking.children(found.run_id)) == 1


def test_rows_without_time_are_held_out_at_random(training: Training, tracking: Tracking, make: Make) -> None:
    rows = make(time=None)
    one, two = hunt(training, rows, trials=2), hunt(training, rows, trials=2)
    assert one.fitted_until is None
    assert one.score == two.score
    assert tracking.get(one.run_id).params["valid_rows"] == 120


def test_values_are_minimized(training: Training, make: Make) -> None:
    found = hunt(training, make("delay"), regress, {"max_depth": [1, 4]}, metric="rmse", maximize=False, trials=4)
    assert found.params["max_depth"] == 4


def test_choices_may_be_anything_and_no_space_fits_once(training: Training, tracking: Tracking, make: Make) -> None:
    space = {"max_depth": [None, 2], "learning_rate": [0.1]}
    assert hunt(training, make(), space=space, trials=2).params["learning_rate"] == 0.1
    only = hunt(training, make(), space={}, trials=1)
    assert only.params == {}
    assert len(tracking.children(only.run_id)) == 1


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"trials": 0}, InvalidArgument, "tries nothing"),
        ({"space": {}}, InvalidArgument, "empty space"),
        ({"space": {"max_dept": [1]}}, InvalidArgument, "rows, max_depth, learning_rate"),
        ({"space": {"max_depth": 3}}, InvalidArgument, "nothing to search"),
        ({"space": {"max_depth": []}}, InvalidArgument, "nothing to search"),
        ({"space": {"max_depth": tm.integers(0, 4, log=True)}}, InvalidArgument, "cannot be drawn from"),
        ({"metric": "auc"}, NotFound, "roc_auc"),
        ({"metric": "log_loss"}, InvalidArgument, 'minimize="log_loss"'),
        ({"metric": "rmse", "maximize": False}, InvalidArgument, "answers with classes"),
        ({"valid": 1.5}, InvalidArgument, "between 0 and 1"),
        ({"step": len}, InvalidArgument, "@tm.step"),
    ],
)
def test_mistakes_are_told(training: Training, make: Make, options: dict[str, Any], kind: type, words: str) -> None:
    with pytest.raises(kind, match=words):
        hunt(training, make(), **options)


def test_a_metric_that_is_not_defined_ends_the_search(training: Training, make: Make) -> None:
    rows = make()
    last = rows.frame["flight"] >= 480
    frame = rows.frame.with_columns(late=(rows.frame["late"] & ~last))
    with pytest.raises(InvalidData, match="more than one class"):
        hunt(training, make(frame=frame))

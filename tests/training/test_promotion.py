from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from tests.training.conftest import HOUR, Make, flights
from tests.training.steps import classify, regress

import tidemill as tm
from tidemill.core.errors import InvalidArgument, NotFound, UserCodeError
from tidemill.core.records.alerting import Decision
from tidemill.core.records.events import Event
from tidemill.measures.reference import decode_reference
from tidemill.registry.service import Registry
from tidemill.stores.metadata.protocol import MetadataStore
from tidemill.tracking.dataset import Dataset
from tidemill.tracking.service import Tracking
from tidemill.training.candidate import Candidate
from tidemill.training.evaluation import Report
from tidemill.training.promotion import Promotion
from tidemill.training.service import Training

AUC, MODEL = tm.Gate("roc_auc"), "late-flight"


@tm.step
def guess(rows: tm.Dataset, strategy: str = "prior") -> Any:
    """As bad as a model can be."""
    return DummyClassifier(strategy=strategy).fit(rows.X, rows.y)


@tm.step
def guess_value(rows: tm.Dataset) -> Any:
    return DummyRegressor().fit(rows.X, rows.y)


class Life:
    """Promotes one candidate after another."""

    def __init__(
        self, training: Training, make: Make, label: str = "late", metric: str = "roc_auc", **facts: Any
    ) -> None:
        self.training, self.make, self.label, self.metric, self.facts = training, make, label, metric, facts

    def candidate(self, rows: Dataset, step: Any = classify, **space: Any) -> Candidate:
        maximize = self.metric not in ("rmse", "log_loss")
        return self.training.search(
            step=step, rows=rows, space=space, trials=1, metric=self.metric, maximize=maximize, valid=0.2, seed=0, timeout=None,
            halving=None,
        )  # fmt: skip

    def promote(
        self, rows: int, step: Any = classify, *, test: str | float = "400h", gate: tm.Gate | None = None, refit: bool = False,
        start: int = 0,
    ) -> Promotion:  # fmt: skip
        """Search and promote on so many rows from a start, the newest 401 of them to test."""
        whole = self.make(self.label, rows=rows, start=start, **self.facts)
        by = "time" if whole.manifest.time else "random"
        fit, held_out = self.training.split(rows=whole, by=by, test=test, seed=0, group=None)
        return self.training.promote(
            candidate=self.candidate(fit, step), model=MODEL, test=held_out, gate=gate or tm.Gate(self.metric),
            refit=whole if refit else None,
        )  # fmt: skip


@pytest.fixture
def life(training: Training, make: Make) -> Life:
    return Life(training, make)


def test_the_first_champion_needs_no_comparison(life: Life, registry: Registry, tracking: Tracking) -> None:
    made = life.promote(1000)
    assert made.promoted
    assert "first champion" in made.reason
    assert registry.aliases(MODEL) == {"champion": 1, "challenger": 1}
    version = registry.get(MODEL, 1)
    assert version.trained_until == 598 * HOUR
    assert version.metrics["roc_auc"] == made.score
    report = msgspec.json.decode(tracking.artifact(version.run_id or "", "report.json"), type=Report)
    assert (report.rows, report.metrics["roc_auc"]) == (401, made.score)
    assert tracking.latest([version.run_id or ""])[version.run_id or ""]["test_roc_auc"] == made.score


def test_a_better_one_wins_on_rows_new_to_both(life: Life, registry: Registry) -> None:
    life.promote(1000, guess)
    made = life.promote(1800)
    assert made.promoted
    assert registry.alias(MODEL, "champion") == 2
    assert made.champion_version == 1
    assert made.rows == 401
    assert made.gain is not None
    assert made.gain > 0.2
    assert made.reason == f"roc_auc {made.score:.4f} against 0.5000 of version 1 on 401 rows since 1970-02-28T07:00:00Z"


def test_a_worse_one_is_registered_and_refused(life: Life, registry: Registry, metadata: MetadataStore) -> None:
    life.promote(1000)
    made = life.promote(1800, guess, refit=True)
    assert not made.promoted
    assert "the gate wants a gain of at least 0" in made.reason
    assert registry.aliases(MODEL) == {"champion": 1, "challenger": 2}
    assert [v.version for v in registry.versions(MODEL)] == [2, 1], "a refused candidate is not trained again"
    with metadata.read() as reader:
        decisions = reader.find(Decision, order=["id"])
        told = [event for event in reader.find(Event) if event.kind == "decision.made"]
    assert [(d.subject, d.action) for d in decisions] == [
        ("model/late-flight", "promote"), ("model/late-flight", "refuse"),
    ]  # fmt: skip
    assert decisions[1].reason == made.reason
    assert decisions[1].detail["gain"] == made.gain
    assert [event.body["action"] for event in told] == ["promote", "refuse"]


def test_a_tie_passes_a_gate_without_a_gain_and_fails_one_with(life: Life) -> None:
    life.promote(1000, guess)
    assert not life.promote(1800, guess, gate=tm.Gate("roc_auc", min_gain=0.01)).promoted
    tie = life.promote(1800, guess)
    assert (tie.promoted, tie.gain) == (True, 0.0)


def test_a_bound_asks_for_a_gain_that_is_sure(life: Life) -> None:
    life.promote(1000, guess)
    sure = tm.Gate("roc_auc", bound="lower95")
    assert not life.promote(1800, guess, gate=sure).promoted
    assert life.promote(1800, gate=sure).promoted


def test_the_winner_is_trained_again_before_it_serves(life: Life, registry: Registry, tracking: Tracking) -> None:
    made = life.promote(1000, refit=True)
    candidate, served = registry.get(MODEL, made.candidate_version), registry.get(MODEL, made.version)
    assert registry.aliases(MODEL) == {"champion": 2, "challenger": 1}
    assert (candidate.trained_until, served.trained_until) == (598 * HOUR, 999 * HOUR)
    run = tracking.get(served.run_id or "")
    assert (run.kind, run.params["rows"]) == ("refit", 1000)
    assert served.metrics == candidate.metrics, "it is known by the test of the candidate"
    reference = decode_reference(registry.reference(MODEL, 2) or b"")
    assert reference.profile.n_rows == 1000
    assert set(reference.profile.features) == {"carrier", "wind", "prediction"}
    assert set(reference.profile["carrier"].categories) == {"AA", "DL", "UA"}
    assert reference.profile["prediction"].kind == "numeric"
    assert reference.baseline_loss == pytest.approx(candidate.metrics["brier"])
    assert len(reference.blocks["wind"]) == 42, "its days"


def test_rows_the_champion_was_trained_on_do_not_count(life: Life, registry: Registry) -> None:
    life.promote(1000, guess, refit=True)  # the champion has seen all 1000
    made = life.promote(1150)
    assert not made.promoted
    assert "150 of 401 test rows are new to both" in made.reason
    assert "at least 200 decide" in made.reason
    assert life.promote(1250).promoted
    assert registry.alias(MODEL, "champion") == 4


def test_without_times_rows_are_known_by_their_ids(training: Training, make: Make) -> None:
    life = Life(training, make, time=None)
    life.promote(1000, guess, test=0.4, refit=True)
    again = life.promote(1000, test=0.4)
    assert not again.promoted
    assert "0 of 400 test rows are new" in again.reason
    assert life.promote(2500, test=0.4).promoted


def test_without_times_and_ids_equal_rows_are_the_same(training: Training, make: Make) -> None:
    life = Life(training, make, time=None, id=[])
    life.promote(1000, guess, test=0.4, refit=True)
    assert "0 of 400 test rows are new" in life.promote(1000, test=0.4).reason


@pytest.mark.parametrize(
    ("label", "metric", "bad", "good"),
    [("delay", "rmse", guess_value, regress), ("minutes", "mae", guess_value, regress), ("speed", "log_loss", guess, classify),
     ("stars", "accuracy", guess, classify)],
)  # fmt: skip
def test_values_and_several_classes(
    training: Training, make: Make, registry: Registry, label: str, metric: str, bad: Any, good: Any
) -> None:
    life = Life(training, make, label, metric)
    if metric == "mae":
        life.candidate = lambda rows, step=good: training.search(  # type: ignore[method-assign]
            step=step, rows=rows, space={}, trials=1, metric="mae", maximize=False, valid=0.2, seed=0, timeout=None,
            halving=None)  # fmt: skip
    life.promote(1000, bad)
    made = life.promote(1800, good, refit=True)
    assert made.promoted, made.reason
    assert made.gain is not None
    assert made.gain > 0
    reference = decode_reference(registry.reference(MODEL, made.version) or b"")
    assert "prediction" in reference.profile.features
    assert reference.baseline_loss is not None
    assert 0 < reference.baseline_loss < 1


def test_rows_of_one_class_decide_nothing(training: Training, make: Make) -> None:
    life = Life(training, make)
    life.promote(1000)
    frame = flights(1800).with_columns(late=pl.col("late") & (pl.col("flight") < 1399))
    life.facts = {"frame": frame}
    made = life.promote(1800)
    assert not made.promoted
    assert "roc_auc is not defined on these rows" in made.reason


def test_a_champion_of_other_features_cannot_be_compared(
    life: Life, training: Training, tracking: Tracking, registry: Registry
) -> None:
    life.promote(1000)
    frame = flights(1800).rename({"wind": "gale"})
    whole = tracking.datasets.create(
        frame, name="f", features=["carrier", "gale"], label="late", id=["flight"], time="at"
    )
    fit, test = training.split(rows=whole, by="time", test="400h", seed=0, group=None)
    made = training.promote(candidate=life.candidate(fit), model=MODEL, test=test, gate=AUC, refit=None)
    assert not made.promoted
    assert "version 1, the champion, cannot answer the test rows" in made.reason
    assert "'wind'" in made.reason
    assert registry.aliases(MODEL) == {"champion": 1, "challenger": 2}


def test_mistakes_are_found_before_anything_is_registered(life: Life, training: Training, registry: Registry) -> None:
    whole = life.make(rows=1000)
    fit, test = training.split(rows=whole, by="time", test="400h", seed=0, group=None)
    candidate = life.candidate(fit)
    given: dict[str, Any] = {"candidate": candidate, "model": MODEL, "test": test, "gate": AUC, "refit": None}
    with pytest.raises(InvalidArgument, match=r"what tm\.search gave"):
        training.promote(**{**given, "candidate": candidate.model})
    with pytest.raises(InvalidArgument, match="name of a model"):
        training.promote(**{**given, "model": "Late Flight"})
    with pytest.raises(NotFound, match="roc_auc"):
        training.promote(**{**given, "gate": tm.Gate("auc")})
    with pytest.raises(InvalidArgument, match="answers with classes"):
        training.promote(**{**given, "gate": tm.Gate("rmse")})
    assert registry.models() == []


@tm.step
def once(rows: tm.Dataset) -> Any:
    """Fits the rows of a search, and nothing larger."""
    if len(rows) > 600:
        raise RuntimeError("too many rows")
    return classify(rows)


def test_a_failing_refit_leaves_the_champion(life: Life, registry: Registry, tracking: Tracking) -> None:
    life.promote(1000, guess)
    with pytest.raises(UserCodeError, match="too many rows"):
        life.promote(1000, once, refit=True, start=600)
    assert registry.aliases(MODEL) == {"champion": 1, "challenger": 2}
    assert tracking.find(kind="refit")[0].status == "failed"


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import tests.training.conftest as c
from tests.training.test_promotion import Life
from tidemill.core.clock import ManualClock
from tidemill.core.scope import Scope
from tidemill.registry.service import Registry
from tidemill.stores.artifacts.open import open_artifacts
from tidemill.stores.metadata.open import open_metadata
from tidemill.tracking.service import Tracking
from tidemill.training.service import Training

home = Path(sys.argv[1])
scope, metadata = Scope("bikes", "ada", ManualClock(0)), open_metadata("sqlite:", home)
artifacts = open_artifacts("file:", home)
tracking = Tracking(scope, metadata=metadata, artifacts=artifacts, folder=home)
registry = Registry(scope, metadata=metadata, artifacts=artifacts)
registry.set_alias = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
training = Training(scope, metadata=metadata, tracking=tracking, registry=registry)

def keep(label, rows, start=0):
    return tracking.datasets.create(c.flights(rows, start), name="flights", features=["carrier", "wind"], label=label,
                                    id=["flight"], time="at")

Life(training, keep).promote(1000)
"""


def test_a_kill_between_register_and_alias_leaves_a_version_and_can_be_repeated(
    life: Life, registry: Registry, tmp_path: Path
) -> None:
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *sys.path])}
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), root], env=environment, check=False,
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [version.version for version in registry.versions(MODEL)] == [1]
    assert registry.aliases(MODEL) == {}
    assert life.promote(1000).promoted
    assert registry.aliases(MODEL) == {"champion": 2, "challenger": 2}

"""The gate: register a candidate, compare it with the champion on rows neither was trained on, and promote or refuse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from tidemill.core.errors import TidemillError
from tidemill.core.ids import check_name
from tidemill.core.protocols import ModelRef, ModelRegistry
from tidemill.core.records.alerting import Decision
from tidemill.core.records.events import Event
from tidemill.core.records.models import ModelVersion
from tidemill.core.scope import Scope
from tidemill.core.specs.training import Gate
from tidemill.core.times import format_time
from tidemill.core.uris import ModelUri
from tidemill.measures.gains import Gain, holds, paired_gain
from tidemill.measures.metrics import metric
from tidemill.stores.metadata.protocol import MetadataStore
from tidemill.tracking.dataset import Dataset
from tidemill.tracking.service import Tracking
from tidemill.training.candidate import Candidate, fit
from tidemill.training.evaluation import Report, report_on
from tidemill.training.references import loss_of, reference_of
from tidemill.training.scoring import Answers, answers_in, answers_of, check_metric, comparable
from tidemill.training.unseen import unseen_rows

CHAMPION, CHALLENGER = "champion", "challenger"

COMPARABLE_LEAST = 200
"""Fewer test rows than that decide nothing."""


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a candidate."""

    model: str
    candidate_version: int
    """The version that went through the gate."""
    version: int
    """The version to serve if it was promoted: the candidate's, or that of the refit."""
    promoted: bool
    reason: str
    metric: str
    score: float | None
    """The candidate's on all test rows."""
    champion_version: int | None
    gain: float | None
    rows: int
    """Test rows that neither was trained on."""
    test_span: int = 0
    """From the first test row to the last, microseconds: how much newer than its own rows a candidate is judged."""


@dataclass(frozen=True)
class Verdict:
    """Whether the gate holds, and why."""

    passed: bool
    reason: str
    gain: Gain | None = None
    champion: int | None = None
    rows: int = 0


@dataclass(frozen=True)
class Tested:
    """A candidate with its answers for the test rows."""

    candidate: Candidate
    model: str
    test: Dataset
    answers: Answers
    report: Report
    loss: float | None


@dataclass
class Promoter:
    """Takes candidates through the gate.

    Args:
        scope: Project, principal and clock.
        metadata: Where decisions are kept.
        tracking: Where the refit is recorded.
        registry: Where versions and aliases are kept.
    """

    scope: Scope
    metadata: MetadataStore
    tracking: Tracking
    registry: ModelRegistry

    def promote(
        self, candidate: Candidate, model: str, *, test: Dataset, gate: Gate, refit: Dataset | None, parent: str | None
    ) -> Promotion:
        """See `tidemill.core.specs.training.promote`."""
        check_name(model, "name of a model")
        wanted = metric(gate.metric)  # a misspelled metric is found before anything is registered
        fitted_on = self.tracking.datasets.load(candidate.dataset)
        answers = answers_of(candidate.model, test.prepared_as(fitted_on))
        check_metric(wanted, answers.task, type(candidate.model).__name__)
        tested = Tested(candidate, model, test, answers, report_on(answers, test), loss_of(test, answers))
        self._log_report(tested, parent)
        version = self._register(tested, candidate.model, fitted_on, candidate.run_id)
        self.registry.set_alias(model, CHALLENGER, version.version, reason=f"candidate of run {candidate.run_id}")
        verdict = self._judge(tested, version, gate)
        served = self._refit(tested, refit, parent) if verdict.passed and refit is not None else version
        promotion = _promotion(tested, version, served, verdict, gate)
        self._decide(promotion, parent)
        return promotion

    # -- the gate

    def _judge(self, tested: Tested, version: ModelVersion, gate: Gate) -> Verdict:
        ref = self.registry.resolve(ModelUri(tested.model, alias=CHAMPION))
        if ref is None:
            return Verdict(True, "first champion: there was none to compare with", rows=len(tested.test))
        champion = self.registry.get(tested.model, ref.version)
        unseen = unseen_rows(tested.test, [version, champion], self.tracking.datasets)
        rows = int(unseen.sum())
        if rows < COMPARABLE_LEAST:
            return Verdict(False, f"{rows} of {len(tested.test):,} test rows are new to both this model and version "
                           f"{ref.version}{_since(version, champion)}; at least {COMPARABLE_LEAST} decide",
                           champion=ref.version, rows=rows)  # fmt: skip
        part = tested.test.part(unseen, {"unseen_by": [version.artifact, champion.artifact]})
        return self._compared(gate, part, tested.answers.part(unseen.to_numpy()), ref)

    def _compared(self, gate: Gate, part: Dataset, ours: Answers, ref: ModelRef) -> Verdict:
        try:
            theirs = answers_in(self.registry.load(ref).predict(part.frame), part, ours.classes)
            both = comparable(part, ours, theirs)
        except TidemillError as error:
            return Verdict(False, f"version {ref.version}, the champion, cannot answer the test rows ({error.found}); "
                           "move the alias by hand if it is to go", champion=ref.version, rows=len(part))  # fmt: skip
        new, old = both.predictions
        draws = 0 if gate.bound is None else 200  # only a bound needs them
        gain = paired_gain(gate.metric, both.truth, new, old, n=draws)
        passed = holds(gain, gate.min_gain, confident=gate.bound == "lower95")
        one = metric(gate.metric)
        first = part.manifest.first
        said = (f"{one.name} {_shown(one(both.truth, new))} against {_shown(one(both.truth, old))} of version {ref.version} "
                f"on {len(part):,} rows{'' if first is None else f' since {format_time(first)}'}")  # fmt: skip
        return Verdict(passed, said if passed else f"{said}; {_missing(gate, gain)}", gain, ref.version, len(part))

    # -- what is kept

    def _refit(self, tested: Tested, rows: Dataset, parent: str | None) -> ModelVersion:
        candidate = tested.candidate
        with self.tracking.start(
            f"refit-{candidate.step.name}", kind="refit", parent=parent, params={**candidate.params, "rows": len(rows)}
        ) as run:
            run.log_input("rows", f"dataset/{rows.digest}", rows.digest)
            fitted = fit(candidate.step, rows, candidate.params, candidate.seed)
            return self._register(tested, fitted, rows, run.id)

    def _register(self, tested: Tested, fitted: Any, rows: Dataset, run_id: str) -> ModelVersion:
        scores = tested.report.scores()
        reference = reference_of(rows, answers_of(fitted, rows), scores, tested.loss)
        return self.registry.register(
            fitted, tested.model, dataset=rows, metrics=scores, params=tested.candidate.params, run_id=run_id,
            profile=reference.encode(), trained_until=rows.manifest.last,
        )  # fmt: skip

    def _log_report(self, tested: Tested, parent: str | None) -> None:
        # The run of a search that came from the cache is over; its record stays as it was.
        search = self.tracking.get(tested.candidate.run_id)
        runs = {parent} if parent is not None else set()
        if parent is None or not any(link.name == "report.json" for link in self.tracking.links(search.id, "output")):
            runs.add(search.id)
        for run_id in runs:
            run = self.tracking.resume(run_id)
            run.log_metrics({f"test_{name}": value for name, value in tested.report.scores().items()})
            run.log_artifact("report.json", msgspec.json.encode(tested.report))

    def _decide(self, promotion: Promotion, parent: str | None) -> None:
        if promotion.promoted:
            self.registry.set_alias(promotion.model, CHAMPION, promotion.version, reason=promotion.reason)
        action = "promote" if promotion.promoted else "refuse"
        body = msgspec.to_builtins(promotion)
        stamp, subject = self.scope.stamp(), f"model/{promotion.model}"
        with self.metadata.write() as writer:
            writer.add(Decision(**stamp, id=self.scope.new_id(), subject=subject, action=action, reason=promotion.reason,
                                run_id=parent, detail=body))  # fmt: skip
            writer.emit(Event(**stamp, kind="decision.made", subject=subject, body={"action": action, **body}))


def _promotion(tested: Tested, version: ModelVersion, served: ModelVersion, verdict: Verdict, gate: Gate) -> Promotion:
    return Promotion(
        model=tested.model,
        candidate_version=version.version,
        version=served.version,
        promoted=verdict.passed,
        reason=verdict.reason,
        metric=gate.metric,
        score=tested.report.metrics.get(gate.metric),
        champion_version=verdict.champion,
        gain=None if verdict.gain is None else verdict.gain.mean,
        rows=verdict.rows,
        test_span=(tested.test.manifest.last or 0) - (tested.test.manifest.first or 0),
    )


def _missing(gate: Gate, gain: Gain) -> str:
    if gain.mean is None:
        return f"{gate.metric} is not defined on these rows"
    if gain.mean < gate.min_gain:
        return f"the gate wants a gain of at least {gate.min_gain:g}"
    return f"the gate wants a gain that is sure, and its lower bound is {_shown(gain.lower95)}"


def _since(*versions: ModelVersion) -> str:
    known = [version.trained_until for version in versions if version.trained_until is not None]
    return f" (later than {format_time(max(known))})" if known else ""


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"

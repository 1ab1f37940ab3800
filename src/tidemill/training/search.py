"""Searching parameters with Optuna; every trial is a tracked run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from tidemill.core.errors import InvalidArgument, UserCodeError
from tidemill.core.specs.training import Space
from tidemill.core.steps import Step
from tidemill.core.times import Duration, parse_duration
from tidemill.data.splits import split_rows
from tidemill.measures.metrics import Metric, metric
from tidemill.tracking.active import ActiveRun
from tidemill.tracking.dataset import Dataset
from tidemill.tracking.service import Tracking
from tidemill.training.candidate import Candidate, fit
from tidemill.training.scoring import score
from tidemill.training.space import chosen, distributions

HALVING_ABOVE = 50_000
"""Fit rows above which trials start on a sample."""

SAMPLE_SHARE = 8
"""A sample holds one row of so many, but at least `SAMPLE_LEAST`."""

SAMPLE_LEAST = 20_000

FINALISTS_SHARE = 5
"""One trial of so many is fitted again on all rows, but at least `FINALISTS_LEAST`."""

FINALISTS_LEAST = 3


@dataclass(frozen=True)
class Trial:
    """One set of parameters and what came of it."""

    params: Mapping[str, Any]
    value: float
    model: Any
    run_id: str


@dataclass
class Search:
    """One search from its first trial to the best."""

    tracking: Tracking
    step: Step[..., Any]
    metric: Metric
    space: Space
    seed: int
    fit: Dataset
    valid: Dataset
    run: ActiveRun
    progress: Callable[[int, int], None]
    ends: float | None = None
    """When to stop starting trials, by the monotonic clock."""
    failures: list[UserCodeError] = field(default_factory=list)
    seen: dict[str, Dataset] = field(default_factory=dict)
    """The validation rows as models see them that were fitted on a dataset, by its digest."""

    def best(self, trials: int, halving: bool | None) -> Trial:
        """Search.

        Args:
            trials: How many sets of parameters are tried.
            halving: Whether they are tried on a sample first; None decides by the number of rows.

        Raises:
            UserCodeError: Every trial failed; the first cause is chained.
        """
        halved = len(self.fit) > HALVING_ABOVE if halving is None else halving
        sample = _sample(self.fit) if halved else self.fit
        if sample is self.fit:
            return self._only(self._round(trials, self.fit, total=trials))
        finals = max(FINALISTS_LEAST, trials // FINALISTS_SHARE)
        tried = self._round(trials, sample, total=trials + finals)
        return self._only(self._finals(_distinct(tried)[:finals], done=trials))

    def _round(self, trials: int, rows: Dataset, total: int) -> list[Trial]:
        """Try parameters as the sampler proposes them; returns those that worked, best first, only the best with its model."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=self.seed)
        study = optuna.create_study(direction="maximize" if self.metric.maximize else "minimize", sampler=sampler)
        drawn_from = distributions(self.space)
        worked: list[Trial] = []
        for number in range(trials):
            if worked and self._is_over():
                break
            asked = study.ask(drawn_from)
            trial = self._attempt(chosen(self.space, asked.params), rows, number)
            study.tell(asked, *((trial.value,) if trial else (None, optuna.trial.TrialState.FAIL)))
            worked = self._with(worked, trial)
            self.progress(number + 1, total)
        return worked

    def _finals(self, tried: list[Trial], done: int) -> list[Trial]:
        worked: list[Trial] = []
        for number, one in enumerate(tried):
            if worked and self._is_over():
                break
            worked = self._with(worked, self._attempt(one.params, self.fit, done + number))
            self.progress(done + number + 1, done + len(tried))
        return worked

    def _with(self, worked: list[Trial], trial: Trial | None) -> list[Trial]:
        # A search may try hundreds of models; only the best of them is held.
        if trial is None:
            return worked
        ordered = sorted([*worked, trial], key=lambda one: one.value, reverse=self.metric.maximize)
        return [ordered[0], *(Trial(one.params, one.value, None, one.run_id) for one in ordered[1:])]

    def _only(self, worked: list[Trial]) -> Trial:
        if worked:
            return worked[0]
        first = self.failures[0]
        raise UserCodeError(f"every trial failed ({len(self.failures)}); the first: {first.found}") from first

    def _is_over(self) -> bool:
        return self.ends is not None and time.monotonic() > self.ends

    def _attempt(self, params: Mapping[str, Any], rows: Dataset, number: int) -> Trial | None:
        """Fit and score; None if the training step or its model failed, which ends only this trial."""
        facts = {**params, "rows": len(rows)}
        tags = {"number": number}
        try:
            with self.tracking.start(
                self.step.name, kind="trial", parent=self.run.id, params=facts, tags=tags
            ) as trial:  # fmt: skip
                model = fit(self.step, rows, params, self.seed)
                value = score(self.metric, model, self._valid_as(rows))
                trial.log_metric(self.metric.name, value)
                return Trial(params, value, model, trial.id)
        except UserCodeError as error:
            self.failures.append(error)
            return None

    def _valid_as(self, rows: Dataset) -> Dataset:
        if rows.digest not in self.seen:
            self.seen[rows.digest] = self.valid.prepared_as(rows)
        return self.seen[rows.digest]


def search(
    tracking: Tracking, *, step: Step[..., Any], rows: Dataset, space: Space, trials: int, metric_name: str, maximize: bool,
    valid: float | Duration, seed: int, timeout: Duration | None, halving: bool | None, parent: str | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Candidate:  # fmt: skip
    """Run a search; see `tidemill.core.specs.training.search` for the arguments.

    The same seed tries the same parameters: trials are proposed one after the other, and fitted one at a time.

    Raises:
        InvalidArgument: The space, the metric or the number of trials is wrong.
        InvalidData: The metric is not defined on the validation rows.
        UserCodeError: Every trial failed; the first cause is chained.
    """
    wanted = _checked(step, space, trials, metric_name, maximize)
    limit = None if timeout is None else parse_duration(timeout) / 1e6
    fit_rows, held_out = _parts(rows, valid, seed)
    params = {"trials": trials, "metric": metric_name, "seed": seed, "valid": str(valid), "fit_rows": len(fit_rows),
              "valid_rows": len(held_out)}  # fmt: skip
    with tracking.start(f"search-{step.name}", kind="search", parent=parent, params=params) as run:
        run.log_input("rows", f"dataset/{rows.digest}", rows.digest)
        ends = None if limit is None else time.monotonic() + limit
        hunt = Search(tracking, step, wanted, space, seed, fit_rows, held_out, run, progress, ends)
        best = hunt.best(trials, halving)
        run.log(metrics={metric_name: best.value}, tags={"best": dict(best.params), "best_trial": best.run_id})
        # The trials never saw the validation rows, the newest ones; the winner is fitted on them too before it is compared.
        model = fit(step, rows, best.params, seed)
        return Candidate(step, best.params, metric_name, best.value, model, rows.digest, rows.manifest.last,
                         run.id, seed)  # fmt: skip


def _checked(step: Step[..., Any], space: Space, trials: int, metric_name: str, maximize: bool) -> Metric:
    if trials < 1:
        raise InvalidArgument(f"trials={trials} tries nothing", expected="at least 1")
    if not space and trials > 1:
        raise InvalidArgument(f"an empty space makes {trials} trials equal", expected="trials=1, or a space")
    step.arguments(None, **dict.fromkeys(space))  # a misspelled parameter is found before the first fit
    distributions(space)
    wanted = metric(metric_name)
    if wanted.maximize != maximize:
        verb = "maximize" if wanted.maximize else "minimize"
        raise InvalidArgument(f"{metric_name} is to be {verb}d", expected=f'{verb}="{metric_name}"')
    return wanted


def _parts(rows: Dataset, valid: float | Duration, seed: int) -> tuple[Dataset, Dataset]:
    m = rows.manifest
    by = "random" if m.time is None else "time"
    parts = split_rows(rows.frame, by=by, test=valid, time=m.time, ids=m.id, seed=seed)
    note = {"valid": str(valid), "by": by, "seed": seed}
    return rows.part(parts.fit, {**note, "part": "fit"}), rows.part(parts.test, {**note, "part": "valid"})


def _sample(rows: Dataset) -> Dataset:
    """Every so manieth row by time; the rows themselves when they are too few for that."""
    every = min(SAMPLE_SHARE, len(rows) // SAMPLE_LEAST)
    if every < 2:
        return rows
    order = rows.times.arg_sort().to_numpy() if rows.manifest.time else np.arange(len(rows))
    mask = np.zeros(len(rows), dtype=bool)
    mask[order[::every]] = True
    return rows.part(pl.Series(mask), {"every": every})


def _distinct(tried: list[Trial]) -> list[Trial]:
    """Without those whose parameters a better one has too."""
    kept: list[Trial] = []
    for one in tried:
        if all(one.params != other.params for other in kept):
            kept.append(one)
    return kept

"""Search spaces, gates and the operations of the develop-and-train stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tidemill.core.context import run_operation
from tidemill.core.errors import InvalidArgument
from tidemill.core.times import Duration


@dataclass(frozen=True)
class Range:
    """A range of numbers a search draws from, both ends included."""

    low: float
    high: float
    log: bool = False
    integer: bool = False


def uniform(low: float, high: float) -> Range:
    """Any number between low and high."""
    return _range(low, high)


def log_uniform(low: float, high: float) -> Range:
    """Any number between low and high, evenly on a logarithmic scale.

    Example:
        >>> log_uniform(0.01, 0.3).log
        True
    """
    if low <= 0:
        raise InvalidArgument(f"log_uniform({low}, {high}) starts at or below 0", expected="a positive low")
    return _range(low, high, log=True)


def integers(low: int, high: int, *, log: bool = False) -> Range:
    """Any integer from low to high."""
    return _range(low, high, log=log, integer=True)


def _range(low: float, high: float, *, log: bool = False, integer: bool = False) -> Range:
    if not low < high:
        raise InvalidArgument(f"the range from {low} to {high} is empty", expected="low < high")
    return Range(low, high, log, integer)


Space = Mapping[str, Range | Sequence[Any]]
"""Parameter name -> a range, or a list of choices."""


@dataclass(frozen=True)
class Gate:
    """When a challenger may become champion.

    Args:
        metric: Name of the metric both are scored with on test rows neither was trained on.
        min_gain: The gain, in the metric's better direction, that must be reached. With 0 a tie passes: the challenger has
            seen newer rows.
        bound: None compares the means; `lower95` the lower end of the 95 % interval of the gain.
    """

    metric: str
    min_gain: float = 0.0
    bound: str | None = None

    def __post_init__(self) -> None:
        if self.bound not in (None, "lower95"):
            raise InvalidArgument(f"bound={self.bound!r} is unknown", known=["None", "lower95"])


def split(
    rows: Any, *, by: str = "time", test: Duration | float = 0.2, seed: int = 0, group: str | None = None,
    column: str | None = None,
) -> tuple[Any, Any]:  # fmt: skip
    """Divide a dataset into rows to fit on and rows to test on, disjoint by id.

    Args:
        rows: The dataset.
        by: `time`: the newest rows are the test; `random`: a seeded draw of rows; `group`: one of whole groups, until
            their rows make up the share; `stratified`: one of rows of every class, so that each class has its share in the
            test, to within one row.
        test: A duration (by time only) or a share of the rows between 0 and 1; of the groups, where `group=` is given.
        seed: Of the draw.
        group: Column whose equal values stay on one side (random only).
        column: Column with the groups (by group) or the classes (stratified; the label when absent).

    Returns:
        Two datasets: fit, test.
    """
    fit, held_out = run_operation("split", rows=rows, by=by, test=test, seed=seed, group=group, column=column)
    return fit, held_out


def search(
    step: Any, *, rows: Any, space: Space, trials: int = 20, maximize: str | None = None, minimize: str | None = None,
    valid: float | Duration = 0.2, seed: int = 0, timeout: Duration | None = None, halving: bool | None = None,
) -> Any:  # fmt: skip
    """Try a training step with different parameters and keep the best.

    On many rows (more than 50,000) the search is halved: every trial is fitted on an evenly spread sample, an eighth of the
    rows, and the best fifth of the trials, at least three, are fitted again on all of them. Scores are always those of all
    validation rows. The winner is fitted once more on all rows given, the validation rows included.

    Args:
        step: The `@step` that trains: it takes the rows first and the parameters of `space` by name.
        rows: The dataset to fit on.
        space: What to try.
        trials: How many trials.
        maximize: Name of the metric to maximize; or
        minimize: of the one to minimize.
        valid: The newest share (or duration) of the rows, which each trial is scored on.
        seed: Of the sampler, and of Python's and NumPy's global generators in every fit: an equal search finds an equal
            best.
        timeout: Stop starting trials after this long, once one of them worked.
        halving: True or False to decide it; None decides by the number of rows.

    Returns:
        The best candidate: parameters, score, model; a handle of it inside a pipeline.
    """
    if (maximize is None) == (minimize is None):
        raise InvalidArgument("search needs one metric", expected='maximize="roc_auc" or minimize="log_loss"')
    return run_operation(
        "search", step=step, rows=rows, space=space, trials=trials, metric=maximize or minimize,
        maximize=maximize is not None, valid=valid, seed=seed, timeout=timeout,
        halving=halving,
    )  # fmt: skip


def promote(candidate: Any, model: str, *, test: Any, gate: Gate, refit: Any = None) -> Any:
    """Register a candidate, and make it champion if the gate holds.

    The candidate becomes a version and `challenger` in any case. The first champion needs no comparison; afterwards at least
    200 test rows must be new to both models. Where the rows have no time, those are new that neither dataset holds.

    Args:
        candidate: What `search` gave; with `trials=1` and an empty space it fits once.
        model: Name of the registered model.
        test: Test rows; only those later than both models were trained on count.
        gate: When the challenger wins.
        refit: Rows on which the winner is trained again, with the same parameters, before it serves.

    Returns:
        The promotion: version, decision, reason, scores; a handle of it inside a pipeline.
    """
    return run_operation("promote", candidate=candidate, model=model, test=test, gate=gate, refit=refit)

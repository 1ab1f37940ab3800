"""A trained model before it has a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tidemill.core.errors import UserCodeError
from tidemill.core.steps import Step
from tidemill.tracking.dataset import Dataset
from tidemill.tracking.seeds import seeded
from tidemill.training.threads import threads_for


@dataclass(frozen=True)
class Candidate:
    """What a search found: the best parameters, and the model fitted with them."""

    step: Step[..., Any]
    """The training step, so that the winner can be fitted again on more rows."""
    params: Mapping[str, Any]
    metric: str
    score: float
    """On the validation rows of the search."""
    model: Any
    dataset: str
    """Digest of the dataset that was searched on."""
    fitted_until: int | None
    """Time of the newest row the model was fitted or chosen with; None when the rows have no time."""
    run_id: str
    """The run of the search."""
    seed: int = 0
    """What the global generators started from in every fit."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
                          for name, value in self.params.items())  # fmt: skip
        return f"<Candidate {self.step.name}({shown}): {self.metric} {self.score:.4f}>"


def fit(step: Step[..., Any], rows: Dataset, params: Mapping[str, Any], seed: int) -> Any:
    """Call a training step.

    Args:
        step: The step; it takes the rows first.
        rows: The rows to fit on.
        params: Its other arguments by name.
        seed: What the global generators of Python and NumPy start from.

    Raises:
        UserCodeError: It failed, or returned something that does not predict; the cause is chained.
    """
    try:
        with seeded(seed), threads_for(len(rows)):
            model = step.function(rows, **params)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise UserCodeError(f"training step {step.name!r} failed with {dict(params)}: {said}") from error
    if not callable(getattr(model, "predict", None)):
        raise UserCodeError(f"training step {step.name!r} returned a {type(model).__name__}",
                            expected="a fitted model with predict")  # fmt: skip
    return model

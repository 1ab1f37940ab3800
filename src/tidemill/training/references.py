"""The reference profile a model version is registered with."""

from __future__ import annotations

import polars as pl

from tidemill.measures.blocks import block_values
from tidemill.measures.profile import Profile
from tidemill.measures.profiling import profile_frame
from tidemill.measures.reference import Reference
from tidemill.measures.risk import row_losses, scaled_errors
from tidemill.tracking.dataset import Dataset
from tidemill.training.scoring import Answers, comparable

WINDOW = 86_400_000_000
"""The reference's own windows are days of UTC."""

BLOCKS = 92
"""Of the newest so many windows it is kept how much they differed from the whole."""


def reference_of(dataset: Dataset, answers: Answers, metrics: dict[str, float], loss: float | None) -> Reference:
    """The reference of a model fitted on a dataset.

    Args:
        dataset: The rows it was fitted on.
        answers: Its answers for them; counted as the feature `prediction`.
        metrics: Its scores on the rows it was tested with.
        loss: Its mean loss on those rows, in [0, 1].
    """
    # Before preparation: what endpoints capture and monitors compare are the features as they came.
    frame = dataset.features.with_columns(answers.column())
    profile = profile_frame(frame)
    if dataset.manifest.time is None:
        return Reference(profile=profile, metrics=metrics, baseline_loss=loss)
    blocks = block_values(profile, _windows(frame, dataset.times, profile))
    return Reference(profile=profile, window=WINDOW, blocks=blocks, metrics=metrics, baseline_loss=loss)


def _windows(frame: pl.DataFrame, times: pl.Series, reference: Profile) -> list[Profile]:
    name = "window of the reference"
    parts = frame.with_columns((times // WINDOW).alias(name)).partition_by(name, as_dict=True, include_key=False)
    newest = sorted(parts)[-BLOCKS:]
    return [profile_frame(parts[key], reference) for key in newest]


def loss_of(dataset: Dataset, answers: Answers) -> float | None:
    """Mean loss per row in [0, 1]; None without rows.

    The Brier score of two classes, the share of wrong classes of more, the error over the label's spread of a regression.
    """
    if len(dataset) == 0:
        return None
    both = comparable(dataset, answers)
    truth, predicted = both.truth, both.predictions[0]
    if both.classes is None:
        spread = max(float(truth.max() - truth.min()), 1e-12)
        return float(scaled_errors(truth, predicted, cap=spread).mean())
    return float(row_losses("brier" if predicted.ndim == 1 else "zero_one", truth, predicted).mean())

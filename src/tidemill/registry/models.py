"""A model in memory: rows in, answers out, by its signature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from tidemill.core.errors import InvalidArgument, UserCodeError
from tidemill.core.schema import Column, Signature, names
from tidemill.data.preparation.preparation import Preparation
from tidemill.tracking.columns import columns_of, logical_type, model_frame
from tidemill.tracking.dataset import Dataset

PREDICTION = "prediction"
PROBABILITY = "probability"

_DECIDES_BY_PROBABILITY = ("sklearn.ensemble.", "sklearn.linear_model.", "sklearn.tree.", "sklearn.naive_bayes")
"""Where `predict` is the class of the greatest probability, so that one call answers both."""


class PredictingModel:
    """An object with `predict`, and for classifiers `predict_proba` and `classes_`, behind a signature.

    Args:
        model: The object.
        signature: What it takes and gives.
        preparation: What was learned to prepare its inputs, if anything is done to them.
    """

    def __init__(self, model: Any, signature: Signature, preparation: Preparation | None = None) -> None:
        self._model = model
        self._signature = signature
        self._preparation = preparation
        self._schema = output_schema(signature)
        self._classes = classes_of(model)
        self._plain_arrays = not hasattr(model, "feature_names_in_") and hasattr(model, "n_features_in_")
        self._one_call = self._classes is not None and _decides_by_probability(model)

    @property
    def signature(self) -> Signature:
        """What it takes and gives."""
        return self._signature

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Answers for rows, one each, in their order; see `tidemill.core.protocols.LoadedModel`.

        Raises:
            InvalidArgument: An input is missing or of another type.
            UserCodeError: The model itself failed; its error is chained.
        """
        inputs = self._inputs(rows)
        if inputs.is_empty():
            return pl.DataFrame(schema=self._schema)
        taken = inputs.to_numpy() if self._plain_arrays else inputs
        try:
            return self._answer(taken)
        except Exception as error:
            raise UserCodeError(f"the model failed on {rows.height} rows: {error}") from error

    def _inputs(self, rows: pl.DataFrame) -> pl.DataFrame:
        if self._preparation is None:
            return model_frame(rows, self._signature.inputs)
        return model_frame(self._preparation.apply(rows), self._signature.prepared)

    def _answer(self, inputs: Any) -> pl.DataFrame:
        if self._classes is None:
            return self._framed(self._model.predict(inputs), [])
        chances = np.asarray(self._model.predict_proba(inputs), dtype=np.float64)
        best = self._classes[chances.argmax(axis=1)] if self._one_call else self._model.predict(inputs)
        shown = [chances[:, 1]] if len(self._classes) == 2 else list(chances.T)
        return self._framed(best, shown)

    def _framed(self, prediction: Any, chances: Sequence[Any]) -> pl.DataFrame:
        answers = [_storable(np.asarray(prediction).reshape(-1)), *chances]
        named = zip(self._schema.items(), answers, strict=True)
        return pl.DataFrame([pl.Series(name, values, dtype=dtype) for (name, dtype), values in named])


def _storable(values: np.ndarray[Any, np.dtype[Any]]) -> Any:
    # Polars takes numbers and booleans from numpy as they are; texts it wants as Python's.
    return values if values.dtype.kind in "biuf" else values.tolist()


_OUTPUT_DTYPES = {"boolean": pl.Boolean(), "int64": pl.Int64(), "float64": pl.Float64(), "string": pl.String()}


def output_schema(signature: Signature) -> dict[str, pl.DataType]:
    """Names and dtypes of a model's answers."""
    return {column.name: _OUTPUT_DTYPES[column.type] for column in signature.outputs}


def classes_of(model: Any) -> np.ndarray[Any, np.dtype[Any]] | None:
    """The classes of a classifier that gives probabilities; None for anything else."""
    classes = getattr(model, "classes_", None)
    return None if classes is None or not hasattr(model, "predict_proba") else np.asarray(classes)


def _decides_by_probability(model: Any) -> bool:
    steps = getattr(model, "steps", None)  # of a scikit-learn pipeline: its last step decides
    last = steps[-1][1] if isinstance(steps, list) and steps else model
    return type(last).__module__.startswith(_DECIDES_BY_PROBABILITY)


def signature_of(model: Any, dataset: Dataset) -> Signature:
    """What a fitted model takes and gives, from what it remembers of its fit and from the dataset.

    Raises:
        InvalidArgument: It was fitted on other columns than the dataset has.
    """
    m = dataset.manifest
    if m.label is None:
        raise InvalidArgument(f"{dataset!r} has no label", expected="the dataset the model was fitted on")
    fitted = dataset.preparation
    seen = _inputs(model, dataset, m.features if fitted is None else fitted.columns)
    return Signature(
        inputs=seen if fitted is None else fitted.inputs,
        outputs=_outputs(model, m.label),
        request=_request(dataset),
        time=m.time,
        id=m.id,
        preparation=None if fitted is None else fitted.digest,
        prepared=() if fitted is None else seen,
    )


def _request(dataset: Dataset) -> tuple[Column, ...]:
    # A caller may say which row is meant, so that its label finds the prediction.
    asked = names(dataset.manifest.request)
    own = [name for name in dataset.manifest.id if name not in asked]
    return (*columns_of(dataset.frame, own, categories=False), *dataset.manifest.request)


def _inputs(model: Any, dataset: Dataset, features: tuple[Column, ...]) -> tuple[Column, ...]:
    by_name = {column.name: column for column in features}
    if (fitted := getattr(model, "feature_names_in_", None)) is not None:
        missing = [str(name) for name in fitted if name not in by_name]
        if missing:
            raise InvalidArgument(
                f"the model was fitted on {', '.join(missing)}, which {dataset!r} does not have", known=sorted(by_name)
            )
        return tuple(by_name[name] for name in fitted)
    count = getattr(model, "n_features_in_", len(features))
    if count != len(features):
        raise InvalidArgument(
            f"the model was fitted on {count} columns", expected=f"the {len(features)} of {dataset!r}"
        )
    return features


def _outputs(model: Any, label: Column) -> tuple[Column, ...]:
    classes = classes_of(model)
    if classes is None:
        kind = "float64" if getattr(model, "classes_", None) is None else label.type
        return (Column(name=PREDICTION, type=kind, nullable=False),)
    values = pl.Series(classes.tolist())
    kind = logical_type(values.dtype) or "string"
    shown = tuple(classes.tolist()) if kind == "string" else None
    prediction = Column(name=PREDICTION, type=kind, nullable=False, categories=shown)
    chances = [PROBABILITY] if len(classes) == 2 else [f"{PROBABILITY}_{value}" for value in classes.tolist()]
    return (prediction, *(Column(name=name, type="float64", nullable=False) for name in chances))

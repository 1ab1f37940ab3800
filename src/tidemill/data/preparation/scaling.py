"""Numbers to one scale, and within bounds."""

from __future__ import annotations

import numpy as np
import polars as pl

from tidemill.core.schema import Column
from tidemill.core.specs.preparation import Clip, Scale
from tidemill.data.preparation.state import Fitted, Floats, checked, finite_values


class Scaled(Fitted, frozen=True, kw_only=True, tag="scale", omit_defaults=True):
    """A value x becomes `(x - center) / scale`."""

    center: float
    scale: float

    def outputs(self, column: Column) -> tuple[Column, ...]:
        return (Column(name=column.name, type="float64", nullable=column.nullable),)

    def expressions(self) -> list[pl.Expr]:
        # Polars divides a column by a number as it multiplies with the inverse, but one row by true division: said
        # outright, a row alone comes out as it does among others.
        centered = pl.col(self.column).cast(pl.Float64) - self.center
        return [(centered * (1.0 / self.scale)).alias(self.column)]


def fit_scale(spec: Scale, frame: pl.DataFrame, column: Column) -> Scaled:
    """Learn center and scale.

    Raises:
        InvalidData: The column has no finite value, or too large ones.
    """
    values = finite_values(frame, column.name)
    with np.errstate(over="ignore", invalid="ignore"):
        center, spread = _METHODS[spec.method](values)
        center, spread = checked(center, column.name), checked(spread, column.name)
    smallest = float(np.finfo(np.float64).tiny)  # what is smaller has no finite inverse
    return Scaled(column=column.name, center=center, scale=spread if spread >= smallest else 1.0)


def _standard(values: Floats) -> tuple[float, float]:
    mean, variance = float(np.mean(values)), float(np.var(values))
    # Rounding leaves a little variance in a constant column; the bound is that of Chan, Golub and LeVeque, "Algorithms for
    # computing the sample variance" (1983), which scikit-learn uses as well.
    n, eps = len(values), float(np.finfo(np.float64).eps)
    noise = n * eps * variance + (n * mean * eps) ** 2
    return mean, 0.0 if variance <= noise else float(np.sqrt(variance))


def _min_max(values: Floats) -> tuple[float, float]:
    return float(values.min()), float(values.max() - values.min())


def _robust(values: Floats) -> tuple[float, float]:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return float(middle), float(high - low)


_METHODS = {"standard": _standard, "min_max": _min_max, "robust": _robust}


class Clipped(Fitted, frozen=True, kw_only=True, tag="clip", omit_defaults=True):
    """Bounds. NaN and missing values stay what they are."""

    lower: float | None = None
    upper: float | None = None
    column_type: str = "float64"

    def outputs(self, column: Column) -> tuple[Column, ...]:
        return (Column(name=column.name, type=self.column_type, nullable=column.nullable, unit=column.unit),)

    def expressions(self) -> list[pl.Expr]:
        whole = self.column_type == "int64"
        low, high = (None if b is None else int(b) if whole else b for b in (self.lower, self.upper))
        value = pl.col(self.column).cast(pl.Int64 if whole else pl.Float64)
        return [value.clip(low, high).alias(self.column)]


def fit_clip(spec: Clip, frame: pl.DataFrame, column: Column) -> Clipped:
    """Learn the bounds, where they are not given.

    Raises:
        InvalidData: There is no finite value to learn from.
    """
    bounds = (spec.lower, spec.upper)
    if spec.quantiles is not None:
        low, high = np.quantile(finite_values(frame, column.name), spec.quantiles)
        bounds = (float(low), float(high))
    whole = all(bound is None or bound.is_integer() for bound in bounds)
    kind = "int64" if whole and column.type == "int64" else "float64"
    return Clipped(column=column.name, lower=bounds[0], upper=bounds[1], column_type=kind)

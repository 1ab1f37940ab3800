"""What a search draws parameters from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tidemill.core.errors import InvalidArgument
from tidemill.core.specs.training import Range, Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The Optuna distributions of a space. Choices are drawn by their position, so that they may be anything.

    Raises:
        InvalidArgument: An entry is neither a range nor a list of choices.
    """
    return {name: _distribution(name, values) for name, values in space.items()}


def chosen(space: Space, drawn: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters behind what was drawn.

    Example:
        >>> chosen({"depth": [4, 6]}, {"depth": 1})
        {'depth': 6}
    """
    return {name: value if isinstance(space[name], Range) else _choices(space[name])[value]
            for name, value in drawn.items()}  # fmt: skip


def _distribution(name: str, values: Any) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    try:
        if isinstance(values, Range) and values.integer:
            return IntDistribution(int(values.low), int(values.high), log=values.log)
        if isinstance(values, Range):
            return FloatDistribution(values.low, values.high, log=values.log)
        if isinstance(values, list | tuple) and values:
            return CategoricalDistribution(tuple(range(len(values))))
    except ValueError as error:
        raise InvalidArgument(f"{name}={values!r} cannot be drawn from: {error}") from None
    raise InvalidArgument(
        f"{name}={values!r} is nothing to search", expected="tm.log_uniform(...), ... or a list of choices"
    )


def _choices(values: Any) -> list[Any]:
    return list(values)

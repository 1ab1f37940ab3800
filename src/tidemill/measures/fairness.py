"""How differently a classifier treats groups, with fairlearn's definitions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike

from tidemill.core.errors import InvalidData
from tidemill.measures.arrays import Floats, floats, ratio


class GroupRates(Struct, frozen=True):
    """Rates of one group; None where a rate has no rows to rest on."""

    n: int
    accuracy: float | None
    selection_rate: float | None
    tpr: float | None
    fpr: float | None


class Fairness(Struct, frozen=True):
    """Rates per group and the differences between groups; None with fewer than one comparable group.

    Attributes:
        groups: Rates by group name.
        demographic_parity_difference: Largest minus smallest selection rate.
        demographic_parity_ratio: Smallest over largest; None when nobody is selected.
        equalized_odds_difference: The larger of the differences in true and in false positive rate.
            Demographic parity can be zero while this is not.
    """

    groups: dict[str, GroupRates]
    demographic_parity_difference: float | None
    demographic_parity_ratio: float | None
    equalized_odds_difference: float | None


def fairness(y_true: ArrayLike, y_pred: ArrayLike, group: Sequence[object]) -> Fairness:
    """Rates by group.

    Args:
        y_true: True labels 0/1, shape (n,); rows without one are left out.
        y_pred: Predicted labels 0/1, shape (n,).
        group: The group of every row.

    Raises:
        InvalidData: If the three differ in length.

    Example:
        >>> fairness([1, 0, 1, 0], [1, 0, 0, 0], ["a", "a", "b", "b"]).demographic_parity_difference
        0.5
    """
    truth, shown = floats(y_true), floats(y_pred)
    names = np.array([str(name) for name in group], dtype=object)
    if not len(truth) == len(shown) == len(names):
        raise InvalidData(f"Got {len(truth)} labels, {len(shown)} predictions and {len(names)} groups")
    keep = np.isfinite(truth) & np.isfinite(shown)
    truth, shown, names = truth[keep], shown[keep], names[keep]
    groups = {name: _rates(truth[names == name], shown[names == name]) for name in dict.fromkeys(names)}
    selected = [rates.selection_rate for rates in groups.values()]
    odds = [_spread([g.tpr for g in groups.values()]), _spread([g.fpr for g in groups.values()])]
    known_odds = [value for value in odds if value is not None]
    return Fairness(groups, _spread(selected), _lowest_share(selected), max(known_odds, default=None))


def _rates(y: Floats, pred: Floats) -> GroupRates:
    one, positive = pred > 0, y > 0
    return GroupRates(
        n=len(y),
        accuracy=ratio(float((one == positive).sum()), len(y)),
        selection_rate=ratio(float(one.sum()), len(y)),
        tpr=ratio(float((one & positive).sum()), float(positive.sum())),
        fpr=ratio(float((one & ~positive).sum()), float((~positive).sum())),
    )


def _spread(rates: Sequence[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return max(known) - min(known) if known else None


def _lowest_share(rates: Sequence[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return ratio(min(known), max(known)) if known else None

"""Did the order of what matters to the model change?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tidemill.core.errors import InvalidData
from tidemill.measures.arrays import ratio

NDCG_LIMIT = 0.90


def attribution_ndcg(baseline: Mapping[str, float], live_order: Sequence[str]) -> float | None:
    """The nDCG of the live ranking of features, gains = their baseline attributions (as SageMaker Clarify).

    DCG = sum baseline[feature] / log2(position + 2), positions from 0; divided by the DCG of the baseline's
    own order. Below 0.90 counts as a violation.

    Args:
        baseline: Attribution of every feature at training time, not negative.
        live_order: Features, most important first, in live traffic.

    Returns:
        A ratio in [0, 1], None if the baseline is all zero.

    Raises:
        InvalidData: If the live order names a feature the baseline lacks.

    Example:
        >>> round(attribution_ndcg({"a": 0.5, "b": 0.3, "c": 0.15, "d": 0.05}, ["c", "a", "d", "b"]), 9)
        0.788569339
    """
    unknown = [name for name in live_order if name not in baseline]
    if unknown:
        raise InvalidData(f"The baseline has no attribution of {', '.join(unknown)}")
    live = _dcg([baseline[name] for name in live_order])
    return ratio(live, _dcg(sorted(baseline.values(), reverse=True)))


def attribution_violated(ndcg: float | None) -> bool:
    """Whether the order changed too much: nDCG below 0.90."""
    return ndcg is not None and ndcg < NDCG_LIMIT


def _dcg(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(position + 2) for position, gain in enumerate(gains))

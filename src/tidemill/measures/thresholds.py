"""Thresholds learnt from chunks of the reference: mean plus a multiple of the standard deviation."""

from __future__ import annotations

from msgspec import Struct
from numpy.typing import ArrayLike

from tidemill.measures.samples import finite


class ChunkThreshold(Struct, frozen=True):
    """Bounds of what is usual; None where there were no chunks.

    Attributes:
        upper: mean + multiplier x std, clipped to the metric's upper limit.
        lower: mean - multiplier x std, clipped to its lower limit.
        lower_unclipped: The same before clipping.
    """

    upper: float | None
    lower: float | None
    lower_unclipped: float | None

    def exceeded(self, value: float | None) -> bool:
        """Whether a value lies strictly outside the bounds; nothing is outside of no bounds.

        Example:
            >>> chunk_threshold([0.1, 0.12, 0.11, 0.13, 0.09]).exceeded(0.153)
            True
        """
        if value is None or self.upper is None or self.lower is None:
            return False
        return value > self.upper or value < self.lower


def chunk_threshold(
    values: ArrayLike,
    multiplier: float = 3.0,
    lower_limit: float | None = None,
    upper_limit: float | None = None,
) -> ChunkThreshold:
    """Bounds from a metric's values on chunks of the reference (std with ddof 0).

    It is familiar, not a guarantee: over ten chunks it gives 5 % false alarms per chunk, not the 0.13 % of
    three sigma.

    Args:
        values: One value per chunk, in the metric's unit.
        multiplier: How many standard deviations.
        lower_limit: The least value the metric can have.
        upper_limit: The greatest.

    Example:
        >>> round(chunk_threshold([0.1, 0.12, 0.11, 0.13, 0.09], 3, 0).upper, 9)
        0.152426407
    """
    known = finite(values)
    if len(known) == 0:
        return ChunkThreshold(None, None, None)
    reach = multiplier * float(known.std())
    upper, lower = float(known.mean()) + reach, float(known.mean()) - reach
    return ChunkThreshold(
        upper if upper_limit is None else min(upper, upper_limit),
        lower if lower_limit is None else max(lower, lower_limit),
        lower,
    )

"""Profiles: integer counts and moments of a set of rows, mergeable in any order.

A reference fixes the cells (deciles of numbers, the 100 most frequent categories); a window is counted in
the same cells.
Only counts are kept, so every distance is recomputable later and parts add up on any engine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import reduce
from typing import Any, Literal

import msgspec
from msgspec import Struct, structs

from tidemill.core.errors import InvalidArgument
from tidemill.measures import moments as moments_
from tidemill.measures.moments import Moments

Kind = Literal["numeric", "categorical", "boolean", "time"]
METHOD_VERSION = "deciles-1"
TOP_CATEGORIES = 100
MAX_KNOWN_CATEGORIES = 10_000
ORDERED: frozenset[Kind] = frozenset({"numeric", "time"})


class FeatureProfile(Struct, frozen=True, omit_defaults=True):
    """What is kept of one feature.

    Attributes:
        kind: "numeric" and "time" (microseconds UTC) are counted between edges, the others by category.
        n: All rows, whatever they hold.
        missing: Nulls.
        nan: Not-a-numbers, kept apart from nulls.
        infinite: Positive and negative infinities.
        invalid: Values that are not of the kind at all (a text in a number).
        edges: Inner edges of the cells (a, b], open at both ends.
        categories: The reference's most frequent categories, most frequent first.
        rest: Further categories the reference knows (reference only; windows are counted by them).
        counts: Rows per cell: len(edges) + 1, or len(categories) + 1, the last for the rest.
        unseen: Rows with a category the reference does not know.
        below: Rows under the reference's least value; `above` the same over its greatest.
        alone: Rows of the reference that would be unseen or out of range had they come after the others: categories seen
            once, a least or greatest value held by one row. It tells how often chance alone brings a new value.
        low: The reference's least value; `high` its greatest.
        scale: The reference's interquartile range, or its standard deviation.
        moments: Moments of the finite values.
        min: Least finite value of these rows; `max` their greatest.
    """

    kind: Kind
    n: int = 0
    missing: int = 0
    nan: int = 0
    infinite: int = 0
    invalid: int = 0
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    unseen: int = 0
    below: int = 0
    above: int = 0
    alone: int = 0
    low: float | None = None
    high: float | None = None
    scale: float | None = None
    moments: Moments = Moments()
    min: float | None = None
    max: float | None = None

    @property
    def absent(self) -> int:
        """Rows without a usable value: null, NaN or of the wrong kind."""
        return self.missing + self.nan + self.invalid

    @property
    def used(self) -> int:
        """Rows in the cells."""
        return sum(self.counts)

    def rate(self, rows: int) -> float | None:
        """A number of rows as a share of all rows, None without rows.

        Example:
            >>> FeatureProfile("numeric", n=4, missing=1).rate(1)
            0.25
        """
        return rows / self.n if self.n else None


class Profile(Struct, frozen=True):
    """Counts and moments of a set of rows, per feature.

    Attributes:
        n_rows: Rows counted.
        features: By feature name, in the order of the reference.
        method_version: How the cells were cut; profiles of different versions do not compare.
    """

    n_rows: int
    features: dict[str, FeatureProfile]
    method_version: str = METHOD_VERSION

    def __getitem__(self, name: str) -> FeatureProfile:
        return self.features[name]


def merge(a: Profile, b: Profile) -> Profile:
    """The profile of both sets of rows: counts exactly, moments up to rounding, in any order.

    Raises:
        InvalidArgument: If the two were not counted in the same cells.

    Example:
        >>> whole = Profile(1, {"x": FeatureProfile("boolean", n=1, counts=(1, 0))})
        >>> merge(whole, whole)["x"].counts
        (2, 0)
    """
    if a.method_version != b.method_version or a.features.keys() != b.features.keys():
        raise _different("features or method versions")
    merged = {name: _merge_feature(name, one, b.features[name]) for name, one in a.features.items()}
    return structs.replace(a, n_rows=a.n_rows + b.n_rows, features=merged)


def merge_all(parts: Iterable[Profile], reference: Profile) -> Profile:
    """The profile of all parts together; without a part, the empty profile in the reference's cells."""
    return reduce(merge, parts, empty_like(reference))


def empty_like(reference: Profile) -> Profile:
    """A profile of no rows, to be merged with windows of that reference."""
    return structs.replace(
        reference, n_rows=0, features={name: empty_feature(one) for name, one in reference.features.items()}
    )


def empty_feature(reference: FeatureProfile) -> FeatureProfile:
    """No rows, in the cells of a reference feature."""
    return FeatureProfile(
        kind=reference.kind,
        edges=reference.edges,
        categories=reference.categories,
        counts=(0,) * len(reference.counts),
        low=reference.low,
        high=reference.high,
        scale=reference.scale,
    )


def cells_differ(a: FeatureProfile, b: FeatureProfile) -> bool:
    """Whether two features were counted in different cells."""
    return a.edges != b.edges or a.categories != b.categories or len(a.counts) != len(b.counts)


def cells_id(profile: Profile) -> str:
    """A short name of the cells of a profile: equal for a reference and every window counted like it.

    Example:
        >>> one = Profile(1, {"x": FeatureProfile("numeric", edges=(1.0,), counts=(1, 0))})
        >>> cells_id(one) == cells_id(empty_like(one))
        True
    """
    cells = [(name, one.kind, one.edges, one.categories) for name, one in profile.features.items()]
    return hashlib.sha256(msgspec.json.encode((profile.method_version, cells))).hexdigest()[:16]


_ADDED = ("n", "missing", "nan", "infinite", "invalid", "unseen", "below", "above")
_SAME = ("kind", "edges", "categories", "low", "high", "scale")


def _merge_feature(name: str, a: FeatureProfile, b: FeatureProfile) -> FeatureProfile:
    if any(getattr(a, field) != getattr(b, field) for field in _SAME) or len(a.counts) != len(b.counts):
        raise _different(f"cells of feature {name!r}")
    changes: dict[str, Any] = {field: getattr(a, field) + getattr(b, field) for field in _ADDED}
    return structs.replace(
        a,
        counts=tuple(x + y for x, y in zip(a.counts, b.counts, strict=True)),
        moments=moments_.merge(a.moments, b.moments),
        min=_least(a.min, b.min),
        max=_greatest(a.max, b.max),
        rest=a.rest or b.rest,
        alone=max(a.alone, b.alone),
        **changes,
    )


def _least(a: float | None, b: float | None) -> float | None:
    return min((value for value in (a, b) if value is not None), default=None)


def _greatest(a: float | None, b: float | None) -> float | None:
    return max((value for value in (a, b) if value is not None), default=None)


def _different(what: str) -> InvalidArgument:
    return InvalidArgument(
        f"The two profiles have different {what}",
        expected="profiles counted like the same reference",
        hint="Count the rows again with profile_like(reference, rows).",
    )

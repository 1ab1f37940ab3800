"""Online against offline: logged feature vectors are computed again, and differences told apart: late data, or a defect.

Each vector is computed twice from the tables as they are now: *converged*, from all rows by their event times, and *as
known*, from those rows only that were known when the request came. A value is **equal** if it is the converged one, **late
data** if it is the one known then, and a **defect** if it is neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemill.core.errors import InvalidArgument
from tidemill.core.protocols import LoggedVectors
from tidemill.core.records.verifications import Difference, FeatureCheck
from tidemill.core.schema import Column
from tidemill.core.specs.features import FeatureService
from tidemill.core.specs.sources import Source
from tidemill.data.times import INSTANT
from tidemill.features.compiled import PREDICTION_TIME
from tidemill.features.encoding import encode_keys
from tidemill.features.kernel.timeline import Ints
from tidemill.features.offline import Read, on_demand, planned_features
from tidemill.features.plan import OnDemandPlan, ServicePlan, plan_service

Mask = NDArray[np.bool_]

EXACT = ("count", "unique_count", "min", "max", "first", "last", "first_k", "last_k", "mode")
"""Operations whose results are compared exactly; the others add up floats, in one order or another."""

RELATIVE = 1e-9
EXAMPLES = 3
"""How many differences of each kind are shown per feature."""

_STATES = 32
"""How many of the latest states within the lag a difference is compared with."""
_AT_ONCE = 20_000
_NULLS: dict[str, pl.DataType] = {
    "int64": pl.Int64(), "float64": pl.Float64(), "boolean": pl.Boolean(), "time": INSTANT, "string": pl.String(),
}  # fmt: skip


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """Logged vectors of a service, verified. Times in microseconds."""

    service: str
    since: int
    until: int
    sample: float
    endpoints: tuple[str, ...]
    rows: int
    """Vectors that were verified."""
    skipped: int
    """Vectors that other definitions than the present ones made, and that cannot be computed again."""
    features: tuple[FeatureCheck, ...]

    @property
    def defects(self) -> int:
        """Values that were neither the converged ones nor those known at the time."""
        return sum(feature.defects for feature in self.features)

    @property
    def late(self) -> int:
        """Values that were served before late rows had arrived."""
        return sum(feature.late for feature in self.features)


@dataclass(frozen=True)
class Consistency:
    """Verifies vectors of a service.

    Args:
        service: The service.
        request: What a caller sends; see `ServicePlan.request`.
        keys: The types of the keys among that.
        read: Gives the rows of a source's table.
        lag: How long after it was known a row may take to be online, microseconds.
        unique_ids: Whether no id comes twice in a source's rows; see `offline_features`.
    """

    service: FeatureService
    request: Sequence[Column]
    keys: dict[str, pl.DataType]
    read: Read
    lag: int
    unique_ids: bool = False

    def check(self, logged: LoggedVectors, sample: float) -> list[FeatureCheck]:
        """Compute the vectors of one endpoint again, and compare.

        Args:
            logged: The vectors.
            sample: Which share of the keys to take; see `sampled`.
        """
        asked = self._asked(logged.rows)
        chosen = sampled(asked.select(list(self.keys)), sample)
        asked, rows = asked.filter(chosen), logged.rows.filter(chosen)
        plan = plan_service(self.service, self._columns, asked.schema, PREDICTION_TIME, unique_ids=self.unique_ids)
        return list(_Comparison(self, plan, logged.endpoint, asked, rows).checks())

    def _columns(self, source: Source) -> pl.Schema:
        return self.read(source).collect_schema()

    def _asked(self, rows: pl.DataFrame) -> pl.DataFrame:
        """What the features were asked with."""
        types = {column.name: self.keys.get(column.name) or _NULLS.get(column.type) for column in self.request}
        types.pop(PREDICTION_TIME, None)
        return pl.DataFrame([rows[PREDICTION_TIME], *(_column(rows, name, dtype) for name, dtype in types.items())])


def _column(rows: pl.DataFrame, name: str, dtype: pl.DataType | None) -> pl.Series:
    for kept in (f"requested_{name}", name):
        if kept in rows.columns:
            return rows[kept].alias(name)
    # A column that held nothing but nulls is not among the captured ones.
    return pl.Series(name, [None], dtype or pl.Null()).new_from_index(0, rows.height)


class _Comparison:
    """Vectors of an endpoint beside what they should have been."""

    def __init__(
        self, consistency: Consistency, plan: ServicePlan, endpoint: str, asked: pl.DataFrame, rows: pl.DataFrame
    ) -> None:
        self._read, self._lag, self._keys = consistency.read, consistency.lag, list(consistency.keys)
        self._plan, self._endpoint, self._asked = plan, endpoint, asked
        self._received: Ints = rows["received_at"].cast(pl.Int64).to_numpy()
        self._tolerant = tolerant(plan)
        self._online = pl.DataFrame([_logged(rows, name, dtype) for name, dtype in plan.features.items()])
        self._derived = derived(plan, asked, self._online)

    def checks(self) -> Iterator[FeatureCheck]:
        """What became of each feature, in the order of the service."""
        converged = self._computed(self._asked)
        known = self._computed(self._asked, self._received)
        equal = {name: self._agree(name, converged) for name in self._online.columns}
        late = {name: ~equal[name] & self._agree(name, known) for name in equal}
        self._find_on_the_way(equal, late)
        for name, same in equal.items():
            defects = ~same & ~late[name]
            examples = [
                self._difference(kind, name, int(place), converged, known)
                for kind, mask in (("defect", defects), ("late data", late[name]))
                for place in np.flatnonzero(mask)[:EXAMPLES]
            ]
            yield FeatureCheck(
                feature=name, rows=len(same), equal=int(same.sum()), late=int(late[name].sum()),
                defects=int(defects.sum()), examples=tuple(examples),
            )  # fmt: skip

    def _computed(self, asked: pl.DataFrame, seen: Ints | None = None) -> pl.DataFrame:
        found = planned_features(self._plan, asked, PREDICTION_TIME, self._read, seen is not None, seen=seen)
        return found.select(list(self._plan.features))

    def _agree(self, name: str, computed: pl.DataFrame, which: Ints | None = None) -> Mask:
        """Where a feature is as computed, for all rows or for some."""
        online = self._online if which is None else self._online[which]
        same = agree(online[name], computed[name], RELATIVE if name in self._tolerant else 0.0)
        if name not in self._derived:
            return same
        inputs, follows = self._derived[name]
        near = [agree(online[one], computed[one], RELATIVE) for one in inputs]
        same |= np.all(near, axis=0) & (follows if which is None else follows[which])
        return same

    def _find_on_the_way(self, equal: dict[str, Mask], late: dict[str, Mask]) -> None:
        """Differences that are gone when a row may take a moment from being known to being online."""
        if not self._lag or not equal:
            return
        unexplained = np.flatnonzero(np.any([~equal[name] & ~late[name] for name in equal], axis=0))
        for begin in range(0, len(unexplained), _AT_ONCE):
            rows = unexplained[begin : begin + _AT_ONCE]
            which, moments = self._states(rows)
            computed = self._computed(self._asked[which], moments)
            for name in equal:
                explained = np.unique(which[self._agree(name, computed, which)])
                late[name][explained] |= ~equal[name][explained]

    def _states(self, rows: Ints) -> tuple[Ints, Ints]:
        """The moments within the lag before each request at which something became known, and the one before them."""
        received = self._received[rows]
        created = self._created(int(received.min()) - self._lag, int(received.max()))
        pairs: list[tuple[int, int]] = []
        for row, moment in zip(rows.tolist(), received.tolist(), strict=True):
            low, high = np.searchsorted(created, [moment - self._lag, moment], side="right")
            pairs.append((row, moment - self._lag))
            pairs += [(row, int(known)) for known in created[max(low, high - _STATES) : high]]
        which, moments = np.array(pairs, np.int64).T
        return which, moments

    def _created(self, low: int, high: int) -> Ints:
        """When rows of the service's sources became known, in (low, high], ascending."""
        created = pl.col("created_ts").cast(pl.Int64)
        found = [
            self._read(source).select(created).filter(created.is_between(low, high, closed="right")).unique()
            for source in {use.use.view.source.name: use.use.view.source for use in self._plan.uses}.values()
        ]
        if not found:
            return np.empty(0, np.int64)
        return pl.concat(found).unique().sort("created_ts").collect()["created_ts"].to_numpy()

    def _difference(
        self, kind: Any, name: str, place: int, converged: pl.DataFrame, known: pl.DataFrame
    ) -> Difference:  # fmt: skip
        return Difference(
            kind=kind, endpoint=self._endpoint, keys=self._asked.select(self._keys).row(place, named=True),
            time=self._asked[PREDICTION_TIME][place], received_at=int(self._received[place]),
            online=_plain(self._online[name][place]), converged=_plain(converged[name][place]),
            known_at=_plain(known[name][place]),
        )  # fmt: skip


def _logged(rows: pl.DataFrame, name: str, dtype: pl.DataType) -> pl.Series:
    """A feature as it was served, in the type it has; captures widen numbers, and leave out columns of nulls only."""
    kind = pl.String() if dtype in (pl.Categorical, pl.Enum) else dtype
    if name not in rows.columns:
        return pl.Series(name, [None], kind).new_from_index(0, rows.height)
    return rows[name].cast(kind, strict=False)


def _plain(value: Any) -> Any:
    return value.to_list() if isinstance(value, pl.Series) else value


def tolerant(plan: ServicePlan) -> set[str]:
    """The features of a service that are results of adding floats."""
    return {
        use.names[feature]
        for use in plan.uses
        for aggregate in use.use.view.aggregates
        if aggregate.operation not in EXACT
        for feature, _ in aggregate.features()
    }


def derived(
    plan: ServicePlan, asked: pl.DataFrame, online: pl.DataFrame
) -> dict[str, tuple[tuple[str, ...], Mask]]:  # fmt: skip
    """The on-demand features that read results of adding floats: nothing says how far these may be off in turn.

    A difference of two equal means is 0 or the last place of either. Such a feature is right where what it reads is, and it
    follows from that.

    Args:
        plan: The service.
        asked: What the features were asked with.
        online: The features that were served.

    Returns:
        Feature -> those results, and where it is what its transform makes of the served ones.
    """
    near = tolerant(plan)
    found: dict[str, tuple[tuple[str, ...], Mask]] = {}
    for part in plan.parts:
        inputs = tuple(name for name in part.stored if name in near) if isinstance(part, OnDemandPlan) else ()
        if isinstance(part, OnDemandPlan) and inputs:
            stored = {name: online[name].cast(part.given[name], strict=False) for name in part.stored}
            made = on_demand(part, asked, stored)
            found |= {name: (inputs, agree(online[name], made[name])) for name in part.types}
    return found


def agree(online: pl.Series, computed: pl.Series, relative: float = 0.0) -> Mask:
    """Where two columns hold the same: null and NaN are only themselves.

    Args:
        online: The values that were served.
        computed: The values as they should be.
        relative: How much floats may differ, relative to the larger of the two.

    Example:
        >>> agree(pl.Series([1.0, None, 2.0]), pl.Series([1.0 + 1e-12, None, None]), 1e-9).tolist()
        [True, True, False]
    """
    if computed.dtype in (pl.Categorical, pl.Enum):
        computed = computed.cast(pl.String)
    same = online.eq_missing(computed)
    if relative and computed.dtype.is_float():
        larger = pl.DataFrame([online.abs().alias("a"), computed.abs().alias("b")]).max_horizontal()
        same = same | ((online - computed).abs() <= relative * larger).fill_null(False)
    return same.to_numpy().copy()


def sampled(keys: pl.DataFrame, share: float) -> pl.Series:
    """Which rows belong to a sample of keys: of a key all rows or none, and always the same keys.

    Where few keys are there, a small share may hold none of them: then it is the one that comes first in every sample.

    Args:
        keys: The key columns.
        share: Which share of the keys, above 0 up to 1.

    Raises:
        InvalidArgument: The share is no share.

    Example:
        >>> keys = pl.DataFrame({"k": [1, 2, 1, 3]})
        >>> chosen = sampled(keys, 0.5)
        >>> chosen[0] == chosen[2], sampled(keys, 1.0).all()
        (True, True)
    """
    if not 0 < share <= 1:
        raise InvalidArgument(f"sample {share} is no share of the keys", expected="above 0, up to 1")
    if share == 1 or not keys.width:
        return pl.Series([True]).new_from_index(0, keys.height)
    parts = encode_keys(keys.get_columns())
    places = [int.from_bytes(hashlib.blake2b(part or b"", digest_size=8).digest()) for part in parts]
    bound = max(int(share * 2**64), min(places, default=0) + 1)
    return pl.Series([place < bound for place in places], dtype=pl.Boolean)


def merged(checks: Iterable[Sequence[FeatureCheck]]) -> tuple[FeatureCheck, ...]:
    """The checks of several endpoints as one."""
    found: dict[str, FeatureCheck] = {}
    for check in (one for some in checks for one in some):
        before = found.get(check.feature)
        found[check.feature] = check if before is None else _added(before, check)
    return tuple(found.values())


def _added(a: FeatureCheck, b: FeatureCheck) -> FeatureCheck:
    both = [*a.examples, *b.examples]
    kinds = [[one for one in both if one.kind == kind][:EXAMPLES] for kind in ("defect", "late data")]
    return FeatureCheck(
        feature=a.feature, rows=a.rows + b.rows, equal=a.equal + b.equal, late=a.late + b.late,
        defects=a.defects + b.defects, examples=tuple(one for some in kinds for one in some),
    )  # fmt: skip

"""Reading the metrics of runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tidemill.core.records.runs import MetricPoint
from tidemill.stores.metadata.protocol import Reader, Where
from tidemill.tracking.values import value_of

_IDS_PER_QUERY = 500


def latest_metrics(
    reader: Reader, run_ids: Sequence[str], names: Iterable[str] | None = None
) -> dict[str, dict[str, float]]:
    """The latest value of each metric of some runs: the greatest by step, then time, then value.

    Args:
        reader: The snapshot to read from.
        run_ids: The runs.
        names: Only these metrics; all when absent.

    Returns:
        Run id -> metric -> value; a run without metrics has an empty mapping.
    """
    found: dict[str, dict[str, MetricPoint]] = defaultdict(dict)
    for point in _points(reader, run_ids, names):
        best = found[point.run_id].get(point.name)
        if best is None or _rank(point) > _rank(best):
            found[point.run_id][point.name] = point
    return {
        run_id: {name: value_of(point) for name, point in sorted(found.get(run_id, {}).items())} for run_id in run_ids
    }


def _points(reader: Reader, run_ids: Sequence[str], names: Iterable[str] | None) -> Iterator[MetricPoint]:
    only: Where = {} if names is None else {"name": sorted(names)}
    for start in range(0, len(run_ids), _IDS_PER_QUERY):
        yield from reader.find(MetricPoint, {"run_id": list(run_ids[start : start + _IDS_PER_QUERY]), **only})


def _rank(point: MetricPoint) -> tuple[int, int, bool, float]:
    # NaN compares with nothing: at the same step and time any number is later than it.
    value = value_of(point)
    return (point.step, point.at, value == value, value if value == value else 0.0)


def curves(points: Iterable[MetricPoint]) -> Mapping[str, list[MetricPoint]]:
    """Points by metric, each in the order of steps, times and values."""
    result: dict[str, list[MetricPoint]] = defaultdict(list)
    for point in points:
        result[point.name].append(point)
    return {name: sorted(result[name], key=_rank) for name in sorted(result)}

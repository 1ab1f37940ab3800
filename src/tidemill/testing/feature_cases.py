"""Runs files of point-in-time cases through the real feature code.

    python -m tidemill.testing.feature_cases FILE.json --path offline [--engine local|ray|dask|spark|URL]
    python -m tidemill.testing.feature_cases FILE.json --path online [--online lmdb|memory|redis|URL]

Each case becomes sources, feature views and a feature service; the spine is answered by the offline path, or row by row by the
online store at the row's time. The format is that of `pit_cases.json`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from tidemill.core.clock import ManualClock
from tidemill.core.errors import InvalidArgument
from tidemill.core.scope import Scope
from tidemill.core.specs.aggregates import Aggregate, Window
from tidemill.core.specs.changes import Changes
from tidemill.core.specs.features import FeatureService, FeatureView, ViewUse
from tidemill.core.specs.sources import Source
from tidemill.core.times import to_micros
from tidemill.engines.open import open_engine
from tidemill.engines.protocol import Engine
from tidemill.features.offline import offline_features
from tidemill.features.online import Online
from tidemill.stores.online.protocol import OnlineStore
from tidemill.stores.registry import open_store

SPINE_TIME = "spine_time"
KINDS = ("asof", "window", "changelog")
_UTC = pl.Datetime("us", "UTC")
_OPERATIONS = {"avg": "mean"}
_FLOATS = ("mean", "stddev_samp", "stddev_pop", "var_samp", "var_pop")


@dataclass(frozen=True)
class Case:
    """A case as Tidemill's own definitions and tables."""

    service: FeatureService
    spine: pl.DataFrame
    tables: Mapping[str, pl.DataFrame]
    outputs: Mapping[str, str]
    """Full feature name -> the case's name of it."""

    def read(self, source: Source) -> pl.LazyFrame:
        """The rows of a source."""
        return self.tables[source.name].lazy()


Answer = Callable[[Case], pl.DataFrame]


def build(case: Mapping[str, Any]) -> Case:
    """The definitions and tables of a case.

    Columns get names of their own (`c_...`), so that none meets a name Tidemill gives.

    Raises:
        InvalidArgument: The case asks for something there is no definition for.
    """
    spec = case["spec"]
    tables: dict[str, pl.DataFrame] = {}
    uses: list[ViewUse] = []
    outputs: dict[str, str] = {}
    for number, view in enumerate(spec["views"]):
        rows = [row for row in case["feature_rows"] if row.get("view", view["name"]) == view["name"]]
        use = _use(view, f"v{number}")
        tables[use.view.source.name] = _table(rows, view)
        uses.append(use)
        outputs |= {use.full_name(f"f{place}"): feature["out"] for place, feature in enumerate(view["features"])}
    spine = _frame(case["entity_rows"], [column for view in spec["views"] for column in view["keys"]])
    times = [_micros(row[spec["spine_ts"]]) for row in case["entity_rows"]]
    spine = spine.with_columns(pl.Series(SPINE_TIME, times, dtype=pl.Int64).cast(_UTC))
    return Case(FeatureService(uses, name="case"), spine, tables, outputs)


def _use(view: Mapping[str, Any], name: str) -> ViewUse:
    if view["kind"] not in KINDS:
        raise InvalidArgument(f"{view['kind']!r} is no kind of view", known=KINDS)
    windowed = view["kind"] != "asof"
    event_id = view.get("dedup_key") if view["kind"] == "window" else None
    source = Source(
        f"s_{name}", time=_named(view["event_ts"]), id=None if event_id is None else _named(event_id),
        created=_named(view["known_ts"]) if view.get("known_ts") else None,
        changes=Changes(_named("op")) if view["kind"] == "changelog" else None,
    )  # fmt: skip
    features = view["features"]
    keys = {_named(column): f"spine_{spine}" for spine, column in view["keys"].items()}
    definition = FeatureView(
        None if windowed else _selecting({f"f{i}": _named(feature["col"]) for i, feature in enumerate(features)}),
        source=source, keys=list(keys), known_at=bool(view.get("known_filter")), name=name,
        ttl=None if windowed else _duration(view.get("ttl_s")) or None,
        aggregates=[_aggregate(feature, f"f{i}") for i, feature in enumerate(features)] if windowed else (),
    )  # fmt: skip
    return definition.on(**keys)


def _selecting(columns: Mapping[str, str]) -> Callable[[pl.LazyFrame], pl.LazyFrame]:
    return lambda rows: rows.select(pl.col(column).alias(name) for name, column in columns.items())


def _aggregate(feature: Mapping[str, Any], name: str) -> Aggregate:
    size = feature.get("window_s")
    window = Window(
        None if size is None else _duration(size), feature.get("mode") or "exact", _duration(feature.get("hop_s")),
        _duration(feature.get("offset_s")),
    )  # fmt: skip
    operation = _OPERATIONS.get(feature["op"], feature["op"])
    return Aggregate(operation, _named(feature["col"]), (window,), int(feature.get("k") or 0), name)


def _named(column: str) -> str:
    return f"c_{column}"


def _duration(seconds: float | None) -> int:
    return round((seconds or 0) * 1_000_000)


def _micros(value: Any) -> int | None:
    return None if value is None else to_micros(value)


def _table(rows: Sequence[Mapping[str, Any]], view: Mapping[str, Any]) -> pl.DataFrame:
    known = view.get("known_ts")
    inputs = [feature["col"] for feature in view["features"]]
    op = "op" if view["kind"] == "changelog" else None
    wanted = [*view["keys"].values(), view["event_ts"], *inputs, *filter(None, [known, view.get("dedup_key"), op])]
    columns = {_named(name): _series([row.get(name) for row in rows]) for name in dict.fromkeys(wanted)}
    events = [_micros(row.get(view["event_ts"])) for row in rows]
    created = [_micros(row.get(known)) if known else None for row in rows]
    return pl.DataFrame(columns).with_columns(
        pl.Series("event_ts", events, dtype=pl.Int64).cast(_UTC),
        pl.Series("created_ts", created, dtype=pl.Int64).cast(_UTC),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("ingest_seq"),
    )


def _frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame({f"spine_{name}": _series([row.get(name) for row in rows]) for name in dict.fromkeys(columns)})


def _series(values: list[Any]) -> pl.Series:
    """A column of JSON values; integers beside floats are floats."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return pl.Series([None if value is None else float(value) for value in values], dtype=pl.Float64)
    return pl.Series(values, strict=True)


# -- running ---------------------------------------------------------------------------------------


def run(case: Mapping[str, Any], answer: Answer) -> list[str]:
    """What is wrong with the answers to a case; empty when nothing is."""
    built = build(case)
    found = answer(built)
    if found.height != len(case["expected"]):
        return [f"{found.height} rows instead of {len(case['expected'])}"]
    return list(_differences(case, built, found))


def _differences(case: Mapping[str, Any], built: Case, found: pl.DataFrame) -> Iterator[str]:
    outputs = {out: full for full, out in built.outputs.items()}
    inexact = _inexact(case)
    for place, expected in enumerate(case["expected"]):
        for out, value in expected.items():
            got = found[outputs[out]][place] if out in outputs else "no such output"
            got = got.to_list() if isinstance(got, pl.Series) else got
            if not same(got, value, integral=out not in inexact):
                yield f"row {place}: {out} is {got!r}, expected {value!r}"


def _inexact(case: Mapping[str, Any]) -> set[str]:
    """Outputs that are floats whatever JSON writes: means, deviations, and those of columns with floats among integers."""
    floats: set[str] = set()
    for view in case["spec"]["views"]:
        rows = [row for row in case["feature_rows"] if row.get("view", view["name"]) == view["name"]]
        for feature in view["features"]:
            operation = _OPERATIONS.get(feature["op"], feature["op"])
            mixed = any(isinstance(row.get(feature["col"]), float) for row in rows)
            floats |= {feature["out"]} if operation in _FLOATS or mixed else set()
    return floats


def same(got: Any, expected: Any, *, integral: bool = True) -> bool:
    """Whether an answer is the expected one: floats within 1e-9, everything else exactly, null and NaN only themselves.

    Args:
        got: The answer.
        expected: What the case says.
        integral: Whether an expected integer must be an integer.

    Example:
        >>> same(2.0, 2), same(2.0, 2, integral=False), same(None, float("nan"))
        (False, True, False)
    """
    if isinstance(expected, list):
        return isinstance(got, list) and len(got) == len(expected) and all(
            same(a, b, integral=integral) for a, b in zip(got, expected, strict=True)
        )  # fmt: skip
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (got, expected))
    if numbers and (isinstance(expected, float) or not integral):
        return _close(float(got), float(expected))
    return type(got) is type(expected) and bool(got == expected)


def _close(got: float, expected: float) -> bool:
    if math.isnan(expected):
        return math.isnan(got)
    return got == expected or abs(got - expected) <= 1e-9


def offline(case: Case, engine: Engine | None = None) -> pl.DataFrame:
    """The answers of the offline path, by an engine if there is one."""
    return offline_features(case.service, case.spine, SPINE_TIME, case.read, engine=engine)


def online(case: Case, url: str = "lmdb:") -> pl.DataFrame:
    """The answers of an online store that was filled from the case's tables, each at the row's time."""
    with TemporaryDirectory() as folder:
        store: OnlineStore = open_store("online", url, Path(folder))
        views = [use.view for use in case.service.uses]
        found = Online(Scope("cases", "runner", ManualClock(0)), read=case.read, store=store)
        try:
            found.materialize(views)
            return found.lookup(case.service, case.spine, case.spine[SPINE_TIME])
        finally:
            found.remove(views)
            store.close()


PATHS: Mapping[str, Answer] = {"offline": offline, "online": online}
STORES = {"lmdb": "lmdb:", "memory": "memory:", "redis": "redis://127.0.0.1:6379/0?prefix=tidemill-cases"}
"""Short names of online stores; any URL does as well."""


@contextmanager
def _answering(
    parser: argparse.ArgumentParser, options: argparse.Namespace
) -> Iterator[Callable[[Case], pl.DataFrame]]:  # fmt: skip
    """What answers, as it was asked for."""
    if options.engine and options.path != "offline":
        parser.error("--engine runs the offline path only")
    if options.online and options.path != "online":
        parser.error("--online is the store of the online path only")
    if options.online:
        yield partial(online, url=STORES.get(options.online, options.online))
    elif options.engine:
        with closing(open_engine(options.engine if ":" in options.engine else f"{options.engine}:")) as engine:
            yield partial(offline, engine=engine)
    else:
        yield PATHS[options.path]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a file of cases; the last line is `N passed, M failed`.

    Returns:
        0 if every case passed, else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m tidemill.testing.feature_cases", description=__doc__)
    parser.add_argument("file", type=Path, help="a JSON file of cases")
    parser.add_argument("--path", choices=list(PATHS), default="offline", help="which path answers")
    parser.add_argument("--engine", help="who runs the offline path: local, ray, dask, spark, or a URL")
    parser.add_argument(
        "--online", help=f"the store of the online path: {', '.join(STORES)} (lmdb if absent), or a URL"
    )
    options = parser.parse_args(arguments)
    try:
        cases = json.loads(options.file.read_text(encoding="utf-8"))["cases"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(f"{options.file} is no file of cases: {type(error).__name__}: {error}")
    with _answering(parser, options) as answer:
        passed = sum([_report(case, answer) for case in cases])
    print(f"{passed} passed, {len(cases) - passed} failed")
    return 0 if passed == len(cases) else 1


def _report(case: Mapping[str, Any], answer: Answer) -> bool:
    try:
        problems = run(case, answer)
    except Exception as error:  # noqa: BLE001 - a case that cannot be run is a failed case, and the others go on
        problems = [f"{type(error).__name__}: {error}"]
    print(f"{'FAILED' if problems else 'passed'} {case.get('name', '?')}")
    for problem in problems:
        print(f"    {problem}")
    return not problems


if __name__ == "__main__":
    sys.exit(main())

"""Windowed aggregates of a feature view.

Windows are half-open, `[t - W, t)`: an event at the prediction time itself never counts. `hop=` trades exactness for bounded
memory, `offset=` shifts both ends, `over=None` means everything before t, `over=tm.calendar(...)` is a calendar's day or month.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from tidemill.core.errors import InvalidArgument
from tidemill.core.ids import digest_text
from tidemill.core.specs.windows import MODES, AnyWindow, CalendarWindow
from tidemill.core.specs.windows import Window as Window
from tidemill.core.times import Duration, parse_duration

if TYPE_CHECKING:
    import polars as pl

OPERATIONS = (
    "count", "unique_count", "sum", "mean", "min", "max", "first", "last", "first_k", "last_k",
    "stddev_samp", "stddev_pop", "var_samp", "var_pop",
    "rate", "sum_rate", "ewma", "median", "mode", "approx_quantile", "approx_unique_count",
)  # fmt: skip


@dataclass(frozen=True)
class Condition:
    """Which rows an aggregate is over. Conditions of one text are equal.

    Args:
        text: The expression, serialized.
        expression: A boolean Polars expression over the transformed row.
    """

    text: str
    expression: pl.Expr = field(compare=False, repr=False)


@dataclass(frozen=True)
class Aggregate:
    """One aggregate over one or several windows.

    Args:
        operation: One of `OPERATIONS`.
        column: The column it is over.
        windows: The windows.
        k: How many values it keeps.
        alias: What its features are called instead of `COLUMN_OPERATION`.
        arguments: What else the operation takes: `rate`, `sum_rate`: the time it is per; `ewma`: the half-life;
            `approx_quantile`: the quantile, the relative error, and up to how many values it is exact;
            `approx_unique_count`: the binary logarithm of the number of registers.
        where: Which rows it is over.
        by: A column: one feature for each of the categories.
        categories: Values of that column.
    """

    operation: str
    column: str
    windows: tuple[AnyWindow, ...]
    k: int = 0
    alias: str | None = None
    arguments: tuple[float, ...] = ()
    where: Condition | None = None
    by: str | None = None
    categories: tuple[str | int, ...] = ()

    @property
    def input(self) -> str:
        """The column of a view's rows that holds its values: null where a row does not count."""
        if self.where is None and self.by is None:
            return self.column
        which = (self.where.text if self.where else "", self.by or "", repr(self.categories))
        return f"{self.column}\0{digest_text(*which)[:16]}"

    def split(self) -> tuple[Aggregate, ...]:
        """Itself, once for each category."""
        if len(self.categories) < 2:
            return (self,)
        return tuple(replace(self, categories=(category,)) for category in self.categories)

    def features(self) -> Iterator[tuple[str, AnyWindow]]:
        """Feature names without the view's prefix, each with its window."""
        base = self.alias or f"{self.column}_{self._stem()}"
        for part in self.split():
            name = "_".join([base, *map(_slug, part.categories)])
            for window in self.windows:
                single = self.alias is not None and len(self.windows) == 1
                yield (name if single else f"{name}_{window.label}"), window

    def _stem(self) -> str:
        if self.operation == "approx_quantile":
            return f"approx_quantile_{self.arguments[0]:g}".replace(".", "_")
        return f"{self.operation}{self.k or ''}"

    def describe(self) -> list[Any]:
        """What makes it differ from other aggregates, as plain JSON."""
        plain = [self.operation, self.column, [window.describe() for window in self.windows], self.k, self.alias]
        condition = None if self.where is None else self.where.text
        more = [list(self.arguments), condition, self.by, list(self.categories)]
        return [*plain, *more] if any(more) else plain


def _slug(category: str | int) -> str:
    return re.sub(r"[^0-9A-Za-z]+", "_", str(category))


class Options(TypedDict, total=False):
    """What every aggregate takes besides its column and `over=`."""

    hop: Duration | None
    """How far apart the moments are that windows are cut at; alone it makes them sawtooth windows."""
    offset: Duration
    """How far both ends are moved into the past."""
    mode: Literal["exact", "sawtooth", "hopping", "tumbling"] | None
    """The kind of window. Tumbling windows are the last whole ones of those that lie end to end from 1970 on."""
    name: str | None
    """What the feature is called instead of `COLUMN_OPERATION_WINDOW`; with several windows, their label follows it."""
    where: pl.Expr | None
    """Only rows for which this expression over the transformed row, and nothing but that row, is true."""
    by: str | None
    """A column of the transformed row: one feature for each of the categories."""
    categories: Sequence[str | int] | None
    """The values of that column that get a feature, in order: a model has the same columns every time."""


Over = Duration | CalendarWindow | Sequence[Duration | CalendarWindow | None] | None
"""One or several windows: durations, calendar windows, None for everything before t."""


def _aggregate(
    operation: str, column: str, over: Any, options: Options, *, k: int = 0, arguments: tuple[float, ...] = ()
) -> Aggregate:
    unknown = set(options) - set(Options.__annotations__)
    if unknown:
        raise InvalidArgument(
            f"{operation}({column!r}) takes no {sorted(unknown)[0]!r}", known=list(Options.__annotations__)
        )
    sizes: list[Any] = list(over) if isinstance(over, list | tuple) else [over]
    if not sizes:
        raise InvalidArgument(f"{operation}({column!r}) has no window", expected='over="24h" or a list of durations')
    what = f"{operation}({column!r})"
    windows = tuple(_window(what, size, options) for size in sizes)
    by, categories = _categories(what, options)
    return Aggregate(operation, column, windows, k, options.get("name"), arguments, _condition(what, options), by,
                     categories)  # fmt: skip


def _window(what: str, size: Any, options: Options) -> AnyWindow:
    hop, offset = options.get("hop"), parse_duration(options.get("offset", 0))
    kind = options.get("mode") or ("exact" if hop is None else "sawtooth")
    if kind not in MODES:
        raise InvalidArgument(f"mode {kind!r} is unknown", known=MODES)
    if isinstance(size, CalendarWindow):
        if offset or kind != "exact":
            raise InvalidArgument(f"{what} has a calendar window with a hop, mode or offset",
                                  hint="Calendar windows begin and end with their periods")  # fmt: skip
        return size
    micros, step = _size(what, size), 0 if hop is None else parse_duration(hop)
    if kind == "tumbling":
        if micros is None or hop is not None:
            raise InvalidArgument(f"{what} has tumbling windows {'of no length' if micros is None else 'with a hop'}",
                                  expected='over="24h", mode="tumbling"')  # fmt: skip
    elif kind != "exact" and step <= 0:
        raise InvalidArgument(f"{what} has mode {kind!r} without a hop", expected='hop="5m"')
    return Window(micros, kind, step, offset)


def _size(what: str, size: Duration | None) -> int | None:
    if size is None:
        return None
    micros = parse_duration(size)
    if micros == 0:
        raise InvalidArgument(f"{what} has a window of length zero")
    return micros


def _condition(what: str, options: Options) -> Condition | None:
    expression = options.get("where")
    if expression is None:
        return None
    if not hasattr(expression, "meta"):
        raise InvalidArgument(
            f"{what} has where={expression!r}", expected='a Polars expression such as pl.col("amount") > 0'
        )
    text = expression.meta.serialize(format="json")
    if '{"AnonymousFunction"' in text:
        raise InvalidArgument(f"{what} has a filter that calls a Python function", expected="Polars expressions only",
                              hint="Make a boolean column of it in the view's transform, and filter by that")  # fmt: skip
    return Condition(text, expression)


def _categories(what: str, options: Options) -> tuple[str | None, tuple[str | int, ...]]:
    by: str | None = options.get("by")
    categories: tuple[Any, ...] = tuple(options.get("categories") or ())
    if (by is None) != (not categories):
        given = f"by={by!r} without categories" if by is not None else "categories without by="
        raise InvalidArgument(f"{what} has {given}", expected='by="kind", categories=["card", "cash"]',
                              hint="A model needs the same columns every time, so the categories are listed")  # fmt: skip
    wrong = [category for category in categories if not isinstance(category, str | int)]
    if wrong:
        raise InvalidArgument(f"{what} has the category {wrong[0]!r}", expected="texts, integers or booleans")
    names = [_slug(category) for category in categories]
    twice = [category for category, name in zip(categories, names, strict=True) if names.count(name) > 1]
    if twice:
        raise InvalidArgument(f"{what} has categories of one name: {', '.join(map(repr, twice))}",
                              hint="Features are named after the letters and digits of a category")  # fmt: skip
    return by, categories


def count(column: str, over: Over = None, **options: Unpack[Options]) -> Aggregate:
    """How many values there are; 0 in an empty window. See `Options` for what all aggregates take.

    Example:
        >>> [feature for feature, _ in count("paid", over="7d", by="kind", categories=["card", "cash"]).features()]
        ['paid_count_card_7d', 'paid_count_cash_7d']
    """
    return _aggregate("count", column, over, options)


def unique_count(column: str, over: Over = None, **options: Unpack[Options]) -> Aggregate:
    """How many different values there are, exactly; 0 in an empty window."""
    return _aggregate("unique_count", column, over, options)


def sum(column: str, over: Over = None, **options: Unpack[Options]) -> Aggregate:
    """The sum of the values; null in an empty window."""
    return _aggregate("sum", column, over, options)


def mean(column: str, over: Over = None, **options: Unpack[Options]) -> Aggregate:
    """The mean of the values; null in an empty window. Of a boolean: the share of true.

    Example:
        >>> [feature for feature, _ in mean("late", over=["1h", "3h"]).features()]
        ['late_mean_1h', 'late_mean_3h']
    """
    return _aggregate("mean", column, over, options)


def min(column: str, over: Over = None, **options: Unpack[Options]) -> Aggregate:
    """The smallest value; null in an empty window."""
    return _aggregate("min", column, over, options)


def max(column: str, over: Over = None, **options: Unpack[Options]) -> Aggregate:
    """The largest value; null in an empty window."""
    return _aggregate("max", column, over, options)


def first(column: str, over: Over = None, **options: Unpack[Options]) -> Aggregate:
    """The oldest value, by event time, time known and order of arrival."""
    return _aggregate("first", column, over, options)


def last(column: str, over: Over = None, **options: Unpack[Options]) -> Aggregate:
    """The newest value, by event time, time known and order of arrival."""
    return _aggregate("last", column, over, options)


def first_k(column: str, k: int, over: Over = None, **options: Unpack[Options]) -> Aggregate:
    """The k oldest values, oldest first; an empty list in an empty window."""
    return _aggregate("first_k", column, over, options, k=_positive(k))


def last_k(column: str, k: int, over: Over = None, **options: Unpack[Options]) -> Aggregate:
    """The k newest values, newest first; an empty list in an empty window."""
    return _aggregate("last_k", column, over, options, k=_positive(k))


def stddev(column: str, over: Over = None, *, population: bool = False, **options: Unpack[Options]) -> Aggregate:
    """The standard deviation: of the sample (n - 1, null for one value) or of the population (n)."""
    return _aggregate("stddev_pop" if population else "stddev_samp", column, over, options)


def variance(column: str, over: Over = None, *, population: bool = False, **options: Unpack[Options]) -> Aggregate:
    """The variance: of the sample (n - 1, null for one value) or of the population (n)."""
    return _aggregate("var_pop" if population else "var_samp", column, over, options)


def median(column: str, over: Over = None, **options: Unpack[Options]) -> Aggregate:
    """The median, exactly: the middle value, or the mean of the two in the middle; null in an empty window."""
    return _aggregate("median", column, over, options)


def mode(column: str, over: Over = None, **options: Unpack[Options]) -> Aggregate:
    """The most frequent value; of several the one that came last. Null in an empty window.

    Takes time in proportion to the events of all windows asked for.
    """
    return _aggregate("mode", column, over, options)


def rate(
    column: str, over: Over, *, per: Duration = "1s", of: Literal["count", "sum"] = "count", **options: Unpack[Options]
) -> Aggregate:
    """How many values there are, or what they sum to, per time: divided by the length the window really has.

    That length is W of `[t - W, t)`; of a sawtooth window it is up to a hop more; of the current period of a calendar
    it is how much of it is over, and null is the answer as long as that is nothing.

    Args:
        column: The column.
        over: The windows; not all of the past, which has no length.
        per: The unit of time.
        of: `count` (0 in an empty window) or `sum` (null in an empty window).
        options: See `Options`.

    Example:
        >>> [feature for feature, _ in rate("amount", over="24h", per="1h", of="sum").features()]
        ['amount_sum_rate_24h']
    """
    if of not in ("count", "sum"):
        raise InvalidArgument(f"rate({column!r}) is of {of!r}", known=["count", "sum"])
    micros = parse_duration(per)
    if micros == 0:
        raise InvalidArgument(f"rate({column!r}) is per no time", expected='per="1s"')
    made = _aggregate("rate" if of == "count" else "sum_rate", column, over, options, arguments=(micros,))
    if any(isinstance(window, Window) and window.size is None for window in made.windows):
        raise InvalidArgument(f"rate({column!r}) is over all of the past, which has no length", expected='over="1h"')
    return made


def ewma(column: str, over: Over = None, *, half_life: Duration, **options: Unpack[Options]) -> Aggregate:
    """The mean with weights that halve with every half-life of age; null in an empty window.

    An event at time e weighs 2^(-(t - e) / half_life), and the weights are divided by their sum: without new events the value
    stays, and events at irregular times count by their age, not by their number.

    Args:
        column: The column.
        over: The windows; None for all of the past.
        half_life: The age at which a value weighs half.
        options: See `Options`.
    """
    micros = parse_duration(half_life)
    if micros == 0:
        raise InvalidArgument(f"ewma({column!r}) has a half-life of zero", hint="Use last for the newest value")
    return _aggregate("ewma", column, over, options, arguments=(micros,))


def approx_quantile(
    column: str, q: float, over: Over = None, *, relative_error: float = 0.01, exact_up_to: int = 256,
    **options: Unpack[Options],
) -> Aggregate:  # fmt: skip
    """The value of rank `floor(q * (n - 1))` of n values in ascending order, to a relative error; null in an empty window.

    Windows of up to `exact_up_to` values give the value itself. In larger ones values are counted in buckets that grow by a
    constant factor, and a bucket answers with a value at most `relative_error` from each it holds. Counts of buckets add
    up, so parts of a window give the same answer as the whole, in any order: online equals offline exactly.
    (DDSketch, without a limit on buckets: Masson, Rim and Lee, VLDB 2019.)

    Args:
        column: The column.
        q: The quantile, from 0 to 1.
        over: The windows.
        relative_error: How far an answer may be from the value of that rank, as a share of it.
        exact_up_to: Up to how many values there is no error at all.
        options: See `Options`.
    """
    if not 0 <= q <= 1:
        raise InvalidArgument(f"approx_quantile({column!r}) has q = {q}", expected="q between 0 and 1")
    if not 1e-6 <= relative_error < 1:
        raise InvalidArgument(
            f"approx_quantile({column!r}) has a relative error of {relative_error}", expected="between 1e-6 and 1"
        )
    arguments = (q, relative_error, exact_up_to)
    return _aggregate("approx_quantile", column, over, options, arguments=arguments)


def approx_unique_count(
    column: str, over: Over = None, *, precision: int = 12, **options: Unpack[Options]
) -> Aggregate:
    """About how many different values there are, by HyperLogLog; 0 in an empty window.

    The standard error is 1.04 / sqrt(2^precision): 1.6 % of the count for the default, 0.8 % for 14, with 2^precision bytes
    of memory however many values there are. `unique_count` is exact.
    (Flajolet et al., 2007; estimated as in Ertl, arXiv:1702.01284, which needs no correction for small counts.)

    Args:
        column: The column.
        over: The windows.
        precision: The binary logarithm of the number of registers, from 4 to 16.
        options: See `Options`.
    """
    if not 4 <= precision <= 16:
        raise InvalidArgument(
            f"approx_unique_count({column!r}) has precision {precision}", expected="an integer from 4 to 16"
        )
    return _aggregate("approx_unique_count", column, over, options, arguments=(precision,))


def _positive(k: int) -> int:
    if k < 1:
        raise InvalidArgument(f"k = {k} keeps no value", expected="k of at least 1")
    return k

"""Offline features through an engine: the rows of some keys and the questions of the same keys, wherever they meet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tidemill.core.errors import Unavailable
from tidemill.core.specs.aggregates import Aggregate
from tidemill.engines.protocol import Engine, Keyed
from tidemill.features.kernel.history import History
from tidemill.features.kernel.timeline import Ints
from tidemill.features.plan import UsePlan
from tidemill.features.rows import ViewRows

BATCH_ROWS = 500_000
"""Rows of a table that are read, checked and transformed at once."""
_USE, _ROW, _TIME, _SEEN = "\0use", "\0row", "\0t", "\0seen"

UNMATCHED = "removes nothing"
"""What the removals of a change log are counted under that find no row to remove."""


@dataclass(frozen=True)
class Ask:
    """What is asked of a view's rows by one use of it; plain data, so that any process can be told.

    Args:
        names: Feature -> full name, in order.
        aggregates: The aggregates of a windowed view.
        ttl: How long a row of a state view holds, microseconds; 0 = for ever.
    """

    names: dict[str, str]
    aggregates: tuple[Aggregate, ...]
    ttl: int

    @classmethod
    def of(cls, part: UsePlan) -> Ask:
        """What a service asks."""
        view = part.use.view
        return cls(part.names, tuple(view.aggregates) if view.is_windowed else (), view.ttl_micros)

    def __call__(
        self, history: History, questions: pl.DataFrame, keys: Sequence[str], t: Ints, seen: Ints | None
    ) -> pl.DataFrame:
        """The features under their full names, one row per question; `seen` as in `History.latest`."""
        if self.aggregates:
            found = history.windowed(questions, keys, t, self.aggregates, seen)
        else:
            found = history.latest(questions, keys, t, list(self.names), self.ttl, seen)
        return found.select(pl.col(feature).alias(full) for feature, full in self.names.items())


@dataclass(frozen=True)
class Answering:
    """The work on one partition.

    Args:
        asks: What is asked; question frames come in the same order.
        keys: The view's key columns.
        delay: How long after its event a row becomes available, microseconds.
        known: Whether a row counts only once it was known.
        event_id: Columns that name an event, where one may come twice.
    """

    asks: tuple[Ask, ...]
    keys: tuple[str, ...]
    delay: int
    known: bool
    event_id: tuple[str, ...]

    def __call__(self, rows: pl.DataFrame, *questions: pl.DataFrame) -> pl.DataFrame:
        """The answers with the number of their use; under the next number, how many removals found no row."""
        history = History(rows, self.keys, delay=self.delay, known=self.known, event_id=self.event_id)
        asked = _asked_keys(len(self.keys))
        answers = [
            ask(history, frame, asked, frame[_TIME].to_numpy(), _seen(frame)).with_columns(
                frame[_ROW], pl.lit(number, pl.UInt32).alias(_USE)
            )
            for number, (ask, frame) in enumerate(zip(self.asks, questions, strict=True))
        ]
        unmatched = pl.DataFrame({_ROW: [history.unmatched], _USE: pl.Series([len(self.asks)], dtype=pl.UInt32)})
        return pl.concat([*answers, unmatched], how="diagonal")


def partitioned(
    engine: Engine, parts: Sequence[UsePlan], table: pl.LazyFrame, spine: pl.DataFrame, t: Ints, *, known: bool,
    seen: Ints | None = None,
) -> tuple[list[pl.DataFrame], Mapping[str, int]]:  # fmt: skip
    """The features of all uses of one view, answered by an engine.

    Args:
        engine: Who runs the work.
        parts: The uses of the view.
        table: The rows of its source.
        spine: The rows asked for.
        t: Their moments, microseconds.
        known: Whether a row counts only once its created time had passed.
        seen: By when rows must have been known, where that is not the moment itself.

    Returns:
        The features of each use, row by row as the spine; and how many rows of the table failed each check, or were to remove
        one that is not there.

    Raises:
        Unavailable: The engine lost answers.
    """
    rows = parts[0].rows
    view = rows.view
    failures: Counter[str] = Counter()
    empty, _ = rows.derive(pl.DataFrame(schema=rows.source).lazy())
    inputs = [Keyed(empty.schema, view.key_columns, batches(rows, table, failures))]
    inputs += [_questions(part, spine, t, seen) for part in parts]
    work = Answering(
        tuple(map(Ask.of, parts)), view.key_columns, view.source.delay_micros, known or view.is_as_known, rows.event_id
    )
    answers = list(engine.map_partitions(inputs, work))
    if unmatched := sum(int(one.filter(pl.col(_USE) == len(parts))[_ROW].sum()) for one in answers):
        failures[UNMATCHED] = unmatched
    return [_in_order(answers, number, part, spine.height, engine.name) for number, part in enumerate(parts)], failures


def batches(rows: ViewRows, table: pl.LazyFrame, failures: Counter[str]) -> Iterator[pl.DataFrame]:
    """A view's rows that a question can find, some at a time. The transform runs here, so no worker needs the user's code.

    Args:
        rows: How they come out of the rows of the source.
        table: The latter.
        failures: Told how many rows failed each check.
    """
    needed = ["event_ts", *rows.view.key_columns]
    for batch in table.select(rows.reads).collect_batches(chunk_size=BATCH_ROWS):
        derived, failed = rows.derive(batch.lazy())
        failures.update(failed)
        yield derived.drop_nulls(needed)


def _seen(questions: pl.DataFrame) -> Ints | None:
    return questions[_SEEN].to_numpy() if _SEEN in questions.columns else None


def _questions(part: UsePlan, spine: pl.DataFrame, t: Ints, seen: Ints | None) -> Keyed:
    columns = [part.use.keys[key] for key in part.use.view.key_columns]
    asked = _asked_keys(len(columns))
    frame = pl.DataFrame([spine[column].alias(key) for column, key in zip(columns, asked, strict=True)]).with_columns(
        pl.Series(_TIME, t),
        pl.Series(_ROW, np.arange(spine.height)),
        *([] if seen is None else [pl.Series(_SEEN, seen)]),
    )
    return Keyed.of(frame, asked)


def _asked_keys(count: int) -> list[str]:
    return [f"\0k{number}" for number in range(count)]


def _in_order(answers: Sequence[pl.DataFrame], number: int, part: UsePlan, height: int, engine: str) -> pl.DataFrame:
    """The answers to one use, question by question."""
    wanted = [_ROW, *part.names.values()]
    found = [answer.filter(pl.col(_USE) == number).select(wanted) for answer in answers]
    if not found:
        return pl.DataFrame(schema=dict(part.columns()))
    answered = pl.concat(found).sort(_ROW)
    if not np.array_equal(answered[_ROW].to_numpy(), np.arange(height)):
        raise Unavailable(f"engine {engine!r} gave {answered.height} answers to {height} questions", hint="Try again")
    return answered.drop(_ROW)

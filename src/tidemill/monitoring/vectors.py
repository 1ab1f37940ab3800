"""The feature vectors that were served, out of the captures of endpoints."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import polars as pl

from tidemill.core.errors import NotFound
from tidemill.core.protocols import REPLACED, LoggedVectors
from tidemill.core.specs.features import FeatureService
from tidemill.core.specs.serving import Enrich, Graph
from tidemill.monitoring.capture import Captures

AT_ONCE = 200_000
"""About so many rows are in memory at once."""


@dataclass(frozen=True)
class Vectors:
    """What endpoints enriched rows with; implements `VectorLog`.

    Args:
        captures: The captured rows.
        graphs: The graphs of the project by name.
        numbers_of: The generations that ran exactly a graph: rows of others were enriched by other definitions.
    """

    captures: Captures
    graphs: Mapping[str, Graph]
    numbers_of: Callable[[Graph], Collection[int]]

    def __call__(self, service: FeatureService, since: int, until: int) -> Iterable[LoggedVectors]:
        """What endpoints that enrich with a service logged of requests received in [since, until), microseconds, in parts.

        Raises:
            NotFound: No endpoint does.
        """
        found = [graph for graph in self.graphs.values() if _enriches(graph, service)]
        if not found:
            raise NotFound(
                f"no graph enriches with feature service {service.name!r}, so none of its vectors are logged",
                hint=f"Add tm.Graph(...).enrich({service.name}) to the project's files",
            )
        return (part for graph in found for part in self._logged(graph, since, until))

    def _logged(self, graph: Graph, since: int, until: int) -> Iterator[LoggedVectors]:
        self.captures.compact(graph.name)
        numbers = list(self.numbers_of(graph))
        for start, end in pairwise(self._bounds(graph.name, since, until)):
            rows = self.captures.received(graph.name, start, end)
            same = rows.filter(pl.col("generation").is_in(numbers))
            yield LoggedVectors(graph.name, put_back(same), rows.height - same.height)

    def _bounds(self, endpoint: str, since: int, until: int) -> list[int]:
        """Times between which there are about `AT_ONCE` rows each."""
        within = pl.col("received_at").is_between(since, until, closed="left")
        received = self.captures.arrivals(endpoint, within)["received_at"].sort()
        return [since, *sorted({*received.gather_every(AT_ONCE, AT_ONCE)} - {since}), until]


def _enriches(graph: Graph, service: FeatureService) -> bool:
    return any(isinstance(step, Enrich) and step.service.name == service.name for step in graph.steps)


def put_back(rows: pl.DataFrame) -> pl.DataFrame:
    """Captured rows as features were asked for them and answered, whatever later steps of the graph made of them.

    A feature that took the place of a request column keeps it: what was asked with is then in `requested_X` for all rows.

    Args:
        rows: The rows as captured; see `Captured`.

    Example:
        >>> row = {"temp": [0.0], "enriched_temp": [None], "replaced": ["enriched_temp"]}
        >>> put_back(pl.DataFrame(row))["temp"].to_list()
        [None]
    """
    if REPLACED not in rows.columns:
        return rows
    replaced = pl.col(REPLACED).fill_null("").str.split("\n")
    columns: dict[str, pl.Expr] = {}
    for name in sorted({name for text in rows[REPLACED].drop_nulls().unique() for name in text.split("\n")}):
        prefix, _, original = name.partition("_")
        kept = pl.col(name) if name in rows.columns else pl.lit(None)  # a column of nulls only is not captured
        other = pl.col(original) if original in rows.columns else pl.lit(None)
        target = original if prefix == "enriched" else name
        columns[target] = pl.when(replaced.list.contains(name)).then(kept).otherwise(other).alias(target)
    return rows.with_columns(columns.values())

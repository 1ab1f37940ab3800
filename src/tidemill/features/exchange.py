"""One row in, the features of its keys out: worked out once for rows of some columns and types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tidemill.core.errors import NotFound
from tidemill.core.specs.features import FeatureService, FeatureView
from tidemill.features.compiled import ServiceReader
from tidemill.features.feed import generation_of
from tidemill.features.generations import Generations
from tidemill.features.memo import Kind
from tidemill.features.single import EntryMaker
from tidemill.stores.online.protocol import TIMES, Entry, OnlineReader, OnlineStore, Position


class Taker(NamedTuple):
    """How a view takes a row."""

    data: str
    """The generation's rows in the store."""
    answering: Position
    """Asks which generation answers."""
    generation: int
    make: EntryMaker

    @classmethod
    def of(cls, known: Generations, view: FeatureView, kind: Kind) -> Taker | None:
        """For rows of a kind; None when the view is not there, or has no short way for them."""
        pointer, names = known.pointer(view), known.names(view)
        single = None if pointer is None else known.shape(view, pointer.columns).single
        make = None if single is None else single.maker(kind)
        if pointer is None or make is None:
            return None
        return cls(names.data(pointer.generation), generation_of(names), pointer.generation, make)

    def is_current(self, reader: OnlineReader) -> bool:
        """Whether rows still go there."""
        return reader.position(*self.answering) == self.generation


class Exchange:
    """Gives rows to views, and answers each with the features of a service as of its time.

    Args:
        store: The online store.
        others: How views take a row that are not of the service.
        takers: How views of the service take it; there is one at least.
        reader: Reads the features.
    """

    def __init__(
        self, store: OnlineStore, others: Sequence[Taker], takers: Sequence[Taker], reader: ServiceReader
    ) -> None:
        self._store, self._reader = store, reader
        *first, self._last = takers
        self._first = [*others, *first]

    @classmethod
    def of(
        cls, store: OnlineStore, known: Generations, views: Sequence[FeatureView], service: FeatureService,
        reader: ServiceReader, kind: Kind,
    ) -> Exchange | None:  # fmt: skip
        """For rows of a kind; None when a view has no short way for them, or none is of the service.

        On-demand features are computed by code of the user, for which nobody should wait who writes to the store.
        """
        used = {use.view for use in service.uses}
        others, own = [view for view in views if view not in used], [view for view in views if view in used]
        found = [Taker.of(known, view, kind) for view in [*others, *own]]
        takers = [taker for taker in found if taker is not None]
        if service.on_demand or not own or len(takers) < len(found):
            return None
        return cls(store, takers[: len(others)], takers[len(others) :], reader)

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        """The features; None when another generation of a view answers by now, or a value needs more care.

        The row may be in some of the views then. It may be given to them again: that changes nothing.
        """
        values = tuple(row.values())
        try:
            for taker in self._first:
                entry = taker.make(values)
                if entry is None or not self._store.exchange(taker.data, entry, taker.is_current)[1]:
                    return None
            entry = self._last.make(values)
            return None if entry is None else self._answered(row, entry)
        except NotFound:  # a generation was dropped
            return None

    def _answered(self, row: Mapping[str, Any], entry: Entry) -> dict[str, Any] | None:
        at = TIMES.unpack_from(entry.record)[0]
        # The reader looks which generation answers.
        return self._store.exchange(self._last.data, entry, lambda reader: self._reader.vector(reader, row, at, False))[
            1
        ]

"""Where the definitions of views are in the online store, as far as it was looked up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from tidemill.core.errors import Unavailable
from tidemill.core.specs.features import FeatureView
from tidemill.features.feed import Feed, Names, Pointer, Shape, load_columns, pointer_number, read_pointer
from tidemill.stores.online.protocol import OnlineStore


class Generations:
    """Names, pointers, shapes and feeds of views, each worked out once.

    Args:
        store: The online store.
        unique_ids: Whether no id comes twice in a source's rows.
    """

    def __init__(self, store: OnlineStore, *, unique_ids: bool) -> None:
        self._store, self._unique_ids = store, unique_ids
        self._names: dict[FeatureView, Names] = {}
        self._shapes: dict[tuple[FeatureView, bytes], Shape] = {}
        self._pointers: dict[FeatureView, Pointer] = {}
        self._numbers: dict[FeatureView, int | None] = {}
        self._feeds: dict[FeatureView, tuple[Pointer, Feed]] = {}

    def names(self, view: FeatureView) -> Names:
        """What a view is called in the store."""
        names = self._names.get(view)
        if names is None:
            names = self._names[view] = Names.of(view)
        return names

    def shape(self, view: FeatureView, columns: bytes) -> Shape:
        """How its rows look over a source with some columns, given as an empty Arrow file."""
        key = (view, columns)
        if key not in self._shapes:
            self._shapes[key] = Shape.of(view, load_columns(columns), unique_ids=self._unique_ids)
        return self._shapes[key]

    def pointer(self, view: FeatureView) -> Pointer | None:
        """The pointer, or the last one seen while a store that keeps writes for later cannot be read."""
        names = self.names(view)
        try:
            with self._store.read() as reader:
                number = pointer_number(reader, names)
                if number is not None and number == self._numbers.get(view):
                    return self._pointers[view]
                pointer = read_pointer(reader, names)
        except Unavailable:
            if view not in self._pointers:
                raise
            return self._pointers[view]
        if pointer is not None:
            self._pointers[view], self._numbers[view] = pointer, number
        return pointer

    def frame(self, views: Sequence[FeatureView], row: Mapping[str, Any]) -> pl.DataFrame:
        """A row of a source in the types that its table had when one of the views over it was brought up to it."""
        pointers = map(self.pointer, views)
        schema = next((load_columns(pointer.columns) for pointer in pointers if pointer is not None), pl.Schema())
        return pl.DataFrame([dict(row)], schema_overrides={name: schema[name] for name in row if name in schema})

    def feed(self, view: FeatureView, pointer: Pointer) -> Feed:
        """Writes into the generation of a pointer."""
        made = self._feeds.get(view)
        if made is None or made[0] is not pointer:
            shape = self.shape(view, pointer.columns)
            made = self._feeds[view] = pointer, Feed(self._store, shape, self.names(view), pointer.generation)
        return made[1]

    def remember(self, view: FeatureView, pointer: Pointer) -> None:
        """Note a pointer that was written or read."""
        self._pointers[view] = pointer
        self._numbers.pop(view, None)  # it may be another one's

"""Reference data joined to rows by key: what holds at all times, such as the planes a tail number names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tidemill.core.errors import InvalidArgument
from tidemill.core.specs.features import FeatureView, ViewUse
from tidemill.core.specs.sources import Source


class Reference(FeatureView):
    """The rows of a source without time, by key: a row holds for all times, the newest of a key wins.

    Made by `lookup`. It is kept, read and pinned as any feature view.
    """

    def _validate(self) -> None:
        if self.source.time is not None:
            raise InvalidArgument(
                f"source {self.source.name!r} has a time column",
                expected="a source without time=: reference data",
                hint="Rows that change with time are features: tm.FeatureView(source=..., keys=...)",
            )
        if not self.key_columns:
            raise InvalidArgument(f"looking up {self.source.name!r} needs a key", expected='on="tailnum"')


def lookup(
    source: Source, *, on: str | Sequence[str] | Mapping[str, str], columns: Sequence[str] | None = None
) -> ViewUse:
    """Join reference data to the rows of a service: a part of `tm.FeatureService([...])`.

    Its columns are features named `SOURCE__COLUMN`, null where the key is not there. A training set reads the version of the
    table that its manifest names; online answers come from the newest. Where a key has several rows the newest counts: the
    latest to become known, then the latest to arrive.

    Args:
        source: A source without `time=`.
        on: The key column or columns, which are called the same in source and rows; or source column -> column of the rows.
        columns: The columns wanted; all but keys and ids when absent.

    Returns:
        A part of a service; `.prefix(...)` tells two uses of one source apart.

    Raises:
        InvalidArgument: The source has a time, or no key is named.

    Example:
        >>> planes = Source("planes", "data/planes.csv")
        >>> lookup(planes, on="tailnum", columns=["seats"]).full_name("seats")
        'planes__seats'
        >>> lookup(Source("airports"), on={"faa": "dest"}).prefix("dest_").full_name("altitude")
        'dest_airports__altitude'
    """
    if not isinstance(source, Source):
        raise InvalidArgument(f"{source!r} is not a source", expected='tm.lookup(planes, on="tailnum")')
    keys = dict(on) if isinstance(on, Mapping) else dict.fromkeys([on] if isinstance(on, str) else on)
    if columns is not None and (isinstance(columns, str) or not columns):
        raise InvalidArgument(f"columns={columns!r}", expected='a list of names, such as ["seats"]')
    view = Reference(source=source, keys=tuple(keys), name=source.name)
    return ViewUse(
        view, {key: column or key for key, column in keys.items()}, only=None if columns is None else tuple(columns)
    )

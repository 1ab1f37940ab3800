"""What a dataset is made of."""

from __future__ import annotations

from typing import Any

import msgspec

from tidemill.core.ids import digest_bytes
from tidemill.core.schema import Column
from tidemill.core.specs.preparation import Recipe

FORMAT = 2
"""Version of the manifest's format; a newer one is refused."""


class DataFile(msgspec.Struct, frozen=True, kw_only=True):
    """One Parquet file of a dataset."""

    digest: str
    rows: int


class DatasetManifest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that makes a dataset what it is; its digest is the dataset's name.

    `request` is what a caller sends when such rows are predicted, `features` what the model sees, or what is prepared for it.
    """

    format: int = FORMAT
    name: str
    features: tuple[Column, ...]
    label: Column | None = None
    id: tuple[str, ...] = ()
    time: str | None = None
    keys: tuple[str, ...] = ()
    request: tuple[Column, ...] = ()
    rows: int
    tables: dict[str, int] = msgspec.field(default_factory=dict)
    """Table -> the version it was read at."""
    plan: str | None = None
    """Digest of the plan that computed the features."""
    availability: str | None = None
    """When a row counted as available: `event` or `known`."""
    service: str | None = None
    label_name: str | None = None
    until: int | None = None
    """Nothing known after it (microseconds) was used."""
    first: int | None = None
    last: int | None = None
    """Times of the first and last row, microseconds."""
    files: tuple[DataFile, ...]
    parent: str | None = None
    """Digest of the dataset this is a part of."""
    split: dict[str, Any] | None = None
    """How it was taken from its parent."""
    prepare: Recipe = ()
    """What is done to the features before a model sees them."""
    preparation: str | None = None
    """Digest of what that learned; None when it is learned from these rows once a model is to see them."""
    prepared_as: str | None = None
    """Digest of the dataset it was learned from; None: from these rows."""

    def digest(self) -> str:
        """The sha256 of the canonical JSON, as 64 hex digits."""
        return digest_bytes(msgspec.json.encode(self, order="sorted"))

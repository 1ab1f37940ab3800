"""Keeping the results of steps, so that a later run can take them from the cache."""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import msgspec
import polars as pl

from tidemill.core.errors import InvalidArgument, TidemillError
from tidemill.core.ids import digest_bytes
from tidemill.core.specs.definition import Definition
from tidemill.stores.artifacts.protocol import ArtifactStore
from tidemill.tracking.dataset import Dataset
from tidemill.tracking.datasets import Datasets

Packed = dict[str, Any]

INLINE_BYTES = 64_000
"""Plain values up to this size are kept in the record itself, larger ones as artifacts."""

_UNPICKLABLE = (pickle.PicklingError, TypeError, AttributeError, ValueError, RecursionError, NotImplementedError)
UNREADABLE = (
    TidemillError, pickle.UnpicklingError, AttributeError, ImportError, EOFError, TypeError, ValueError, LookupError,
    pl.exceptions.PolarsError,
)  # fmt: skip
"""What reading a result back can raise when its artifact, or the code of its class, is gone."""


class Values:
    """Packs results into the artifact store and reads them back.

    Datasets are kept by digest, plain values as JSON, frames as Parquet, containers item by item. Anything else is pickled:
    it is read back only from this project's own step results, whose digests the artifact store checks.

    Args:
        artifacts: Where bytes are kept.
        datasets: Where datasets are found.
    """

    def __init__(self, artifacts: ArtifactStore, datasets: Datasets) -> None:
        self._artifacts = artifacts
        self._datasets = datasets

    def pack(self, value: Any) -> Packed:
        """The reference of a result.

        Raises:
            InvalidArgument: It cannot be kept at all, such as an open file.
        """
        if isinstance(value, Dataset):
            return {"kind": "dataset", "digest": value.digest}
        if is_plain(value):
            return self._plain(value)
        if type(value) in (list, tuple):
            return {"kind": type(value).__name__, "items": [self.pack(item) for item in value]}
        if type(value) is dict and all(type(key) is str for key in value):
            return {"kind": "dict", "items": {key: self.pack(item) for key, item in value.items()}}
        return self._frame(value) if isinstance(value, pl.DataFrame) else self._pickle(value)

    def unpack(self, packed: Packed) -> Any:
        """The result behind a reference; raises one of `UNREADABLE` when it is gone."""
        kind = packed["kind"]
        if kind == "dataset":
            return self._datasets.load(packed["digest"])
        if kind == "json":
            return packed["value"]
        if kind == "dict":
            return {key: self.unpack(item) for key, item in packed["items"].items()}
        if kind in ("list", "tuple"):
            return (tuple if kind == "tuple" else list)(self.unpack(item) for item in packed["items"])
        data = self._artifacts.get(packed["digest"])
        return pl.read_parquet(io.BytesIO(data)) if kind == "frame" else pickle.loads(data)

    def _plain(self, value: Any) -> Packed:
        if len(msgspec.json.encode(value)) > INLINE_BYTES:
            return self._pickle(value)
        return {"kind": "json", "value": value}

    def _frame(self, frame: pl.DataFrame) -> Packed:
        buffer = io.BytesIO()
        try:
            frame.rechunk().write_parquet(buffer)
        except pl.exceptions.PolarsError:  # a column of Python objects
            return self._pickle(frame)
        return {"kind": "frame", "digest": self._artifacts.put(buffer.getvalue())}

    def _pickle(self, value: Any) -> Packed:
        try:
            data = cloudpickle.dumps(value)
        except _UNPICKLABLE as error:
            raise InvalidArgument(f"a {type(value).__name__} cannot be kept: {error}") from error
        return {"kind": "pickle", "digest": self._artifacts.put(data)}


def artifacts_of(packed: Packed) -> list[str]:
    """The digests of the artifacts behind a reference, to be pinned."""
    if packed["kind"] in ("frame", "pickle"):
        return [packed["digest"]]
    items = packed.get("items", ())
    return [digest for item in (items.values() if isinstance(items, dict) else items) for digest in artifacts_of(item)]


def packed_digest(packed: Packed) -> str:
    """What a result is known by where it is the input of another step: equal bytes, equal digest."""
    return digest_bytes(msgspec.json.encode(packed, order="sorted"))


def is_plain(value: Any) -> bool:
    """Whether JSON gives a value back exactly as it is: no NaN, no subclasses, no integers beyond 64 bits.

    Example:
        >>> is_plain({"a": [1, 2.5, None]}), is_plain(float("nan")), is_plain((1,))
        (True, False, False)
    """
    if type(value) is dict:
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    if type(value) is list:
        return all(map(is_plain, value))
    if type(value) is float:
        return math.isfinite(value)
    if type(value) is int:
        return -(2**63) <= value < 2**63
    if type(value) is str:
        return value.isprintable() or value.encode(errors="replace").decode() == value  # no lone surrogates
    return value is None or type(value) is bool


def shown(value: Any) -> Any:
    """A result as plain JSON for records and people."""
    if isinstance(value, bool | None):
        return value
    for plain in (int, float, str):
        if isinstance(value, plain):
            return plain(value) if is_plain(plain(value)) else repr(plain(value))
    if isinstance(value, list | tuple):
        return [shown(item) for item in value]
    if isinstance(value, dict):
        return {str(key): shown(item) for key, item in value.items()}
    if isinstance(value, msgspec.Struct):
        return shown(msgspec.to_builtins(value))
    if isinstance(value, Definition):
        return f"{value.kind}/{value.name}" if value.is_named else value.kind
    return f"dataset/{value.digest}" if isinstance(value, Dataset) else repr(value)

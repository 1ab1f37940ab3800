"""The unmodified copy of what a source delivered, kept before anything else is done with it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import polars as pl

from tidemill.stores.artifacts.protocol import ArtifactStore


class Archived(NamedTuple):
    """An archived delivery."""

    digest: str
    size: int
    """Bytes."""
    origin: str
    """Where it came from."""


def archive_file(artifacts: ArtifactStore, path: Path, origin: str) -> Archived:
    """Keep a file's bytes as they are; the same bytes are kept once."""
    digest = artifacts.put_file(path)
    return Archived(digest, artifacts.size(digest), origin)


def archive_frame(artifacts: ArtifactStore, frame: pl.DataFrame, origin: str = "frame") -> Archived:
    """Keep rows that were handed over, or read of a database, as Parquet; equal frames have equal bytes."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return Archived(artifacts.put(buffer.getvalue()), buffer.tell(), origin)

"""Artifacts in an object store that speaks S3."""

from __future__ import annotations

import functools
from pathlib import Path

from fsspec import AbstractFileSystem

from tidemill.core.errors import MissingExtra
from tidemill.stores.artifacts.filesystem import RemoteArtifacts
from tidemill.stores.s3 import Place, bucket_answers, is_installed, s3_errors


class S3Artifacts(RemoteArtifacts):
    """Artifacts below a prefix of a bucket; see `ArtifactStore`.

    Args:
        place: Bucket and prefix.
        cache: A local folder for `local_path`.

    Raises:
        MissingExtra: s3fs is not installed.
    """

    def __init__(self, place: Place, cache: Path) -> None:
        if not is_installed():
            raise MissingExtra("the artifacts store s3", "s3")
        super().__init__(_files, place.path, cache, functools.partial(s3_errors, place))
        self._place = place

    def check(self) -> str:
        """Ask the server for the bucket; see `bucket_answers`."""
        return bucket_answers(self._fs, self._place)


def _files() -> AbstractFileSystem:
    import s3fs

    # Others write too, so what a folder held is not remembered.
    return s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)

"""`/datasets`: immutable training and test sets."""

from __future__ import annotations

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from tidemill.api.paging import DEFAULT_LIMIT, Limit, Offset, Page, find_page
from tidemill.core.errors import NotFound
from tidemill.core.records.data import DatasetRecord
from tidemill.platform import Platform


@get("/datasets", sync_to_thread=True, summary="Datasets, newest first")
def datasets(
    platform: NamedDependency[Platform], name: FromQuery[str | None] = None, limit: Limit = DEFAULT_LIMIT,
    offset: Offset = 0,
) -> Page[DatasetRecord]:  # fmt: skip
    """Datasets with their manifests."""
    return find_page(platform, DatasetRecord, {"name": name}, ["-created_at"], limit, offset)


@get("/datasets/{digest:str}", sync_to_thread=True, summary="One dataset")
def dataset(platform: NamedDependency[Platform], digest: FromPath[str]) -> DatasetRecord:
    """A dataset by the digest of its manifest."""
    with platform.metadata.read() as reader:
        found = reader.get(DatasetRecord, project=platform.scope.project, digest=digest)
    if found is None:
        raise NotFound(f"there is no dataset {digest!r}", hint="List them at /api/tidemill/v1/datasets")
    return found


HANDLERS = [datasets, dataset]

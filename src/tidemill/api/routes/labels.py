"""`/labels`: the truth, as it becomes known."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from tidemill.platform import Platform


class LabelRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The truth about one prediction; `known_at` is ISO text or microseconds, now when absent."""

    id: str | int
    label: bool | int | float | str | None
    known_at: int | str | None = None


class LabelRows(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Some labels."""

    rows: list[LabelRow]


@post("/labels/{label:str}", sync_to_thread=True, status_code=200, summary="Post labels")
def post_labels(platform: NamedDependency[Platform], label: FromPath[str], data: JSONBody[LabelRows]) -> Any:
    """Durable when this answers. A repeated label is ignored, a later one corrects an earlier one."""
    return platform.monitoring.post_labels(label, [msgspec.structs.asdict(row) for row in data.rows])


HANDLERS = [post_labels]

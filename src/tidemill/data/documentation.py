"""What is known about a source, for people."""

from __future__ import annotations

from typing import Any

import polars as pl

from tidemill.core.specs.sources import SYSTEM_COLUMNS, Source
from tidemill.core.uris import concealed


def describe_source(source: Source, table: pl.Schema | None) -> dict[str, Any]:
    """A source's documentation as plain JSON: what the user wrote, its columns with type, unit and description, its rules.

    Example:
        >>> describe_source(Source("s", documentation={"owner": "ada"}), None)["owner"]
        'ada'
    """
    units, said = source.documentation.get("units", {}), source.documentation.get("columns", {})
    columns = [
        {"name": name, "type": str(dtype), "unit": units.get(name), "description": said.get(name)}
        for name, dtype in (table or pl.Schema()).items()
        if name not in SYSTEM_COLUMNS
    ]
    return {
        **source.documentation,
        "name": source.name,
        "url": None if source.url is None else concealed(source.url),
        "time": source.time,
        "id": list(source.id_columns),
        **({} if source.changes is None else {"changes": source.changes.describe()}),
        "columns": columns,
        "checks": [check.label for check in source.checks],
    }

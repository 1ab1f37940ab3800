"""Feast's data sources as `tm.Source`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tidemill.features.feast.layout import Names, Node, assign, call, mapping, one_line, quoted, snake, texts
from tidemill.features.feast.outcome import Progress
from tidemill.features.feast.repository import DataSource, Entity, Field, Repository, View

KIND = "data source"
PASSWORD = "POSTGRES_PASSWORD"
"""The environment variable that a converted PostgreSQL source takes its password from."""

_STREAMS = ("PushSource", "KafkaSource", "KinesisSource")
_PARQUET = ("", "ParquetFormat")
_TYPES = {
    "BOOL": "boolean", "INT32": "int64", "INT64": "int64", "FLOAT": "float64", "DOUBLE": "float64", "STRING": "string",
    "UNIX_TIMESTAMP": "time",
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where the rows of a source are.

    Args:
        url: What `tm.Source` reads; None where it cannot.
        query: What it asks a database.
        reason: Why it cannot.
        next_step: What to do instead.
    """

    url: str | None = None
    query: str | None = None
    reason: str = ""
    next_step: str = ""


class Sources:
    """Converts the sources of a repository.

    Args:
        repository: The repository.
        folder: Its folder.
        target: The folder of the file that is written.
        names: The variables of that file.
        progress: Is told what becomes of them.
    """

    def __init__(
        self, repository: Repository, folder: Path, target: Path, *, names: Names, progress: Progress
    ) -> None:  # fmt: skip
        self._repository = repository
        self._folder = folder
        self._target = target
        self._names = names
        self._progress = progress
        self.variables: dict[str, str] = {}

    def convert(self) -> list[str]:
        """The text of each source; `variables` knows afterwards what they are called."""
        batch = [one for one in self._repository.sources if one.kind not in (*_STREAMS, "RequestSource")]
        blocks = [text for one in batch if (text := self._converted(one))]
        for source in self._repository.sources:
            if source.kind in _STREAMS:
                self._stream(source)
        return blocks

    def _converted(self, source: DataSource) -> str | None:
        if not source.time:
            self._progress.failed(KIND, source.name, "it names no timestamp_field",
                                  "Write its event time into the definition, and import again")  # fmt: skip
            return None
        label = snake(Path(source.name).stem if "/" in source.name else source.name)
        variable = self.variables[source.name] = self._names.variable(label, "source")
        place = self._place(source)
        if place.reason:
            self._progress.failed(KIND, source.name, place.reason, place.next_step.format(name=label))
        else:
            self._progress.done(KIND, source.name, f"tm.Source {label}")
        return self._rename(source, variable) + assign(variable, self._source(source, label, variable, place))

    def _source(self, source: DataSource, label: str, variable: str, place: Place) -> Node:
        views = [view for view in self._repository.views if view.source == source.name]
        types = {} if place.url else types_of([*_keys(views, self._repository.entities), *_features(views)])
        return call(
            "tm.Source", quoted(label), *([] if place.url is None else [quoted(place.url)]),
            time=quoted(source.time),
            created=quoted(source.created) if source.created else None,
            clean=f"rename_{variable}" if source.mapping else None,
            types=mapping({name: quoted(kind) for name, kind in types.items()}) if types else None,
            query=None if place.query is None else quoted(place.query),
            documentation=self._documentation(source, views),
        )  # fmt: skip

    def _rename(self, source: DataSource, variable: str) -> str:
        if not source.mapping:
            return ""
        renames = mapping({old: quoted(new) for old, new in source.mapping.items()})
        return f"def rename_{variable}(rows):\n    return rows.rename({one_line(renames)})\n\n\n"

    def _documentation(self, source: DataSource, views: list[View]) -> Node | None:
        columns = [*_keys(views, self._repository.entities), *_features(views)]
        described = {one.name: quoted(one.description) for one in columns if one.description}
        found: dict[str, Node] = {}
        if source.description:
            found["what"] = quoted(source.description)
        if source.owner:
            found["owner"] = quoted(source.owner)
        if source.tags:
            found["tags"] = texts(source.labels)
        if described:
            found["columns"] = mapping(described)
        return mapping(found) if found else None

    # -- where the rows are ------------------------------------------------------------------------

    def _place(self, source: DataSource) -> Place:
        if source.kind == "FileSource":
            return self._file(source)
        if source.kind == "PostgreSQLSource":
            return self._database(source)
        return Place(reason=f"rows are not read from a {source.kind}",
                     next_step="Export them to Parquet and give tm.Source {name!r} the path, or push them to it")  # fmt: skip

    def _file(self, source: DataSource) -> Place:
        path, kind = source.options.get("path", ""), source.options.get("format", "")
        scheme, colon, rest = path.partition("://")
        if colon and scheme != "file":
            return Place(reason=f"a source is not read from {scheme}://",
                         next_step="Download the files, and give tm.Source {name!r} the path")  # fmt: skip
        found = self._folder / (rest if colon else path)
        if kind not in _PARQUET or found.is_dir():
            what = "a folder" if kind in _PARQUET else kind.removesuffix("Format")
            return Place(reason=f"{path} is {what}, and a source reads one Parquet, CSV or JSON file",
                         next_step="Write it into one Parquet file, and give tm.Source {name!r} the path")  # fmt: skip
        if not found.is_file():
            self._progress.note(f"{path} of data source {source.name} is not there yet.")
        return Place(url=self._relative(found))

    def _relative(self, path: Path) -> str:
        """Relative to the project where that stays close to it, so that the two can move together."""
        relative = os.path.relpath(path.resolve(), self._target)
        return relative if relative.count("..") <= 1 else str(path.resolve())

    def _database(self, source: DataSource) -> Place:
        at = self._repository.offline
        if at.get("type") != "postgres":
            return Place(reason="feature_store.yaml does not say where its PostgreSQL is",
                         next_step="Give tm.Source {name!r} a URL such as postgresql://anna@db/shop?table=orders")  # fmt: skip
        table, query = source.options.get("table"), source.options.get("query")
        place = f"{at.get('host', '')}:{at.get('port', '5432')}/{at.get('database', '')}"
        server = f"postgresql://{quote(at.get('user', ''))}@{place}"
        named = f"?table={at.get('db_schema', 'public')}.{table}" if table and "." not in table else f"?table={table}"
        self._progress.note(f"The password of PostgreSQL is read from the environment variable {PASSWORD}; "
                            "the driver comes with pip install 'tidemill[postgres]'.")  # fmt: skip
        return Place(url=f"{server}{named if table else ''}#password={PASSWORD}", query=None if table else query)

    def _stream(self, source: DataSource) -> None:
        batch = None if source.batch is None else self.variables.get(source.batch)
        if source.kind == "PushSource" and batch is not None:
            self._progress.done(KIND, source.name, f"pushes to tm.Source {batch}")
            self._progress.note(f"What was pushed to {source.name} is pushed to source {batch}: platform.push, or POST "
                                f"/api/tidemill/v1/sources/{snake(batch)}/rows.")  # fmt: skip
        elif source.kind == "KafkaSource":
            url = f"kafka://{source.options.get('servers', '')}/{source.options.get('topic', '')}"
            self._progress.failed(
                KIND, source.name, f"a source reads one place, and {batch or 'its view'} reads the batch source",
                f'Give tm.Source {batch or ""} the URL "{url}" to read the stream, and its past once with '
                f"tidemill ingest {batch or 'SOURCE'} --url FILE",
            )  # fmt: skip
        else:
            self._progress.failed(KIND, source.name, f"rows are not read from a {source.kind}",
                                  "Push them: platform.push, or POST /api/tidemill/v1/sources/NAME/rows")  # fmt: skip


def types_of(fields: Iterable[Field]) -> dict[str, str]:
    """The types of columns in the words of `types=`, of those that have one."""
    return {field.name: _TYPES[field.type] for field in fields if field.type in _TYPES}


def _keys(views: Iterable[View], entities: Iterable[Entity]) -> list[Field]:
    known = {one.key: Field(name=one.key, type=one.type, description=one.description) for one in entities}
    return list({key: known[key] for view in views for key in view.keys if key in known}.values())


def _features(views: Iterable[View]) -> list[Field]:
    found: Mapping[str, Field] = {one.name: one for view in views if not view.aggregations for one in view.features}
    return list(found.values())

"""Tells what a Feast repository defines, as JSON. Run by the Python that has Feast, in the folder of the repository.

It is handed to that Python as text, so it imports nothing of Tidemill: `python - RESULT [FEATURE_STORE_YAML] < probe.py`. The
definitions are evaluated as `feast apply` evaluates them; nothing is applied, and no store is opened.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any


def main(result: str, settings: str) -> None:
    """Write what the repository in the current folder defines."""
    warnings.simplefilter("ignore")
    # What the definitions print is for people; so is what Feast says.
    with contextlib.redirect_stdout(sys.stderr):
        found = tell(Path.cwd(), Path(settings))
    Path(result).write_text(json.dumps(found), encoding="utf-8")


def tell(folder: Path, settings: Path) -> dict[str, Any]:
    """The repository as plain data; see `tidemill.features.feast.repository`."""
    import feast
    import yaml  # comes with Feast
    from feast.repo_operations import parse_repo

    # As text: Feast would load the stores it names, and their drivers need not be installed here.
    config = yaml.safe_load(os.path.expandvars(settings.read_text(encoding="utf-8"))) or {}
    contents = parse_repo(folder)
    views = [*contents.feature_views, *contents.stream_feature_views]
    keys = {entity.name: entity.join_key for entity in contents.entities}
    return {
        "feast": feast.__version__,
        "project": str(config.get("project", "")),
        "offline": _store(config.get("offline_store")),
        "online": _store(config.get("online_store")).get("type", ""),
        "entities": [_entity(one) for one in contents.entities if not one.name.startswith("__dummy")],
        "sources": [_source(one) for one in _unique(contents.data_sources)],
        "views": [_view(one, keys) for one in views],
        "on_demand": [_on_demand(one) for one in contents.on_demand_feature_views],
        "services": [_service(one) for one in contents.feature_services],
        "others": [
            {"kind": type(one).__name__, "name": str(one.name)}
            for noun in ("label_views", "permissions") for one in getattr(contents, noun, [])
        ],
    }  # fmt: skip


def _unique(sources: list[Any]) -> list[Any]:
    return list({source.name: source for source in sources}.values())


def _store(store: Any) -> dict[str, str]:
    """Type and place of a store, never its password."""
    given = store if isinstance(store, dict) else {"type": store}
    names = ("type", "host", "port", "database", "db_schema", "user")
    return {name: str(given[name]) for name in names if given.get(name) not in (None, "")}


def _described(thing: Any) -> dict[str, Any]:
    return {
        "name": thing.name,
        "description": textwrap.dedent(thing.description or "").strip(),
        "owner": getattr(thing, "owner", "") or "",
        "tags": {str(key): str(value) for key, value in (thing.tags or {}).items()},
    }


def _entity(entity: Any) -> dict[str, Any]:
    return {**_described(entity), "key": entity.join_key, "type": entity.value_type.name}


def _field(field: Any) -> dict[str, Any]:
    kind = field.dtype.to_value_type().name
    return {"name": field.name, "type": kind, "description": field.description or ""}


def _source(source: Any) -> dict[str, Any]:
    batch, columns = getattr(source, "batch_source", None), getattr(source, "schema", None)
    return {
        **_described(source),
        "kind": type(source).__name__,
        "time": source.timestamp_field,
        "created": source.created_timestamp_column,
        "mapping": dict(source.field_mapping),
        "batch": None if batch is None else batch.name,
        "options": _options(source),
        # What a warehouse calls a schema is a text.
        "columns": [_field(one) for one in columns] if isinstance(columns, list) else [],
    }


def _options(source: Any) -> dict[str, str]:
    found = {"path": getattr(source, "path", None), "format": _format(getattr(source, "file_format", None))}
    for name in ("table", "query"):
        # Sources of some databases keep what they were given under a name of their own.
        private = next((getattr(source, one) for one in vars(source) if one.endswith("_options")), None)
        found[name] = getattr(source, name, None) or getattr(private, f"_{name}", None)
    kafka = getattr(source, "kafka_options", None)
    if kafka is not None:
        found.update(servers=kafka.kafka_bootstrap_servers, topic=kafka.topic, format=_format(kafka.message_format))
    return {name: value for name, value in found.items() if isinstance(value, str) and value}


def _format(given: Any) -> str | None:
    return None if given is None else type(given).__name__


def _micros(duration: Any) -> int | None:
    return None if duration is None else round(duration.total_seconds() * 1_000_000)


def _aggregation(one: Any) -> dict[str, Any]:
    return {
        "column": one.column, "function": one.function, "window": _micros(one.time_window),
        "slide": _micros(one.slide_interval), "name": getattr(one, "name", "") or "",
    }  # fmt: skip


def _view(view: Any, keys: dict[str, str]) -> dict[str, Any]:
    stream = getattr(view, "stream_source", None)
    return {
        **_described(view),
        "kind": type(view).__name__,
        "keys": [keys.get(name, name) for name in view.entities if not name.startswith("__dummy")],
        "ttl": _micros(view.ttl) or 0,
        "source": None if view.batch_source is None else view.batch_source.name,
        "stream": None if stream is None else stream.name,
        "views": [one.name for one in getattr(view, "source_views", None) or []],
        "features": [_field(one) for one in view.features],
        "code": _code(view),
        "aggregations": [_aggregation(one) for one in getattr(view, "aggregations", None) or []],
    }


def _code(view: Any) -> dict[str, Any] | None:
    transformation = getattr(view, "feature_transformation", None)
    if transformation is None:
        return None
    mode = str(getattr(view.mode, "value", view.mode) or "")
    function = getattr(transformation, "udf", None)
    text = getattr(transformation, "udf_string", None) or _text(function)
    return {"mode": mode, "text": textwrap.dedent(text), "singleton": bool(getattr(view, "singleton", False))}


def _text(function: Any) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return ""


def _use(projection: Any) -> dict[str, Any]:
    version = projection.version_tag if hasattr(projection, "version_tag") else None
    return {
        "view": projection.name,
        "alias": projection.name_alias or "",
        "features": [one.name for one in projection.features] or list(projection.desired_features or []),
        "keys": dict(projection.join_key_map or {}),
        "version": "" if version is None else f"v{version}",
    }


def _on_demand(view: Any) -> dict[str, Any]:
    requests = view.source_request_sources.values()
    return {
        **_described(view),
        "code": _code(view),
        "uses": [_use(one) for one in view.source_feature_view_projections.values()],
        "request": [_field(field) for source in requests for field in source.schema],
        "features": [_field(one) for one in view.features],
        "aggregations": [_aggregation(one) for one in getattr(view, "aggregations", None) or []],
    }


def _service(service: Any) -> dict[str, Any]:
    named = [_reference(text) for text in getattr(service, "_pending_feature_refs", None) or []]
    return {**_described(service), "uses": [*map(_use, service.feature_view_projections), *named]}


def _reference(text: str) -> dict[str, Any]:
    """`VIEW[@VERSION][:FEATURE]`."""
    view, _, feature = text.partition(":")
    name, _, version = view.partition("@")
    return {"view": name, "features": [feature] if feature else [], "version": "" if version == "latest" else version}


if __name__ == "__main__":
    main(*sys.argv[1:])

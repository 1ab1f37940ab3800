"""Runs: the record everything writes to."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from tidemill.core.records.record import Json, Record


class Run(Record, frozen=True, kw_only=True):
    """One tracked execution."""

    TABLE: ClassVar[str] = "runs"
    INDEXES: ClassVar[tuple[tuple[str, ...], ...]] = (("project", "run_group", "created_at"), ("parent",))

    id: str
    kind: str
    """`run`, `pipeline`, `step`, `search`, `trial` or `refit`."""
    name: str
    run_group: str
    """What an MLflow client calls an experiment."""
    status: str
    """`running`, `finished`, `failed`, `killed` or `cached`."""
    parent: str | None = None
    started_at: int
    ended_at: int | None = None
    params: Json = msgspec.field(default_factory=dict)
    tags: Json = msgspec.field(default_factory=dict)
    code: Json = msgspec.field(default_factory=dict)
    """Git commit, dirty diff digest, code digest, archive digest."""
    environment: Json = msgspec.field(default_factory=dict)
    resources: Json = msgspec.field(default_factory=dict)
    """Processor seconds and peak memory bytes."""
    error: str | None = None
    cache_key: str | None = None


class MetricPoint(Record, frozen=True, kw_only=True):
    """One value of one metric. NaN and the infinities are kept as a kind beside a null value."""

    TABLE: ClassVar[str] = "metrics"
    KEY: ClassVar[tuple[str, ...]] = ("run_id", "name", "step", "at", "seq")

    run_id: str
    name: str
    step: int
    at: int
    seq: int
    """Tells points of equal name, step and time apart."""
    value: float | None
    kind: str = "finite"
    """`finite`, `nan`, `inf` or `-inf`."""


class Link(Record, frozen=True, kw_only=True):
    """An input or output of a run: the edges of lineage."""

    TABLE: ClassVar[str] = "links"
    KEY: ClassVar[tuple[str, ...]] = ("run_id", "direction", "name", "uri")
    INDEXES: ClassVar[tuple[tuple[str, ...], ...]] = (("project", "uri"),)

    run_id: str
    direction: str
    """`input` or `output`."""
    name: str
    uri: str
    """`dataset/DIGEST`, `table/NAME@VERSION`, `model/NAME/VERSION`, `artifact/DIGEST`, `archive/DIGEST`."""
    digest: str | None = None
    detail: Json = msgspec.field(default_factory=dict)


class StepResult(Record, frozen=True, kw_only=True):
    """What a step gave for a cache key."""

    TABLE: ClassVar[str] = "step_results"
    KEY: ClassVar[tuple[str, ...]] = ("project", "cache_key")

    cache_key: str
    run_id: str
    parts: Json
    """What went into the key, so that a miss can be explained."""
    outputs: list[Json]

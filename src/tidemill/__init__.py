"""Tidemill carries a machine-learning model through its whole life: ingest, train, deploy, monitor, and round again.

Everything public is named here and loaded when it is first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.client.clients import AsyncClient as AsyncClient
    from tidemill.client.clients import Client as Client
    from tidemill.core.errors import TidemillError as TidemillError
    from tidemill.core.specs.aggregates import approx_quantile as approx_quantile
    from tidemill.core.specs.aggregates import approx_unique_count as approx_unique_count
    from tidemill.core.specs.aggregates import count as count
    from tidemill.core.specs.aggregates import ewma as ewma
    from tidemill.core.specs.aggregates import first as first
    from tidemill.core.specs.aggregates import first_k as first_k
    from tidemill.core.specs.aggregates import last as last
    from tidemill.core.specs.aggregates import last_k as last_k
    from tidemill.core.specs.aggregates import max as max
    from tidemill.core.specs.aggregates import mean as mean
    from tidemill.core.specs.aggregates import median as median
    from tidemill.core.specs.aggregates import min as min
    from tidemill.core.specs.aggregates import mode as mode
    from tidemill.core.specs.aggregates import rate as rate
    from tidemill.core.specs.aggregates import stddev as stddev
    from tidemill.core.specs.aggregates import sum as sum
    from tidemill.core.specs.aggregates import unique_count as unique_count
    from tidemill.core.specs.aggregates import variance as variance
    from tidemill.core.specs.changes import Changes as Changes
    from tidemill.core.specs.checks import check as check
    from tidemill.core.specs.features import FeatureService as FeatureService
    from tidemill.core.specs.features import FeatureView as FeatureView
    from tidemill.core.specs.features import Label as Label
    from tidemill.core.specs.features import feature_view as feature_view
    from tidemill.core.specs.features import on_demand as on_demand
    from tidemill.core.specs.lookups import lookup as lookup
    from tidemill.core.specs.monitoring import Monitor as Monitor
    from tidemill.core.specs.monitoring import notify as notify
    from tidemill.core.specs.monitoring import retrain as retrain
    from tidemill.core.specs.preparation import bucketize as bucketize
    from tidemill.core.specs.preparation import clip as clip
    from tidemill.core.specs.preparation import dates as dates
    from tidemill.core.specs.preparation import hash_encode as hash_encode
    from tidemill.core.specs.preparation import impute as impute
    from tidemill.core.specs.preparation import one_hot as one_hot
    from tidemill.core.specs.preparation import ordinal as ordinal
    from tidemill.core.specs.preparation import scale as scale
    from tidemill.core.specs.preparation import target_encode as target_encode
    from tidemill.core.specs.serving import Graph as Graph
    from tidemill.core.specs.sources import Source as Source
    from tidemill.core.specs.sql import sql as sql
    from tidemill.core.specs.training import Gate as Gate
    from tidemill.core.specs.training import integers as integers
    from tidemill.core.specs.training import log_uniform as log_uniform
    from tidemill.core.specs.training import promote as promote
    from tidemill.core.specs.training import search as search
    from tidemill.core.specs.training import split as split
    from tidemill.core.specs.training import uniform as uniform
    from tidemill.core.specs.windows import calendar as calendar
    from tidemill.core.steps import on_change as on_change
    from tidemill.core.steps import pipeline as pipeline
    from tidemill.core.steps import step as step
    from tidemill.core.times import NOW as NOW
    from tidemill.core.times import Time as Time
    from tidemill.platform import Platform as Platform
    from tidemill.platform import open as open
    from tidemill.tracking.datasets import Dataset as Dataset

__version__ = "0.1.0"

_HOMES = {
    "tidemill.client.clients": ["AsyncClient", "Client"],
    "tidemill.core.errors": ["TidemillError"],
    "tidemill.core.specs.aggregates": [
        "approx_quantile", "approx_unique_count", "count", "ewma", "first", "first_k", "last", "last_k", "max", "mean",
        "median", "min", "mode", "rate", "stddev", "sum", "unique_count", "variance",
    ],
    "tidemill.core.specs.changes": ["Changes"],
    "tidemill.core.specs.checks": ["check"],
    "tidemill.core.specs.features": ["FeatureService", "FeatureView", "Label", "feature_view", "on_demand"],
    "tidemill.core.specs.lookups": ["lookup"],
    "tidemill.core.specs.monitoring": ["Monitor", "notify", "retrain"],
    "tidemill.core.specs.preparation": [
        "bucketize", "clip", "dates", "hash_encode", "impute", "one_hot", "ordinal", "scale", "target_encode",
    ],
    "tidemill.core.specs.serving": ["Graph"],
    "tidemill.core.specs.sources": ["Source"],
    "tidemill.core.specs.sql": ["sql"],
    "tidemill.core.specs.training": ["Gate", "integers", "log_uniform", "promote", "search", "split", "uniform"],
    "tidemill.core.specs.windows": ["calendar"],
    "tidemill.core.steps": ["on_change", "pipeline", "step"],
    "tidemill.core.times": ["NOW", "Time"],
    "tidemill.platform": ["Platform", "open"],
    "tidemill.tracking.datasets": ["Dataset"],
}  # fmt: skip
_WHERE = {name: (module, name) for module, found in _HOMES.items() for name in found}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'tidemill' has no attribute {name!r}; it has {', '.join(__all__)}")
    module, attribute = _WHERE[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

"""Values of parameters, tags and metrics, checked and made storable."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from tidemill.core.errors import InvalidArgument
from tidemill.core.records.runs import MetricPoint

_LONGEST_KEY = 250


def check_key(key: object, what: str) -> str:
    """Return the name of a parameter, tag or metric if it can be one.

    Raises:
        InvalidArgument: It is empty, too long, or holds control characters.

    Example:
        >>> check_key("val/roc_auc", "metric")
        'val/roc_auc'
    """
    if not isinstance(key, str) or not key.strip() or len(key) > _LONGEST_KEY or not key.isprintable():
        raise InvalidArgument(f"{key!r} is not a {what} name", expected=f"1 to {_LONGEST_KEY} printable characters")
    return key


def check_path(path: object) -> str:
    """Return the name of a run's artifact if it is a relative path that stays inside.

    Raises:
        InvalidArgument: It is not.

    Example:
        >>> check_path("plots/roc.json")
        'plots/roc.json'
    """
    text = path if isinstance(path, str) else ""
    parts = text.split("/")
    if not text or not text.isprintable() or "\\" in text or any(part in ("", ".", "..") for part in parts):
        raise InvalidArgument(f"Invalid path {path!r}", expected="a relative path such as 'plots/roc.json'")
    return text


def plain_values(values: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The values as JSON: scalars, lists, mappings; numpy scalars become Python's.

    Raises:
        InvalidArgument: A key or a value cannot be kept.
    """
    return {check_key(key, what): _plain(key, value, what) for key, value in values.items()}


def _plain(key: str, value: Any, what: str) -> Any:
    try:
        return msgspec.json.decode(msgspec.json.encode(value, enc_hook=_unwrap))
    except (TypeError, ValueError, msgspec.MsgspecError):
        raise InvalidArgument(
            f"{what} {key!r} is a {type(value).__name__}", expected="a number, text, list or mapping of those"
        ) from None


def _unwrap(value: Any) -> Any:
    # numpy's scalars and arrays, without importing numpy
    for method in ("item", "tolist"):
        if type(value).__module__ == "numpy" and (method == "tolist" or getattr(value, "shape", None) == ()):
            return getattr(value, method)()
    raise TypeError(type(value))


def canonical(value: Any) -> bytes:
    """JSON of a value, to compare by: 1, 1.0 and True are three values.

    Example:
        >>> canonical(1) == canonical(True)
        False
    """
    return msgspec.json.encode(value, order="sorted")


def number(name: str, value: Any) -> float:
    """A metric's value as a float.

    Raises:
        InvalidArgument: It is no number.
    """
    try:
        if not isinstance(value, str | bytes):
            return float(value)
    except (TypeError, ValueError):
        pass
    raise InvalidArgument(f"metric {name!r} is {value!r}", expected="a number")


def kind_of(value: float) -> str:
    """How a number is kept: `finite`, `nan`, `inf` or `-inf`.

    Example:
        >>> kind_of(float("-inf"))
        '-inf'
    """
    if math.isnan(value):
        return "nan"
    return "finite" if math.isfinite(value) else ("inf" if value > 0 else "-inf")


def value_of(point: MetricPoint) -> float:
    """The number a metric point stands for, NaN and the infinities included."""
    return float(point.kind) if point.value is None else point.value

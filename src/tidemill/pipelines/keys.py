"""Cache keys of calls: code, parameters, inputs and environment, each kept so that a miss can be explained."""

from __future__ import annotations

import functools
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Any

import msgspec
import numpy as np

from tidemill.core.code import Reach, code_digest, reach
from tidemill.core.ids import digest_bytes, digest_text
from tidemill.core.specs.definition import Definition
from tidemill.core.specs.training import Gate, Range
from tidemill.core.steps import Handle, Node, Step
from tidemill.core.times import Now
from tidemill.tracking.dataset import Dataset

_PLAIN = (bool, int, float, complex, str, bytes, date, timedelta, Now, Gate, Range, type(None))

OfHandle = Callable[[Handle], str]
"""The digest of the result behind a handle; raises `Unhashable` when it has none."""


@dataclass(frozen=True)
class CacheKey:
    """What a call's result depends on; `digest` None means the call cannot be cached, and `reason` says why."""

    parts: Mapping[str, str]
    reason: str = ""

    @property
    def digest(self) -> str | None:
        """The key itself."""
        if self.reason:
            return None
        return digest_text(*(text for pair in sorted(self.parts.items()) for text in pair))

    def differs_from(self, earlier: Mapping[str, Any]) -> list[str]:
        """The parts that differ from those of an earlier result: why it is not a hit."""
        names = sorted({*self.parts, *earlier})
        return [name for name in names if self.parts.get(name) != earlier.get(name)]


class Unhashable(Exception):
    """A value has no digest, so a call with it is never cached."""


def no_handles(handle: Handle) -> str:
    """For arguments that hold no handles, or whose results do not exist yet."""
    raise Unhashable(f"{handle!r} is not known yet")


def key_of_node(node: Node, of_handle: OfHandle = no_handles, within: str = "") -> CacheKey:
    """The key of a call.

    Args:
        node: The call; its handles stand for their results.
        of_handle: The digests of those results.
        within: What else the result belongs to, such as the run it may be used in.
    """
    parts = {"call": node.name, **_environment()}
    if within:
        parts["within"] = within
    target = [node.target] if isinstance(node.target, Step) else []
    for step in (*target, *_steps_in(node.arguments)):
        found = reach(step.function)
        parts |= _code_parts(found)
        if found.opaque:
            name, kind = min(found.opaque.items())
            return CacheKey(parts, f"its code reads {name}, a {kind}, whose changes cannot be seen")
    for parameter, value in node.arguments.items():
        try:
            parts[f"argument {parameter}"] = value_digest(value, of_handle)
        except Unhashable as error:
            return CacheKey(parts, f"argument {parameter!r}: {error}")
    return CacheKey(parts)


def _steps_in(value: Any) -> Iterator[Step[..., Any]]:
    if isinstance(value, Step):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _steps_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _steps_in(item)


def _code_parts(found: Reach) -> dict[str, str]:
    code = {f"code {name}": digest_text(text) for name, text in found.code.items()}
    return code | {f"package {name}": _version(name) for name in _distributions(found.packages)}


def value_digest(value: Any, of_handle: OfHandle = no_handles) -> str:
    """A digest of an argument.

    Args:
        value: The argument.
        of_handle: The digests of the results behind handles.

    Raises:
        Unhashable: The value has none.

    Example:
        >>> value_digest([1, {"b": 2, "a": 3}]) == value_digest([1, {"a": 3, "b": 2}])
        True
    """
    if isinstance(value, Handle):
        return of_handle(value)
    if isinstance(value, Mapping):
        pairs = sorted((str(k), value_digest(k), value_digest(v, of_handle)) for k, v in value.items())
        return digest_text("mapping", *(part for pair in pairs for part in pair))
    if isinstance(value, list | tuple):
        return digest_text(type(value).__name__, *(value_digest(item, of_handle) for item in value))
    if isinstance(value, set | frozenset):
        return digest_text("set", *sorted(value_digest(item, of_handle) for item in value))
    return _object_digest(value)


def _object_digest(value: Any) -> str:
    if isinstance(value, Dataset):
        return value.digest
    if isinstance(value, Step):
        return code_digest(value.function)
    if isinstance(value, Definition):
        return value.digest()
    if isinstance(value, _PLAIN):
        return digest_text(type(value).__name__, repr(value))
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return digest_text("array", str(value.dtype), repr(value.shape), digest_bytes(value.tobytes()))
    if isinstance(value, msgspec.Struct):
        return digest_text(type(value).__name__, msgspec.json.encode(value, order="sorted").decode())
    raise Unhashable(f"a {type(value).__name__} has no digest")


@functools.cache
def _environment() -> dict[str, str]:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {"python": python, "machine": platform.machine(), "package tidemill": _version("tidemill")}


def _distributions(packages: set[str]) -> list[str]:
    """The installed distributions that hold some packages."""
    owners = _owners()
    return sorted({owner for package in packages for owner in owners.get(package, ())})


@functools.cache
def _owners() -> Mapping[str, list[str]]:
    return packages_distributions()


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"

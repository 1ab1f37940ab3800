"""How model objects become files and come back: one small class per format, in one table."""

from __future__ import annotations

import importlib.util
import io
import threading
import zipfile
from typing import Any, ClassVar, Protocol

from tidemill.core.errors import InvalidArgument, InvalidData, MissingExtra, PermissionDenied, unknown
from tidemill.registry.skops_file import canonical_skops

_parsing = threading.Lock()
"""Held while arrays are read: their headers are parsed with `ast`, which CPython 3.11 may fail at in two threads at once
("AST constructor recursion depth mismatch", python/cpython#106905)."""

_TRUSTED = frozenset({"functools.partial"})
_TRUSTED_MODULES = ("numpy.", "sklearn.")
_NEVER = ("sklearn.datasets.", "sklearn.utils._testing.")


class ModelFormat(Protocol):
    """One way to keep a model. `load(dump(m))` predicts what `m` predicts; equal models give equal bytes where it can be."""

    name: ClassVar[str]
    safe: ClassVar[bool]
    """Whether loading a file of unknown origin can run no code of its author."""

    def takes(self, model: Any) -> bool:
        """Whether it can keep this object."""
        ...

    def dump(self, model: Any) -> bytes: ...

    def load(self, data: bytes) -> Any: ...


class SkopsFormat:
    """scikit-learn estimators, without pickle. Only types of scikit-learn and numpy are loaded."""

    name: ClassVar[str] = "skops"
    safe: ClassVar[bool] = True

    def takes(self, model: Any) -> bool:
        """Whether it is a scikit-learn estimator (of any package that subclasses its base)."""
        return any(cls.__module__.partition(".")[0] == "sklearn" for cls in type(model).__mro__)

    def dump(self, model: Any) -> bytes:
        """The canonical skops file.

        Raises:
            InvalidArgument: The model holds objects of other packages.
        """
        import skops.io

        _require_sklearn()
        data = canonical_skops(skops.io.dumps(model))
        if strange := self._strange(data):
            raise InvalidArgument(
                f"the {type(model).__name__} holds {', '.join(strange)}",
                expected="only types of scikit-learn and numpy in a skops file",
                hint="If you trust the code that loads it, register with trust=True: it is then kept as pickle",
            )
        return data

    def load(self, data: bytes) -> Any:
        """The estimator.

        Raises:
            PermissionDenied: The file holds types that are not trusted.
            InvalidData: It is no skops file.
        """
        _require_sklearn()
        import skops.io

        try:
            types = skops.io.get_untrusted_types(data=data)
            if all(map(_is_trusted, types)):
                with _parsing:
                    return skops.io.loads(data, trusted=types)
        except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile) as error:
            raise InvalidData(f"the model file cannot be read: {error}", expected="a skops file") from error
        raise PermissionDenied(
            f"the model file holds {', '.join(self._strange(data))}", expected="only types of scikit-learn and numpy"
        )

    def _strange(self, data: bytes) -> list[str]:
        import skops.io

        return [name for name in skops.io.get_untrusted_types(data=data) if not _is_trusted(name)]


class PickleFormat:
    """Any Python object, by cloudpickle. Loading a pickle runs code, so it needs explicit trust on both sides."""

    name: ClassVar[str] = "pickle"
    safe: ClassVar[bool] = False

    def takes(self, model: Any) -> bool:
        """Anything that predicts."""
        return callable(getattr(model, "predict", None))

    def dump(self, model: Any) -> bytes:
        """The pickle."""
        import cloudpickle  # type: ignore[import-untyped]

        data: bytes = cloudpickle.dumps(model)
        return data

    def load(self, data: bytes) -> Any:
        """The object. Callers check trust first."""
        import pickle

        return pickle.load(io.BytesIO(data))


FORMATS: dict[str, ModelFormat] = {}
"""Formats by name, safe ones first."""


def add_format(model_format: ModelFormat) -> None:
    """Make a format known; built-in ones are added the same way."""
    FORMATS[model_format.name] = model_format


add_format(SkopsFormat())
add_format(PickleFormat())


def format_for(model: Any, *, trust: bool) -> ModelFormat:
    """The format to keep a model in: a safe one that takes it, else pickle if it is trusted.

    Args:
        model: The object.
        trust: Whether pickle may be used.

    Raises:
        InvalidArgument: No safe format takes it and `trust` was not given, or it does not predict at all.
    """
    if not callable(getattr(model, "predict", None)):
        raise InvalidArgument(f"a {type(model).__name__} is no model", expected="an object with a predict method")
    for candidate in FORMATS.values():
        if candidate.safe != trust and candidate.takes(model):
            return candidate
    raise InvalidArgument(
        f"no safe format keeps a {type(model).__module__}.{type(model).__name__}",
        known=[name for name, candidate in FORMATS.items() if candidate.safe],
        hint="If you trust the code that loads it, register with trust=True: it is then kept as pickle",
    )


def get_format(name: str) -> ModelFormat:
    """A format by name.

    Raises:
        NotFound: There is none.
    """
    if name not in FORMATS:
        raise unknown("model format", name, FORMATS)
    return FORMATS[name]


def _is_trusted(type_name: str) -> bool:
    return type_name in _TRUSTED or (type_name.startswith(_TRUSTED_MODULES) and not type_name.startswith(_NEVER))


def _require_sklearn() -> None:
    if any(importlib.util.find_spec(package) is None for package in ("sklearn", "skops")):
        raise MissingExtra("the model format skops", "sklearn")

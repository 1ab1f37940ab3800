"""What a function is made of: its digest over its own source and the project code it reaches.

The digest changes when the body of the function, of a first-party function or class it names, a default, or a value it reads
from a module changes; comments and white space do not count. Functions are followed through names, attributes of modules,
imports inside a body, closures, decorators, defaults and containers. Definitions (sources, views, ...) are not: they have
digests of their own.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import importlib
import importlib.util
import pickle
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidemill.core.source import (
    CONSTANTS,
    CONTAINERS,
    attributes,
    described,
    layers,
    methods,
    plain_text,
    qualified,
    source_of,
)

__all__ = ["Reach", "code_digest", "is_first_party", "reach", "reached_code", "source_of"]

_SITE = tuple(str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_OWN = str(Path(__file__).resolve().parent.parent)


def is_first_party(module_name: str | None) -> bool:
    """Whether a module belongs to the user's project: it has a file, outside the installed packages and Tidemill."""
    module = sys.modules.get(module_name or "")
    file = getattr(module, "__file__", None)
    return module_name == "__main__" if file is None else _is_own_file(file)


def _is_own_file(file: str) -> bool:
    path = str(Path(file).resolve())
    return not path.startswith((*_SITE, _OWN + "/")) or path.startswith(f"{_OWN}/demo/")


def code_digest(function: Callable[..., Any]) -> str:
    """A digest of a function and of the first-party code it reaches, as 64 hex digits.

    Example:
        >>> def double(x): return 2 * x
        >>> def twice(x): return 2 * x
        >>> code_digest(double) == code_digest(twice)
        False
    """
    h = hashlib.sha256()
    for name, text in sorted(reached_code(function).items()):
        h.update(f"{name}\0{text}\0".encode())
    return h.hexdigest()


def reached_code(function: Callable[..., Any]) -> dict[str, str]:
    """Normalized source of a function and of everything first-party it names, by qualified name."""
    return reach(function).code


@dataclass
class Reach:
    """What a function is made of."""

    code: dict[str, str] = field(default_factory=dict)
    """Normalized source of functions and classes, and the values of what they read, by qualified name."""
    packages: set[str] = field(default_factory=set)
    """Top-level names of the packages outside the project that this code uses."""
    opaque: dict[str, str] = field(default_factory=dict)
    """Values it reads that have no text, by name, with their types: their changes go unseen."""


def reach(function: Callable[..., Any]) -> Reach:
    """Follow a function through the project's code.

    Example:
        >>> FACTOR = 2
        >>> sorted(reach(lambda x: Path(str(FACTOR * x))).packages)
        []
    """
    found, seen = Reach(), set[int]()
    queue: list[tuple[str, Any]] = [(qualified(start), start) for start in layers(function)]
    while queue:
        name, thing = queue.pop()
        if id(thing) in seen:
            continue
        if isinstance(thing, types.FunctionType | type):
            seen.add(id(thing))
            found.code[_free(name, found.code)] = described(thing)
            queue.extend(_named_by(thing, found))
        else:
            found.code.setdefault(name, _value_text(thing, name, found))
            queue.extend(_inside(thing))
    return found


def _free(name: str, taken: Mapping[str, str]) -> str:
    number = 2
    while (free := name if number == 2 else f"{name}#{number - 1}") in taken:
        number += 1
    return free


def _value_text(value: Any, name: str, found: Reach) -> str:
    if isinstance(value, (*CONSTANTS, *CONTAINERS)):
        return plain_text(value)
    try:
        return f"{plain_text(value)} {hashlib.sha256(pickle.dumps(value, protocol=5)).hexdigest()}"
    except (pickle.PicklingError, TypeError, AttributeError, ValueError, RecursionError):
        found.opaque[name] = type(value).__qualname__
        return plain_text(value)


def _named_by(thing: Any, found: Reach) -> Iterator[tuple[str, Any]]:
    if isinstance(thing, type):
        for base in thing.__bases__:
            yield from _followed(qualified(base), base, found)
        yield from _inside(attributes(thing))
    for function in [thing] if isinstance(thing, types.FunctionType) else methods(thing):
        yield from _inside((function.__defaults__, function.__kwdefaults__))
        yield from _read_by(function, found)


def _read_by(function: types.FunctionType, found: Reach) -> Iterator[tuple[str, Any]]:
    module = function.__globals__.get("__name__", "")
    names = _names(function.__code__)
    for other in _imported_by(function, found):
        yield from _attributes_read(other, names, found)
    if not is_first_party(module):
        return
    scope = {**function.__globals__, **_closure(function)}
    for name in sorted(names):
        if name in scope and not name.startswith("__"):
            value = scope[name]
            if isinstance(value, types.ModuleType):
                yield from _attributes_read(value, names, found)
            yield from _followed(f"{module}:{name}", value, found)


def _attributes_read(module: types.ModuleType, names: set[str], found: Reach) -> Iterator[tuple[str, Any]]:
    if is_first_party(module.__name__):
        for name in sorted(names & vars(module).keys()):
            if not name.startswith("__"):
                yield from _followed(f"{module.__name__}:{name}", vars(module)[name], found)


def _followed(name: str, value: Any, found: Reach) -> Iterator[tuple[str, Any]]:
    own = layers(value)
    for layer in own:
        if is_first_party(layer.__module__):
            yield qualified(layer), layer
        else:
            found.packages.add(_top(layer.__module__))
    if isinstance(value, types.ModuleType):
        if not is_first_party(value.__name__):
            found.packages.add(_top(value.__name__))
    elif isinstance(value, functools.partial):
        yield f"{name} arguments", (value.args, value.keywords)
    elif not own and not _is_definition(value):
        yield name, value
        yield from _followed(qualified(type(value)), type(value), found)


def _top(module_name: str | None) -> str:
    return (module_name or "").partition(".")[0]


def _is_definition(value: Any) -> bool:
    return callable(getattr(value, "describe", None)) and isinstance(getattr(value, "kind", None), str)


def _inside(value: Any) -> Iterator[tuple[str, Any]]:
    """The functions and classes in containers."""
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, CONTAINERS):
        for item in value:
            yield from _inside(item)
        return
    if isinstance(value, CONSTANTS) or _is_definition(value):
        return
    for layer in layers(value):
        if is_first_party(layer.__module__):
            yield qualified(layer), layer


def _closure(function: types.FunctionType) -> dict[str, Any]:
    held = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            held[name] = cell.cell_contents
        except ValueError:  # assigned later, or never
            continue
    return held


def _names(code: types.CodeType) -> set[str]:
    names = set(code.co_names) | set(code.co_freevars)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names


def _imported_by(function: types.FunctionType, found: Reach) -> Iterator[types.ModuleType]:
    """First-party modules imported inside a body; the names of other packages are noted."""
    package = function.__globals__.get("__package__") or ""
    for name in sorted(_imports(function.__code__)):
        for full in (name, f"{package}.{name}".strip(".")):
            module = _own_module(full)
            if module is not None:
                yield module
        found.packages.add(name.partition(".")[0])


def _imports(code: types.CodeType) -> set[str]:
    found = {str(step.argval) for step in dis.get_instructions(code) if step.opname == "IMPORT_NAME"}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _imports(constant)
    return found


def _own_module(name: str) -> types.ModuleType | None:
    # Not imported yet, its code would go unseen; the function is about to import it anyway.
    if name in sys.modules:
        return sys.modules[name] if is_first_party(name) else None
    try:
        spec = importlib.util.find_spec(name) if name else None
        if spec is None or spec.origin is None or not _is_own_file(spec.origin):
            return None
        return importlib.import_module(name)
    except (ImportError, ValueError):
        return None  # the function itself will say so

"""What a definition is made of: the other definitions it uses, and the functions whose source people want to read."""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tidemill.core.code import is_first_party, source_of
from tidemill.core.specs.definition import Definition


def uses(definition: Definition) -> list[Definition]:
    """The definitions one uses directly, in the order it names them: in its fields, or in the code of its functions."""
    found = {id(item): item for item in _items(vars(definition).values()) if isinstance(item, Definition)}
    for function in _functions(definition):
        found.update((id(item), item) for item in _named(function, set()))
    found.pop(id(definition), None)
    return list(found.values())


def source_text(definition: Definition) -> str:
    """The source code of a definition's functions, for people to read; empty when it has none."""
    return "\n\n".join(filter(None, (source_of(function) for function in _functions(definition))))


def _functions(definition: Definition) -> list[types.FunctionType]:
    found = (item for item in _items(vars(definition).values()) if isinstance(item, types.FunctionType))
    return list({id(function): function for function in found}.values())


def _items(values: Iterable[Any]) -> Iterator[Any]:
    """Definitions and functions among some values, inside containers and plain dataclasses too, but not inside definitions."""
    for value in values:
        if isinstance(value, Definition | types.FunctionType):
            yield value
        elif isinstance(value, Mapping):
            yield from _items(value.values())
        elif isinstance(value, list | tuple | set | frozenset):
            yield from _items(value)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from _items(vars(value).values())


def _named(function: types.FunctionType, seen: set[int]) -> Iterator[Definition]:
    """Definitions that a function, or a function of the project it calls, names."""
    seen.add(id(function))
    scope = inspect.getclosurevars(function)
    for value in {**scope.globals, **scope.nonlocals}.values():
        if isinstance(value, Definition):
            yield value
        elif isinstance(value, types.FunctionType) and id(value) not in seen and is_first_party(value.__module__):
            yield from _named(value, seen)

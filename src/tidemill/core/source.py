"""The text of code and of plain values: what a digest is taken of."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import textwrap
import types
from collections.abc import Callable
from typing import Any

CONSTANTS = (int, float, complex, str, bytes, bool, type(None), type(...))
CONTAINERS = (tuple, list, set, frozenset, dict)


def source_of(function: Callable[..., Any]) -> str:
    """The source text of a function as written; empty when there is none (a lambda typed at a prompt)."""
    try:
        return textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    except (OSError, TypeError):
        return ""


def qualified(thing: Any) -> str:
    """`module:name` of a function, class or other named object."""
    # A wrapper made with functools.wraps goes by the name of what it wraps; its code has its own.
    if isinstance(thing, types.FunctionType):
        return f"{thing.__globals__.get('__name__', '')}:{thing.__code__.co_qualname}"
    return f"{getattr(thing, '__module__', '')}:{getattr(thing, '__qualname__', repr(thing))}"


def described(thing: Any) -> str:
    """The normalized text of a function with its defaults, or of a class with its plain attributes."""
    if isinstance(thing, type):
        return f"{_normalized_source(thing)} {plain_text(attributes(thing))}"
    defaults = (thing.__defaults__, thing.__kwdefaults__)
    return _normalized_source(thing) + ("" if defaults == (None, None) else f" {plain_text(defaults)}")


def _normalized_source(thing: Any) -> str:
    codes = [thing.__code__] if isinstance(thing, types.FunctionType) else [f.__code__ for f in methods(thing)]
    # A lambda's source is the whole statement around it, which several lambdas may share: its compiled form is its own.
    if thing.__name__ != "<lambda>" and all(map(_is_as_written, codes)):
        try:
            # By its code: the source of a wrapper would be that of what it wraps.
            text = inspect.getsource(thing if isinstance(thing, type) else thing.__code__)
            return ast.dump(_undecorated(ast.parse(textwrap.dedent(text)), thing), include_attributes=False)
        except (SyntaxError, OSError, TypeError):
            pass
    return " ".join(map(_compiled, codes))


def _undecorated(parsed: ast.Module, thing: Any) -> ast.Module:
    """The text without Tidemill's own decorators: what they are told belongs to the definition, not to the function."""
    for node in parsed.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.decorator_list = [one for one in node.decorator_list if not _is_ours(one, thing)]
    return parsed


def _is_ours(decorator: ast.expr, thing: Any) -> bool:
    root = decorator
    while isinstance(root, ast.Call | ast.Attribute):
        root = root.func if isinstance(root, ast.Call) else root.value
    named = getattr(thing, "__globals__", {}).get(root.id) if isinstance(root, ast.Name) else None
    module = named.__name__ if isinstance(named, types.ModuleType) else getattr(named, "__module__", None) or ""
    return module.partition(".")[0] == "tidemill"


def _is_as_written(code: types.CodeType) -> bool:
    # The file may have been edited after it was imported: then its text is not what runs.
    if not code.co_filename.endswith(".py"):
        return True
    linecache.checkcache(code.co_filename)
    text = "".join(linecache.getlines(code.co_filename))
    return _fingerprint(code) in _fingerprints(text, code.co_filename)


@functools.lru_cache(maxsize=256)
def _fingerprints(text: str, filename: str) -> frozenset[str]:
    try:
        queue, found = [compile(text, filename, "exec", dont_inherit=True)], set[str]()
    except (SyntaxError, ValueError):
        return frozenset()
    while queue:
        code = queue.pop()
        found.add(_fingerprint(code))
        queue.extend(constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return frozenset(found)


def _fingerprint(code: types.CodeType) -> str:
    return f"{code.co_qualname} {code.co_firstlineno} {_compiled(code)}"


def _compiled(code: types.CodeType) -> str:
    constants = [_compiled(c) if isinstance(c, types.CodeType) else plain_text(c) for c in code.co_consts]
    return f"{code.co_code.hex()} {constants!r} {code.co_names}"


def plain_text(value: Any) -> str:
    """A text of a value that is the same in every process: sets in order, functions and objects by name and type."""
    if isinstance(value, CONSTANTS):
        return repr(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{plain_text(k)}: {plain_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, set | frozenset):
        return f"{type(value).__name__}({sorted(map(plain_text, value))})"
    if isinstance(value, tuple | list):
        return f"{type(value).__name__}({', '.join(map(plain_text, value))})"
    if isinstance(value, types.FunctionType | type | types.BuiltinFunctionType):
        return qualified(value)
    return f"{type(value).__module__}:{type(value).__qualname__}"


def layers(value: Any) -> list[Any]:
    """The function or class that a value is, and those it wraps: decorated functions, steps, partials."""
    found: list[Any] = []
    while value is not None:
        if isinstance(value, types.FunctionType | types.BuiltinFunctionType | type):
            found.append(value)
        inner = None if isinstance(value, type) else getattr(value, "__dict__", {}).get("__wrapped__")
        value = value.func if isinstance(value, functools.partial) else inner
    return found


def methods(cls: type) -> list[types.FunctionType]:
    """The functions in the body of a class, those behind properties and decorators included."""
    found = []
    for value in vars(cls).values():
        inner = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        found += [layer for layer in layers(inner) if isinstance(layer, types.FunctionType)]
    return found


def attributes(cls: type) -> dict[str, Any]:
    """The attributes of a class that are plain values."""
    plain = (*CONSTANTS, *CONTAINERS)
    return {k: v for k, v in sorted(vars(cls).items()) if isinstance(v, plain) and not k.startswith("__")}

"""Which columns a preparation is done to, and what there is after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from tidemill.core.errors import InvalidArgument, unknown
from tidemill.core.schema import Column
from tidemill.core.specs.preparation import Dates, Prepare, Recipe


def inputs_of(recipe: Recipe, features: Sequence[Column], time: str | None) -> tuple[Column, ...]:
    """The columns a recipe is applied to: the features, and the prediction time where `dates` names it."""
    named = {name for spec in recipe if isinstance(spec, Dates) for name in spec.columns}
    if time is None or time not in named or any(column.name == time for column in features):
        return tuple(features)
    return (*features, Column(name=time, type="time"))


def chosen(spec: Prepare, working: Mapping[str, Column]) -> list[str]:
    """The columns a preparation is done to, in the order it names them.

    Raises:
        NotFound: A name is no column.
        InvalidArgument: It does not fit a column it names, or a pattern matches none that it fits.

    Example:
        >>> from tidemill.core.specs.preparation import scale
        >>> columns = [Column(name="a__temp", type="float64"), Column(name="a__sky", type="string")]
        >>> chosen(scale("a__*"), {column.name: column for column in columns})
        ['a__temp']
    """
    found: dict[str, None] = {}
    for asked in spec.columns:
        if any(character in asked for character in "*?["):
            matching = [n for n, column in working.items() if fnmatchcase(n, asked) and column.type in spec.takes()]
            if not matching:
                raise InvalidArgument(f"{spec.kind}({asked!r}) matches no column that it fits",
                                      expected=_taken(spec), known=sorted(working))  # fmt: skip
            found |= dict.fromkeys(matching)
        else:
            found[_named(spec, asked, working)] = None
    return list(found)


def _named(spec: Prepare, name: str, working: Mapping[str, Column]) -> str:
    if name not in working:
        raise unknown(f"column to {spec.kind}", name, working)
    if working[name].type not in spec.takes():
        raise InvalidArgument(f"{spec.kind}({name!r}) on a column of {working[name].type}", expected=_taken(spec))
    return name


def _taken(spec: Prepare) -> str:
    return f"a column of {' or '.join(sorted(spec.takes()))}"


def replaced(working: Mapping[str, Column], name: str, outputs: Sequence[Column]) -> dict[str, Column]:
    """The columns with some in the place of one.

    Raises:
        InvalidArgument: A new one has the name of another.
    """
    names = [column.name for column in outputs]
    taken = [one for one in names if one != name and one in working] + [n for n in names if names.count(n) > 1]
    if taken:
        raise InvalidArgument(f"preparing {name!r} makes a column {taken[0]!r}, which there is already",
                              hint="Rename one of the features")  # fmt: skip
    result: dict[str, Column] = {}
    for known, column in working.items():
        result |= {made.name: made for made in outputs} if known == name else {known: column}
    return result

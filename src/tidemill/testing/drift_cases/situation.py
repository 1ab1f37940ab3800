"""What a case is, and how an answer to it is looked up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

Input = dict[str, Any]
Answer = Callable[[], Any]
Answers = Mapping[str, Answer]


class Case(msgspec.Struct):
    """One case of a file; `input` and `expected` depend on the situation."""

    id: str
    what: str
    input: Input
    expected: dict[str, Any]
    abs_tol: float = 1e-9
    note: str = ""


class CaseFile(msgspec.Struct):
    """A file of cases."""

    cases: list[Case]


class Situation(msgspec.Struct, frozen=True):
    """A kind of case this package can answer.

    Attributes:
        needs: Input keys (or beginnings of keys, ending in `*`) it is recognised by.
        answers: From the case to its answers, computed on demand. A key that ends in `*` answers every expected key that
            begins so, and is called with the rest of the key.
    """

    needs: tuple[str, ...]
    answers: Callable[[Case], Mapping[str, Callable[..., Any]]]

    def matches(self, case: Case) -> bool:
        """Whether the case's input has all the keys."""
        return all(any(_fits(need, key) for key in case.input) for need in self.needs)


class Unanswered(Exception):
    """An expected key the situation does not compute."""


def look_up(answers: Mapping[str, Callable[..., Any]], key: str) -> Any:
    """The answer to an expected key.

    Raises:
        Unanswered: If there is none.
    """
    if key in answers:
        return answers[key]()
    for name, answer in answers.items():
        if name.endswith("*") and key.startswith(name[:-1]):
            return answer(key[len(name) - 1 :])
    raise Unanswered(key)


def constants(values: Mapping[str, Any]) -> dict[str, Answer]:
    """Answers that are already computed.

    Example:
        >>> constants({"auc": 0.75})["auc"]()
        0.75
    """
    return {key: lambda value=value: value for key, value in values.items()}  # type: ignore[misc]


def _fits(need: str, key: str) -> bool:
    return key.startswith(need[:-1]) if need.endswith("*") else key == need

"""What became of a repository: the file's text, what was converted, what was not and why."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Converted(msgspec.Struct, frozen=True, kw_only=True):
    """Something that has a counterpart.

    Attributes:
        kind: What it was in Feast, in words: `feature view`.
        name: What it was called there.
        becomes: What it is here, as in the file: `tm.FeatureView driver_stats`.
    """

    kind: str
    name: str
    becomes: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Something, or a part of something, that has none.

    Attributes:
        kind: What it was in Feast.
        name: What it was called there.
        reason: Why it could not be converted.
        next_step: What to do instead.
    """

    kind: str
    name: str
    reason: str
    next_step: str


class Conversion(msgspec.Struct, frozen=True, kw_only=True):
    """A repository, converted.

    Attributes:
        text: The project file.
        converted: What is in it.
        not_converted: What is not.
        notes: What is good to know of it.
    """

    text: str
    converted: Sequence[Converted]
    not_converted: Sequence[Problem]
    notes: Sequence[str]


class Progress:
    """Collects what becomes of a repository while it is converted."""

    def __init__(self) -> None:
        self.converted: list[Converted] = []
        self.problems: list[Problem] = []
        self.notes: list[str] = []

    def done(self, kind: str, name: str, becomes: str) -> None:
        """Something was converted."""
        self.converted.append(Converted(kind=kind, name=name, becomes=becomes))

    def failed(self, kind: str, name: str, reason: str, next_step: str) -> None:
        """Something, or a part of it, was not."""
        self.problems.append(Problem(kind=kind, name=name, reason=reason, next_step=next_step))

    def note(self, text: str) -> None:
        """Something is good to know; once is enough."""
        if text not in self.notes:
            self.notes.append(text)

"""Change logs: sources whose rows tell what was inserted, updated and deleted elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tidemill.core.errors import InvalidArgument

ADDS, REMOVES = "+", "-"
"""What the op column of a table holds: the row became live, or one live row like it went."""

KINDS = ("insert", "update", "delete", "before", "after")
"""What a change may be; `before` and `after` are the two images of an update that come as rows of their own."""

WORDS: Mapping[str, str] = {
    "+": "insert", "+i": "insert", "i": "insert", "insert": "insert", "c": "insert", "create": "insert",
    "r": "insert", "read": "insert", "snapshot": "insert",
    "u": "update", "update": "update",
    "-": "delete", "-d": "delete", "d": "delete", "delete": "delete",
    "-u": "before", "update_before": "before", "update_preimage": "before",
    "+u": "after", "update_after": "after", "update_postimage": "after",
}  # fmt: skip
"""How the usual change logs (Debezium, Delta, Flink, plain `+` and `-`) spell them, in lower case."""


@dataclass(frozen=True)
class Changes:
    """What makes a source a change log: its rows say what became live and what is gone.

    Each change is either one row that holds the row before and after it in two columns of structs (Debezium), or there is
    a row of its own for each image (Delta's `update_preimage` and `update_postimage`, or plain `+` and `-`). A snapshot is
    a number of inserts. In the table all changes look alike: one row per image, its op `+` (became live) or `-` (is gone).

    Args:
        op: Column that says what a change is.
        before: Column with the row before the change, a struct.
        after: Column with the row after it, likewise; both or neither.
        words: What the op column holds for `insert`, `update`, `delete`, `before` and `after`, where it is none of the
            usual words (in any case).

    Raises:
        InvalidArgument: Only one of `before` and `after` is given, or a word stands for nothing known.

    Example:
        >>> Changes(words={"new": "insert"}).kinds["new"], Changes().kinds["update_preimage"]
        ('insert', 'before')
    """

    op: str = "op"
    before: str | None = None
    after: str | None = None
    words: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.before is None) != (self.after is None):
            raise InvalidArgument(
                "a change log has the rows before and after a change in two columns, and one of them is not named",
                expected='tm.Changes(before="before", after="after"), or neither where each image is a row of its own',
            )
        for word, kind in self.words.items():
            if kind not in KINDS:
                raise InvalidArgument(f"words={{{word!r}: {kind!r}}} names no kind of change", known=KINDS)

    @property
    def kinds(self) -> dict[str, str]:
        """Word in lower case -> one of `KINDS`."""
        return {**WORDS, **{word.lower(): kind for word, kind in self.words.items()}}

    def describe(self) -> dict[str, Any]:
        """Everything that makes it what it is, as plain JSON."""
        return {"op": self.op, "before": self.before, "after": self.after, "words": dict(self.words)}

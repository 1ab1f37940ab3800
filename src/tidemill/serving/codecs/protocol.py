"""What a codec is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import polars as pl

from tidemill.core.errors import TidemillError
from tidemill.serving.answer import Answer
from tidemill.serving.generation import Generation


@dataclass(frozen=True)
class Decoded:
    """A request's rows by the endpoint's schema, and what the codec wants to remember for the reply."""

    rows: pl.DataFrame
    note: dict[str, Any] = field(default_factory=dict)


class Codec(Protocol):
    """One language of clients. Stateless; called from the computing thread."""

    name: str

    def decode(self, body: bytes, generation: Generation) -> Decoded:
        """Rows of a request's body.

        Raises:
            InvalidData: The body is not what the language or the endpoint's schema says.
        """
        ...

    def encode(self, answer: Answer, decoded: Decoded) -> bytes: ...

    def error(self, error: BaseException, request_id: str) -> bytes:
        """The body that tells a client what went wrong."""
        ...


def message_of(error: BaseException) -> str:
    """What a client may read of an error: ours in full, of others nothing from inside.

    Example:
        >>> message_of(ZeroDivisionError("secret"))
        'Something failed inside the server.'
    """
    return str(error) if isinstance(error, TidemillError) else "Something failed inside the server."

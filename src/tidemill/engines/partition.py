"""The work on one partition, as every engine does it where the partition is."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tidemill.core.errors import TidemillError, UserCodeError
from tidemill.engines.protocol import Keyed, PartitionFunction

Parts = Sequence[Sequence[pl.DataFrame]]
"""For each input the frames that make up its rows of one partition."""


@dataclass(frozen=True)
class Failure:
    """What a function raised, in a shape that every process can read.

    Args:
        kind: The name of the exception's class.
        message: Its text.
        error: The pickled error, if it is one of Tidemill's own.
    """

    kind: str
    message: str
    error: bytes | None = None

    def raise_as(self, engine: str) -> None:
        """Raise it where the caller is.

        Raises:
            UserCodeError: The function raised; Tidemill's own errors are raised as they are.
        """
        if self.error is not None:
            raise pickle.loads(self.error)
        raise UserCodeError(
            f"the function run by engine {engine!r} raised {self.kind}: {self.message or 'no message'}",
            hint="Try it on the same rows without an engine",
        )


@dataclass(frozen=True)
class Work:
    """A function and the columns of its inputs.

    Args:
        function: Called with one frame per input.
        schemas: The columns of each input.
    """

    function: PartitionFunction
    schemas: tuple[pl.Schema, ...]

    @classmethod
    def on(cls, inputs: Sequence[Keyed], function: PartitionFunction) -> Work:
        """The work on partitions of some inputs."""
        return cls(function, tuple(keyed.schema for keyed in inputs))

    def __call__(self, parts: Parts) -> pl.DataFrame | Failure:
        """Call the function on a partition."""
        try:
            frames = [
                pl.concat(part) if part else pl.DataFrame(schema=schema)
                for part, schema in zip(parts, self.schemas, strict=True)
            ]
            return self.function(*frames)
        except TidemillError as error:
            return Failure(type(error).__name__, str(error), pickle.dumps(error))
        except Exception as error:  # noqa: BLE001 - the edge of a worker: what it was is told to the caller
            return Failure(type(error).__name__, str(error))


def checked(answer: pl.DataFrame | Failure, engine: str) -> pl.DataFrame:
    """An answer that is no failure.

    Raises:
        UserCodeError: It is one; see `Failure.raise_as`.
    """
    if isinstance(answer, Failure):
        answer.raise_as(engine)
    assert isinstance(answer, pl.DataFrame)
    return answer


def to_bytes(frame: pl.DataFrame) -> bytes:
    """A frame as an Arrow stream, with all its types."""
    return frame.write_ipc_stream(None).getvalue()


def from_bytes(data: bytes) -> pl.DataFrame:
    """The frame of an Arrow stream.

    Example:
        >>> from_bytes(to_bytes(pl.DataFrame({"x": pl.Series([1], dtype=pl.UInt16)})))["x"].dtype
        UInt16
    """
    return pl.read_ipc_stream(io.BytesIO(data))


def grouped(pieces: Mapping[tuple[int, int], Sequence[pl.DataFrame]], inputs: int, partition: int) -> Parts:
    """The pieces of one partition, by input; `pieces` has them by input and partition."""
    return [pieces.get((number, partition), ()) for number in range(inputs)]

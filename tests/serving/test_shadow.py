"""The shadow is asked about several requests at once; one that fails spoils it for no other."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import polars as pl
import pytest

from tidemill.core.clock import ManualClock
from tidemill.core.errors import UserCodeError
from tidemill.core.protocols import Captured, ModelRef
from tidemill.core.schema import Column, Signature
from tidemill.core.scope import Scope
from tidemill.core.specs.serving import Graph
from tidemill.serving.board import Board
from tidemill.serving.frames import PREDICTION_TIME, ROW_ID
from tidemill.serving.generation import Generation, Predicted
from tidemill.serving.lane import Lane
from tidemill.serving.metrics import EndpointMetrics
from tidemill.serving.runtime import Target
from tidemill.serving.shadow import MOST_WAITING, Shadow, Waiting

SIGNATURE = Signature(inputs=(Column(name="x", type="float64"),), outputs=(Column(name="prediction", type="float64"),))
BAD = -1.0


class Doubling:
    """Twice `x`; refuses rows with `BAD`. Remembers how many rows it was asked at a time."""

    signature = SIGNATURE

    def __init__(self) -> None:
        self.asked: list[int] = []

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        self.asked.append(rows.height)
        if (rows["x"] == BAD).any():
            raise UserCodeError("the model failed on a row")
        return rows.select(prediction=pl.col("x") * 2.0)


class Sink:
    """Keeps what is captured."""

    def __init__(self) -> None:
        self.kept: list[Captured] = []

    def append(self, captured: Captured) -> None:
        self.kept.append(captured)


class Bench:
    """A shadow whose lane is held up until `go`."""

    def __init__(self) -> None:
        self.model, self.sink, self.lane, self.board = Doubling(), Sink(), Lane(), Board(1)
        self.shadow = Shadow(self.lane, self.sink, EndpointMetrics(self.board.regions[0], "rides", "fare"))
        self._gate = threading.Event()
        self.lane.later(self._held_up)
        first, second = (ModelRef("fare", version, f"artifact{version}") for version in (1, 2))
        target = Target(endpoint="fare", number=1, graph="g", model=first, shadow=second)
        scope = Scope("rides", "tests", ManualClock(0))
        graph = Graph("fare").model("models:/fare@champion")
        self.generations = [Generation(target, graph, self.model, self.model, None, scope) for _ in range(2)]  # type: ignore[arg-type]

    def _held_up(self) -> None:
        self._gate.wait(30)

    def answered(self, request: str, *values: float, generation: int = 0) -> None:
        rows = pl.DataFrame({ROW_ID: [f"{request}/{i}" for i in range(len(values))], "x": values}).with_columns(
            pl.lit(0, pl.Int64).alias(PREDICTION_TIME)
        )
        done = Predicted(rows, rows, rows)
        kept = Captured("fare", 1, request, 7, 0, rows)
        self.shadow.later(Waiting(self.generations[generation], done, kept))

    def go(self) -> dict[str, list[float]]:
        """Let the lane run out; returns what the shadow answered to each request."""
        self._gate.set()
        self.lane.close()
        assert {one.endpoint for one in self.sink.kept} <= {"fare__shadow"}
        return {one.request_id: one.rows["shadow_prediction"].to_list() for one in self.sink.kept}

    def counted(self, name: str) -> float:
        return sum(value for key, value in self.board.totals().items() if key.startswith(name))


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.go()


def test_requests_that_wait_are_asked_together(bench: Bench) -> None:
    bench.answered("a", 1.0, 2.0)
    bench.answered("b", 3.0)
    bench.answered("c", 4.0, 5.0, 6.0)
    assert bench.go() == {"a": [2.0, 4.0], "b": [6.0], "c": [8.0, 10.0, 12.0]}
    assert bench.model.asked == [6]
    assert bench.sink.kept[0].rows[ROW_ID].to_list() == ["a/0", "a/1"]
    assert bench.counted("tidemill_shadow_predictions_total") == 6


def test_each_generation_is_asked_about_its_own(bench: Bench) -> None:
    for number, generation in enumerate([0, 0, 1, 0]):
        bench.answered(f"r{number}", float(number), generation=generation)
    assert bench.go() == {"r0": [0.0], "r1": [2.0], "r2": [4.0], "r3": [6.0]}
    assert bench.model.asked == [2, 1, 1]


def test_one_that_fails_spoils_it_for_no_other(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.answered("a", 1.0)
    bench.answered("b", 2.0, BAD)
    bench.answered("c", 3.0)
    assert bench.go() == {"a": [2.0], "c": [6.0]}
    assert bench.counted("tidemill_shadow_dropped_total") == 2
    assert "shadow of fare failed" in caplog.text


def test_more_than_may_wait_are_not_asked(bench: Bench) -> None:
    for number in range(MOST_WAITING + 3):
        bench.answered(f"r{number}", 1.0)
    assert len(bench.go()) == MOST_WAITING
    assert bench.counted("tidemill_shadow_dropped_total") == 3

from __future__ import annotations

import polars as pl
import pytest

import tidemill as tm
from tidemill.core.errors import InvalidArgument, NotReady
from tidemill.core.steps import StepGraph

flights = tm.Source("flights", "flights.parquet", time="at", id="id")
delays = tm.FeatureView(source=flights, keys="carrier", aggregates=[tm.mean("late", over="24h")], name="delays")
service = tm.FeatureService([delays], name="service")
late = tm.Label(flights, pl.col("delay") > 15, known_at="landed", name="late")


@tm.step
def train(rows: object, rate: float = 0.1) -> str:
    return f"{rows} at {rate}"


@tm.step(outputs=2)
def halves(rows: object) -> tuple[int, int]:
    return 1, 2


@tm.pipeline(triggers=[tm.on_change(delays)])
def loop(until: tm.Time = tm.NOW) -> object:
    rows = service.training_set(spine=flights, label=late, until=until)
    fit, test = tm.split(rows, test="28d")
    best = tm.search(train, rows=fit, space={"rate": tm.log_uniform(0.01, 1)}, trials=2, maximize="roc_auc")
    return tm.promote(best, "m", test=test, gate=tm.Gate("roc_auc"), refit=rows)


def traced() -> StepGraph:
    return loop.trace(loop.parameters({}))


def test_a_step_called_plainly_is_the_function() -> None:
    assert train("x", rate=2) == "x at 2"
    assert train.__name__ == "train"


def test_tracing_records_calls_in_order_with_their_inputs() -> None:
    graph = traced()
    assert [node.id for node in graph.nodes] == ["training_set", "split", "search", "promote"]
    assert [[handle.node.id for handle in node.upstream()] for node in graph.nodes] == [
        [], ["training_set"], ["split"], ["search", "split", "training_set"],
    ]  # fmt: skip
    assert graph.result.node.id == "promote"


def test_repeated_calls_get_numbers_and_outputs_unpack() -> None:
    def compose() -> object:
        first, second = halves(1)
        return train(first), train(second)

    graph = tm.pipeline(compose).trace({})
    assert [node.id for node in graph.nodes] == ["halves", "train", "train-2"]
    assert [next(node.upstream()).index for node in graph.nodes[1:]] == [0, 1]


@pytest.mark.parametrize(
    ("misuse", "words"),
    [
        (lambda h: bool(h), "exists only when the pipeline runs"),
        (lambda h: list(h), "outputs=2"),
        (lambda h: h.score, "Read it inside a step"),
    ],
)
def test_misused_handles_say_the_fix(misuse: object, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        misuse(traced().result)  # type: ignore[operator]


def test_wrong_arguments_name_the_known_ones() -> None:
    with pytest.raises(InvalidArgument, match="rows, rate"):
        tm.pipeline(lambda_pipeline).trace({})
    with pytest.raises(InvalidArgument, match="Known: until"):
        loop.parameters({"untill": 1})


def lambda_pipeline() -> object:
    return train(1, rat=2)  # type: ignore[call-arg]


def test_operations_outside_a_platform_say_what_to_do() -> None:
    with pytest.raises(NotReady, match="tm\\.open"):
        loop()


def test_search_wants_one_metric() -> None:
    with pytest.raises(InvalidArgument, match="one metric"):
        tm.search(train, rows=1, space={}, maximize="a", minimize="b")

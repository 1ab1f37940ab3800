from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from serving_project import SCOPE, Stations, service

from tidemill.core.errors import InvalidArgument, InvalidData, UserCodeError
from tidemill.core.protocols import ModelRef
from tidemill.core.schema import Column, Signature
from tidemill.core.specs.features import FeatureService
from tidemill.core.specs.serving import Graph
from tidemill.core.uris import ModelUri
from tidemill.monitoring.vectors import put_back
from tidemill.serving.generation import Generation, compile_generation
from tidemill.serving.runtime import Target

SIGNATURE = Signature(
    inputs=(Column(name="x", type="float64"),), outputs=(Column(name="prediction", type="float64"),),
    request=(Column(name="ride", type="int64"), Column(name="leg", type="string"), Column(name="x", type="float64")),
    id=("ride", "leg"),
)  # fmt: skip


class Doubling:
    """A model that answers 2x."""

    def __init__(self, signature: Signature = SIGNATURE) -> None:
        self.signature = signature

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.select(prediction=pl.col("x") * 2)


class Models:
    """One model, with an example."""

    def __init__(self, signature: Signature = SIGNATURE, answer: float = 2.0) -> None:
        self._signature, self._answer = signature, answer

    def resolve(self, uri: ModelUri) -> ModelRef | None:
        return None

    def load(self, ref: ModelRef) -> Doubling:
        return Doubling(self._signature)

    def example(self, ref: ModelRef) -> tuple[pl.DataFrame, pl.DataFrame] | None:
        return pl.DataFrame({"x": [1.0, None]}), pl.DataFrame({"prediction": [self._answer, None]})


def compiled(graph: Graph, models: Models | None = None, **ref: Any) -> Generation:
    model = ModelRef("fare", 3, "abc", **ref)
    target = Target(endpoint=graph.name, number=1, graph=graph.digest(), model=model)
    return compile_generation(target, graph, models=models or Models(), features=Stations(), scope=SCOPE)


GRAPH = Graph("fare").model("models:/fare@champion")
ROWS = [{"ride": 1, "leg": "a", "x": 1.0}, {"ride": 2, "leg": None, "x": 2.0}]


def test_row_ids_are_the_id_columns_joined() -> None:
    generation = compiled(GRAPH)
    done = generation.run(generation.schema.from_rows(ROWS), 5)
    ids = done.rows["row_id"].to_list()
    assert ids[0] == "1|a"
    assert len(ids[1]) == 32  # an id that lacks a part is none
    assert done.rows["prediction_time"].to_list() == [5, 5]
    captured = generation.captured(done)
    assert captured.columns == ["ride", "leg", "x", "row_id", "prediction_time", "prediction", "model_version"]
    assert captured["model_version"].to_list() == [3, 3]


def test_transform_and_post() -> None:
    def more(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.select("x").with_columns(x=pl.col("x") + 1)

    def words(outputs: pl.DataFrame) -> pl.LazyFrame:
        return outputs.lazy().with_columns(level=pl.when(pl.col("prediction") > 5).then(pl.lit("high")))

    generation = compiled(Graph("fare").transform(more).model("models:/fare@champion").post(words))
    done = generation.run(generation.schema.from_rows(ROWS), 5)
    assert done.answers.to_dicts() == [{"prediction": 4.0, "level": None}, {"prediction": 6.0, "level": "high"}]
    captured = generation.captured(done)
    assert captured["prediction"].to_list() == [4.0, 6.0]
    assert captured["answered_level"].to_list() == [None, "high"]
    assert captured["row_id"][0] == "1|a"


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda rows: rows.head(1), r"returned 1 rows. Expected a frame of 2 rows"),
        (lambda rows: None, r"returned 'NoneType'"),
        (lambda rows: rows["nothing"], r"raised ColumnNotFoundError"),
    ],
)
def test_a_function_that_fails_is_named(function: Any, said: str) -> None:
    generation = compiled(Graph("fare").transform(function).model("models:/fare@champion"))
    with pytest.raises(UserCodeError, match=f"transform '<lambda>' {said}"):
        generation.run(generation.schema.from_rows(ROWS), 5)


def test_a_model_that_answers_its_example_otherwise_is_refused() -> None:
    with pytest.raises(InvalidData, match="models:/fare/3 gives another prediction in 1 of 2 rows"):
        compiled(GRAPH, Models(answer=2.1))


def test_a_model_of_another_service_is_refused() -> None:
    graph = Graph("fare").enrich(service).model("models:/fare@champion")
    with pytest.raises(InvalidArgument, match=r"was trained on feature service 'other'\. Expected 'trips'"):
        compiled(graph, service="other")
    schema = compiled(graph, service="trips").schema
    assert [column.name for column in schema.columns] == ["ride", "leg", "x", "station", "at"]


def test_inputs_nothing_gives_are_named() -> None:
    signature = Signature(
        inputs=(Column(name="x", type="float64"),), outputs=SIGNATURE.outputs,
        request=(Column(name="ride", type="int64"),),
    )  # fmt: skip
    with pytest.raises(InvalidArgument, match="needs x, which graph 'fare' does not give it"):
        compiled(GRAPH, Models(signature)).probe(5)
    compiled(GRAPH).probe(5)


def test_a_request_column_with_a_name_serving_uses() -> None:
    signature = Signature(
        inputs=SIGNATURE.inputs, outputs=SIGNATURE.outputs, request=(Column(name="prediction", type="int64"),)
    )
    with pytest.raises(InvalidArgument, match="a column 'prediction', a name serving uses itself"):
        compiled(GRAPH, Models(signature))


def test_a_retired_generation_is_drained_when_the_last_request_left() -> None:
    generation, drained = compiled(GRAPH), list[bool]()
    generation.pin()
    generation.pin()
    generation.retire(lambda: drained.append(True))
    generation.release()
    assert drained == []
    generation.release()
    assert drained == [True]
    compiled(GRAPH).retire(lambda: drained.append(False))
    assert drained == [True, False]


class Scales:
    """Features that take the place of a request column, and add one."""

    def request_schema(self, service: FeatureService) -> tuple[Column, ...]:
        return ()

    def enrich(self, service: FeatureService, rows: pl.DataFrame, now: int) -> pl.DataFrame:
        return rows.with_columns(x=pl.col("x") * 10, y=pl.lit(None, pl.Float64))


def test_what_features_were_asked_with_and_were_is_captured_where_it_was_replaced() -> None:
    def filled(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.drop("ride").with_columns(pl.col("y").fill_null(0.0))

    plain = Graph("fare").enrich(service).model("models:/fare@champion")
    target = Target(endpoint="fare", number=1, graph="g", model=ModelRef("fare", 3, "abc"))
    generation = compile_generation(target, plain, models=Models(), features=Scales(), scope=SCOPE)
    captured = generation.captured(generation.run(generation.schema.from_rows(ROWS), 5))
    assert captured.select("x", "y", "requested_x", "replaced").rows() == [
        (10.0, None, 1.0, "requested_x"), (20.0, None, 2.0, "requested_x"),
    ]  # fmt: skip
    changing = Graph("fare").enrich(service).transform(filled).model("models:/fare@champion")
    generation = compile_generation(target, changing, models=Models(), features=Scales(), scope=SCOPE)
    captured = generation.captured(generation.run(generation.schema.from_rows(ROWS), 5))
    assert captured["replaced"][0].split("\n") == ["requested_ride", "requested_x", "enriched_ride", "enriched_y"]
    assert captured.select("y", "enriched_y", "requested_ride").rows() == [(0.0, None, 1), (0.0, None, 2)]
    put = put_back(captured)
    assert put.select("ride", "requested_x", "x", "y").rows() == [(1, 1.0, 10.0, None), (2, 2.0, 20.0, None)]

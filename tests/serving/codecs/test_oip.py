"""The Open Inference Protocol, through a real server, spoken by hand and by its real client."""

from __future__ import annotations

from typing import Any

import pytest
from serving_harness import Server


def tensor(name: str, datatype: str, data: list[Any], shape: list[int] | None = None) -> dict[str, Any]:
    return {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": data}


X = tensor("x", "FP64", [1.0, 2.0])


def infer(server: Server, body: Any, path: str = "/v2/models/fare/infer") -> tuple[int, Any]:
    status, answer, headers = server.call("POST", path, body)
    assert headers["content-type"] == "application/json"
    return status, answer


def test_server_and_health(served: Server) -> None:
    status, answer, _ = served.call("GET", "/v2")
    assert (status, answer["name"], answer["extensions"]) == (200, "tidemill", [])
    assert served.call("GET", "/v2/health/live")[:2] == (200, {"live": True})
    assert served.call("GET", "/v2/health/ready")[:2] == (200, {"ready": True})
    assert served.call("GET", "/v2/models")[:2] == (200, {"models": ["fare", "enriched"]})


@pytest.mark.parametrize("path", ["/v2/models/fare", "/v2/models/fare/versions/1"])
def test_metadata_comes_from_the_signature(served: Server, path: str) -> None:
    assert served.call("GET", path)[1] == {
        "name": "fare", "versions": ["1"], "platform": "tidemill",
        "inputs": [
            {"name": "ride", "datatype": "INT64", "shape": [-1]}, {"name": "at", "datatype": "INT64", "shape": [-1]},
            {"name": "x", "datatype": "FP64", "shape": [-1]},
        ],
        "outputs": [
            {"name": "prediction", "datatype": "FP64", "shape": [-1]},
            {"name": "row_id", "datatype": "BYTES", "shape": [-1]},
        ],
    }  # fmt: skip
    assert served.call("GET", f"{path}/ready")[:2] == (200, {"name": "fare", "ready": True})


def test_infer(served: Server) -> None:
    body = {"id": "42", "inputs": [X, tensor("ride", "INT32", [7, 8])]}
    assert infer(served, body) == (
        200,
        {
            "model_name": "fare", "model_version": "1", "id": "42",
            "outputs": [tensor("prediction", "FP64", [2.0, 4.0]), tensor("row_id", "BYTES", ["7", "8"])],
        },
    )  # fmt: skip
    assert infer(served, body, "/v2/models/fare/versions/1/infer")[0] == 200


@pytest.mark.parametrize(
    "same",
    [
        tensor("x", "FP64", [[1.0], [2.0]], [2, 1]), tensor("x", "FP64", [1.0, 2.0], [2, 1]),
        tensor("x", "FP32", [1, 2]), tensor("x", "INT8", [1, 2]), tensor("x", "UINT64", [1, 2]),
    ],
)  # fmt: skip
def test_the_same_tensor_written_differently(served: Server, same: dict[str, Any]) -> None:
    outputs = [{"name": "prediction"}]
    assert infer(served, {"inputs": [same], "outputs": outputs}) [1]["outputs"] == [tensor("prediction", "FP64", [2.0, 4.0])]  # fmt: skip # noqa: E501


def test_times_and_texts(served: Server) -> None:
    inputs = [tensor("station", "BYTES", ["north", "abc"]), tensor("at", "BYTES", ["2013-04-01T00:00:00Z", None])]
    status, answer = infer(served, {"inputs": inputs, "outputs": [{"name": "prediction"}]}, "/v2/models/enriched/infer")
    assert status == 200
    assert answer["outputs"][0]["data"] == pytest.approx([50.0, 30.0])
    inputs[1] = tensor("at", "INT64", [5, 6])
    assert infer(served, {"inputs": inputs}, "/v2/models/enriched/infer")[0] == 200


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "is no inference request"),
        ({}, "is no inference request"),
        ({"inputs": []}, "no inputs"),
        ({"inputs": [{**X, "datatype": "INT322"}]}, "datatype 'INT322'"),
        ({"inputs": [{**X, "datatype": "BYTES"}]}, "datatype 'BYTES'"),
        ({"inputs": [{**X, "datatype": "FP16"}]}, "datatype 'FP16'"),
        ({"inputs": [{**X, "shape": [3]}]}, "has 2 values for shape [3]"),
        ({"inputs": [{**X, "shape": [-2]}]}, "shape [-2]"),
        ({"inputs": [{**X, "shape": []}]}, "shape []"),
        ({"inputs": [{**X, "shape": [1, 2, 1]}]}, "shape [1, 2, 1]"),
        ({"inputs": [{**X, "data": [[1.0], 2.0]}]}, "mixes values and lists"),
        ({"inputs": [{**X, "data": ["a", "b"]}]}, "row 0, column 'x' is 'a'"),
        ({"inputs": [X, tensor("ride", "INT64", [1])]}, "have 1, 2 rows"),
        ({"inputs": [tensor("y", "FP64", [1.0])]}, "has no column 'x'"),
        ({"inputs": [tensor("ride", "FP64", [1.0, 2.0]), X]}, "datatype 'FP64'"),
        ({"inputs": [tensor("m", "FP64", [1, 2, 3, 4], [2, 2])]}, "has 2 columns"),
        ({"inputs": [X], "outputs": [{"name": "z"}]}, "there is no output 'z'. Known: prediction, row_id"),
    ],
)
def test_errors_are_400_and_say_why(served: Server, body: Any, said: str) -> None:
    status, answer = infer(served, body)
    assert status == 400
    assert list(answer) == ["error"]
    assert said in answer["error"]


def test_other_errors(served: Server) -> None:
    for path in ("/v2/models/none/infer", "/v2/models/fare/versions/9/infer"):
        status, answer = infer(served, {"inputs": [X]}, path)
        assert status == 404
        assert "There is no" in answer["error"]
    assert served.call("GET", "/v2/models/none")[0] == 404
    assert served.call("GET", "/v2/models/fare/versions/9")[0] == 404
    status, answer = infer(served, {"inputs": [tensor("x", "FP64", [-1.0])]})
    assert status == 500
    assert "x is below zero" in answer["error"]
    status, answer, _ = served.call(
        "POST", "/v2/models/fare/infer", {"inputs": [X]}, Inference_Header_Content_Length="5"
    )
    assert status == 400
    assert "binary" in answer["error"]


@pytest.mark.filterwarnings("ignore")
def test_tritonclient(served: Server) -> None:
    np = pytest.importorskip("numpy")
    triton = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
    client = triton.InferenceServerClient(f"127.0.0.1:{served.port}")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("fare")
    assert client.is_model_ready("fare", "1")
    assert not client.is_model_ready("none")
    assert client.get_server_metadata()["name"] == "tidemill"
    assert client.get_model_metadata("fare")["inputs"][2]["datatype"] == "FP64"
    x = triton.InferInput("x", [3], "FP64")
    x.set_data_from_numpy(np.array([1.0, 2.0, 3.5]), binary_data=False)
    wanted = [triton.InferRequestedOutput("prediction", binary_data=False)]
    for options in ({}, {"outputs": wanted}, {"request_compression_algorithm": "gzip"}):
        result = client.infer("fare", [x], request_id="r1", **options)
        assert result.as_numpy("prediction").tolist() == [2.0, 4.0, 7.0]
        assert result.get_response()["id"] == "r1"
    with pytest.raises(triton.InferenceServerException) as caught:
        client.infer("none", [x])
    assert caught.value.status() == "404"
    assert "There is no endpoint 'none'" in caught.value.message()
    client.close()

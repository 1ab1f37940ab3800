"""Open Inference Protocol, version 2, as JSON over HTTP: every request column is a tensor of shape `[rows]`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import polars as pl

from tidemill.core.errors import InvalidArgument, InvalidData, unknown
from tidemill.core.schema import Column
from tidemill.serving.answer import Answer
from tidemill.serving.codecs.protocol import Decoded, message_of
from tidemill.serving.frames import ROW_ID, RequestSchema
from tidemill.serving.generation import Generation

_INTEGERS = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})
_FLOATS = frozenset({"FP32", "FP64"})
_TAKES: dict[str, frozenset[str]] = {
    "int64": _INTEGERS,
    "float64": _INTEGERS | _FLOATS,
    "boolean": frozenset({"BOOL"}),
    "string": frozenset({"BYTES"}),
    "time": frozenset({"INT64", "UINT64", "BYTES"}),
    "list": _INTEGERS | _FLOATS | {"BYTES", "BOOL"},
}
DATATYPES = _INTEGERS | _FLOATS | {"BOOL", "BYTES"}
_TOLD = {"int64": "INT64", "float64": "FP64", "boolean": "BOOL", "string": "BYTES", "time": "INT64", "list": "FP64"}


class Tensor(msgspec.Struct):
    """A named tensor of a request."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] = {}


class RequestedOutput(msgspec.Struct):
    """An output the client wants."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct):
    """The body of an infer request."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] = {}
    outputs: list[RequestedOutput] | None = None


_decoder = msgspec.json.Decoder(InferRequest)
_encoder = msgspec.json.Encoder()


class OipCodec:
    """Tensors as JSON."""

    name = "oip"

    def decode(self, body: bytes, generation: Generation) -> Decoded:
        try:
            request = _decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidData(f"the body is no inference request: {error}", expected='{"inputs": [...]}') from None
        if not request.inputs:
            raise InvalidData("the request has no inputs", expected="one tensor per column of the endpoint")
        return Decoded(_frame(request.inputs, generation.schema), {"id": request.id, "outputs": request.outputs})

    def encode(self, answer: Answer, decoded: Decoded) -> bytes:
        columns = {s.name: s for s in answer.frame} | {ROW_ID: pl.Series(ROW_ID, answer.row_ids, dtype=pl.String)}
        wanted: list[RequestedOutput] | None = decoded.note["outputs"]
        body: dict[str, Any] = {"model_name": answer.endpoint, "model_version": str(answer.model_version)}
        body["id"] = decoded.note["id"] or answer.request_id
        body["outputs"] = [_tensor(columns[name]) for name in _chosen(wanted, columns)]
        return _encoder.encode(body)

    def error(self, error: BaseException, request_id: str) -> bytes:
        return _encoder.encode({"error": message_of(error)})


def _chosen(wanted: list[RequestedOutput] | None, columns: Iterable[str]) -> list[str]:
    known = list(columns)
    names = known if not wanted else [output.name for output in wanted]
    for name in names:
        if name not in known:
            raise InvalidArgument(f"there is no output {name!r}", known=known)
    return names


def _frame(tensors: Sequence[Tensor], schema: RequestSchema) -> pl.DataFrame:
    if len(tensors) == 1 and len(tensors[0].shape) == 2 and tensors[0].shape[1] > 1:
        tensors = _split(tensors[0], schema)
    heights = {_rows(tensor) for tensor in tensors}
    if len(heights) > 1:
        raise InvalidData(f"the inputs have {', '.join(map(str, sorted(heights)))} rows", expected="as many in each")
    types = {column.name: column for column in schema.columns}
    columns = {tensor.name: _values(tensor, types.get(tensor.name)) for tensor in tensors}
    return schema.from_columns(columns, heights.pop())


def _rows(tensor: Tensor) -> int:
    if not tensor.shape or min(tensor.shape) < 0 or len(tensor.shape) > 2:
        raise InvalidData(f"input {tensor.name!r} has shape {tensor.shape}", expected="[rows] or [rows, 1]")
    return tensor.shape[0]


def _values(tensor: Tensor, column: Column | None) -> list[Any]:
    _check_datatype(tensor, column)
    flat = _flat(tensor)
    if column is not None and column.type == "list":
        width = tensor.shape[1] if len(tensor.shape) == 2 else 1
        return [flat[i * width : (i + 1) * width] for i in range(tensor.shape[0])]
    if len(tensor.shape) == 2 and tensor.shape[1] != 1:
        raise InvalidData(f"input {tensor.name!r} has shape {tensor.shape}", expected="[rows] or [rows, 1]")
    return flat


def _check_datatype(tensor: Tensor, column: Column | None) -> None:
    takes = DATATYPES if column is None else _TAKES[column.type]
    if tensor.datatype not in takes:
        raise InvalidData(f"input {tensor.name!r} has datatype {tensor.datatype!r}", known=sorted(takes))


def _flat(tensor: Tensor) -> list[Any]:
    """The values in row-major order, whether they came nested or flat."""
    data = tensor.data
    while data and isinstance(data[0], list):
        if not all(isinstance(part, list) for part in data):
            raise InvalidData(f"input {tensor.name!r} mixes values and lists")
        data = [value for part in data for value in part]
    if len(data) != math.prod(tensor.shape):
        raise InvalidData(
            f"input {tensor.name!r} has {len(data)} values for shape {tensor.shape}",
            expected=f"{math.prod(tensor.shape)} values",
        )
    return data


def _split(tensor: Tensor, schema: RequestSchema) -> list[Tensor]:
    """One tensor `[rows, columns]` as one tensor per column, in the schema's order."""
    columns = [column for column in schema.columns if column.name not in schema.optional]
    rows, width = tensor.shape
    if width != len(columns):
        raise InvalidData(f"input {tensor.name!r} has {width} columns", expected=f"{len(columns)}",
                          known=[column.name for column in columns])  # fmt: skip
    flat = _flat(tensor)
    return [Tensor(column.name, [rows], tensor.datatype, flat[index::width]) for index, column in enumerate(columns)]


def _tensor(series: pl.Series) -> dict[str, Any]:
    return {"name": series.name, "shape": [series.len()], "datatype": _datatype(series.dtype), "data": series.to_list()}


def _datatype(dtype: pl.DataType) -> str:
    if dtype == pl.Boolean:
        return "BOOL"
    if dtype.is_integer():
        return "INT64"
    return "FP64" if dtype.is_float() else "BYTES"


def model_metadata(endpoint: str, generation: Generation) -> dict[str, Any]:
    """What `GET /v2/models/NAME` tells about an endpoint."""
    outputs = [*generation.signature.outputs, Column(name=ROW_ID, type="string")]
    return {
        "name": endpoint,
        "versions": [str(generation.target.model.version)],
        "platform": "tidemill",
        "inputs": [_told(column) for column in generation.schema.columns],
        "outputs": [_told(column) for column in outputs],
    }


def _told(column: Column) -> dict[str, Any]:
    return {"name": column.name, "datatype": _TOLD[column.type], "shape": [-1]}


def check_version(endpoint: str, generation: Generation, version: str) -> None:
    """Only the version in service can be asked.

    Raises:
        NotFound: It is another one.
    """
    serving = str(generation.target.model.version)
    if version != serving:
        raise unknown(f"version of {endpoint!r} in service", version, [serving])

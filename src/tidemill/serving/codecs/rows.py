"""Plain JSON rows: `{"rows": [{...}]}` or a bare list in, `{"predictions": [...]}` out."""

from __future__ import annotations

from typing import Any

import msgspec

from tidemill.core.errors import InvalidData, TidemillError
from tidemill.serving.answer import Answer
from tidemill.serving.codecs.protocol import Decoded, message_of
from tidemill.serving.generation import Generation

Row = dict[str, Any]


class RowsRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request."""

    rows: list[Row]


_decoder = msgspec.json.Decoder(RowsRequest | list[Row])
_encoder = msgspec.json.Encoder()


class RowsCodec:
    """Rows as JSON objects."""

    name = "rows"

    def decode(self, body: bytes, generation: Generation) -> Decoded:
        try:
            request = _decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidData(f"the body is not rows as JSON: {error}", expected='{"rows": [{...}, ...]}') from None
        rows = request.rows if isinstance(request, RowsRequest) else request
        return Decoded(generation.schema.from_rows(rows))

    def encode(self, answer: Answer, decoded: Decoded) -> bytes:
        predictions = answer.frame.to_dicts()
        for row, row_id in zip(predictions, answer.row_ids, strict=True):
            row["row_id"] = row_id
        return _encoder.encode(
            {
                "predictions": predictions,
                "model_version": answer.model_version,
                "generation": answer.generation,
                "request_id": answer.request_id,
            }
        )

    def error(self, error: BaseException, request_id: str) -> bytes:
        told = error if isinstance(error, TidemillError) else TidemillError("something failed inside the server")
        body = {"code": told.code, "message": message_of(error), "expected": told.expected, "known": told.known,
                "hint": told.hint}  # fmt: skip
        return _encoder.encode({"error": body, "request_id": request_id})

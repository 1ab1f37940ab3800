"""The least a prediction server does: read JSON rows, predict, write JSON. `raw_app.py PORT` under Uvicorn, two workers."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import numpy as np
import uvicorn

from bench.serving import FEATURES, fitted

MODEL = fitted()


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    answer = predict(msgspec.json.decode(body)["rows"]) if body else b"{}"
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def predict(rows: list[dict[str, Any]]) -> bytes:
    values = np.array([[row[name] for name in FEATURES] for row in rows])
    answers = [
        {"prediction": value, "row_id": row["ride"]}
        for row, value in zip(rows, MODEL.predict(values).tolist(), strict=True)
    ]
    return msgspec.json.encode({"predictions": answers, "model_version": 1})


if __name__ == "__main__":
    uvicorn.run("bench.raw_app:app", port=int(sys.argv[1]), workers=2, loop="uvloop", http="httptools",
                access_log=False, log_level="warning")  # fmt: skip

"""What an endpoint answers."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Answer:
    """The answer to one request.

    Args:
        endpoint: Who answered.
        request_id: The request's id.
        row_ids: One per row, in the request's order.
        frame: One row per row of the request: `prediction`, `probability`, ... after the graph's last step.
        model_version: Version of the model that answered.
        generation: Number of the generation that answered.
    """

    endpoint: str
    request_id: str
    row_ids: list[str]
    frame: pl.DataFrame
    model_version: int
    generation: int

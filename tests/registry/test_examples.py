from __future__ import annotations

import polars as pl
import pytest

from tidemill.core.errors import InvalidData
from tidemill.registry.examples import first_difference, pack_example, unpack_example


def test_an_example_comes_back() -> None:
    inputs = pl.DataFrame({"carrier": ["AA", None], "wind": [1.5, float("nan")]})
    answers = pl.DataFrame({"prediction": [True, False]})
    found = unpack_example(pack_example(inputs, answers))
    assert found[0].equals(inputs)
    assert found[1].equals(answers)
    assert found[0].schema == inputs.schema


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x80", b"\x82\xa6inputs\xc4\x01x\xa7outputs\xc4\x01y"])
def test_what_is_no_example(data: bytes) -> None:
    with pytest.raises(InvalidData, match="cannot be read"):
        unpack_example(data)


def test_the_first_difference_is_told() -> None:
    answers = pl.DataFrame({"prediction": [1.0, 2.0], "probability": [0.5, None]})
    assert first_difference(answers, answers.clone()) is None
    other = answers.with_columns(probability=pl.Series([0.5, 0.25]))
    assert first_difference(answers, other) == "probability of row 1 was None and is 0.25"
    assert "2 rows of" in str(first_difference(answers, answers.head(1)))
    assert first_difference(answers, answers.rename({"prediction": "class"})) is not None

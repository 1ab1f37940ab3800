from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from tidemill.core.errors import InvalidArgument, InvalidData, MissingExtra, NotFound, PermissionDenied
from tidemill.registry.formats import FORMATS, PickleFormat, SkopsFormat, format_for, get_format
from tidemill.registry.skops_file import canonical_skops

X = np.random.default_rng(0).normal(size=(120, 3))
Y = X[:, 0] + X[:, 1] > 0.3

FITTED: dict[str, Callable[[], Any]] = {
    "boosting": lambda: HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(X, Y),
    "boosted regression": lambda: HistGradientBoostingRegressor(max_iter=5, random_state=0).fit(X, X[:, 2]),
    "forest": lambda: RandomForestClassifier(4, random_state=0).fit(X, Y),
    "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y),
    "ridge": lambda: Ridge().fit(X, X[:, 2]),
    "columns": lambda: make_pipeline(
        make_column_transformer((OneHotEncoder(handle_unknown="ignore"), [0]), remainder="passthrough"), Ridge()
    ).fit(X.round(), X[:, 2]),
}


def double(values: Any) -> Any:
    return values * 2


class Constant:
    """A model no safe format knows."""

    def predict(self, rows: Any) -> Any:
        return np.zeros(len(rows))


@pytest.mark.parametrize("name", FITTED)
def test_skops_gives_back_the_model(name: str) -> None:
    model = FITTED[name]()
    data = SkopsFormat().dump(model)
    loaded = SkopsFormat().load(data)
    assert np.array_equal(loaded.predict(X), model.predict(X))
    assert SkopsFormat().dump(model) == data
    assert SkopsFormat().dump(FITTED[name]()) == data


DUMPS = """
    import hashlib
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier
    from tidemill.registry.formats import SkopsFormat
    x = np.random.default_rng(0).normal(size=(120, 3))
    model = HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(x, x[:, 0] > 0)
    print(hashlib.sha256(SkopsFormat().dump(model)).hexdigest())
"""


def test_two_processes_write_the_same_bytes() -> None:
    script = [sys.executable, "-c", textwrap.dedent(DUMPS)]
    seeds = [{**os.environ, "PYTHONHASHSEED": seed} for seed in ("1", "2")]
    digests = {subprocess.run(script, env=env, check=True, capture_output=True, text=True).stdout for env in seeds}
    assert len(digests) == 1


def test_objects_shared_in_a_model_stay_shared() -> None:
    import skops.io

    shared = StandardScaler().fit(X)
    model = make_pipeline(shared, StandardScaler(), Ridge()).fit(X, X[:, 0])
    model.steps.insert(1, ("again", model.steps[0][1]))
    loaded = skops.io.loads(canonical_skops(skops.io.dumps(model)))
    assert loaded.steps[0][1] is loaded.steps[1][1]
    assert loaded.steps[0][1] is not loaded.steps[2][1]


def test_code_of_others_is_not_kept_safely() -> None:
    model = make_pipeline(FunctionTransformer(double), Ridge()).fit(X, X[:, 0])
    with pytest.raises(InvalidArgument, match=r"double.*trust=True"):
        SkopsFormat().dump(model)


def test_a_file_with_foreign_types_is_not_loaded() -> None:
    import skops.io

    model = make_pipeline(FunctionTransformer(os.system), Ridge())
    with pytest.raises(PermissionDenied, match="system"):
        SkopsFormat().load(skops.io.dumps(model))


@pytest.mark.parametrize("data", [b"", b"not a zip", pickle.dumps(1)])
def test_what_is_no_skops_file(data: bytes) -> None:
    with pytest.raises(InvalidData, match="cannot be read"):
        SkopsFormat().load(data)


def test_a_zip_without_a_model() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("schema.json", msgspec.json.encode({"__loader__": "nothing"}))
    with pytest.raises(InvalidData):
        SkopsFormat().load(buffer.getvalue())


def test_which_format_takes_what() -> None:
    assert format_for(Ridge(), trust=False).name == "skops"
    assert format_for(Ridge(), trust=True).name == "pickle"
    assert format_for(Constant(), trust=True).name == "pickle"
    with pytest.raises(InvalidArgument, match=r"no safe format keeps a .*Constant.*Known: skops.*trust=True"):
        format_for(Constant(), trust=False)
    with pytest.raises(InvalidArgument, match="a dict is no model"):
        format_for({"weights": 1}, trust=True)
    with pytest.raises(NotFound, match="Did you mean 'skops'"):
        get_format("skop")
    assert next(iter(FORMATS)) == "skops"


def test_pickle_keeps_classes_of_the_main_program() -> None:
    assert PickleFormat().load(PickleFormat().dump(Constant())).predict([1, 2]).tolist() == [0.0, 0.0]


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'tidemill\[sklearn\]'"):
        SkopsFormat().load(b"")
    with pytest.raises(MissingExtra):
        SkopsFormat().dump(Ridge())

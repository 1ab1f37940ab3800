from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tidemill.core.code import code_digest, reached_code

LIBRARY = "FACTOR = 3\n\n\ndef scale(x):\n    return FACTOR * x\n\n\ndef unrelated(x):\n    return x\n"
MAIN = "from mylib import scale\n\n\ndef train(rows, rate=0.1):\n    return scale(rows) * rate\n"


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    def load_both(main: str = MAIN, library: str = LIBRARY) -> ModuleType:
        for name, text in (("mylib", library), ("mymain", main)):
            folder = tmp_path / str(abs(hash((main, library))))
            folder.mkdir(exist_ok=True)
            (folder / f"{name}.py").write_text(text)
            spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            monkeypatch.setitem(sys.modules, name, module)
            spec.loader.exec_module(module)
        return sys.modules["mymain"]

    return load_both


def digest(load: object, main: str = MAIN, library: str = LIBRARY) -> str:
    return code_digest(load(main, library).train)  # type: ignore[operator]


def test_what_counts(load: object) -> None:
    base = digest(load)
    assert digest(load, MAIN.replace("* rate", "+ rate")) != base, "the body"
    assert digest(load, MAIN.replace("0.1", "0.2")) != base, "a default"
    assert digest(load, library=LIBRARY.replace("FACTOR * x", "FACTOR + x")) != base, "a called function elsewhere"
    assert digest(load, library=LIBRARY.replace("= 3", "= 4")) != base, "a constant read elsewhere"


def test_what_does_not_count(load: object) -> None:
    base = digest(load)
    assert digest(load, MAIN.replace("    return", "    # why\n    return")) == base, "a comment"
    assert digest(load, MAIN.replace("rows, rate", "rows,  rate")) == base, "white space"
    assert digest(load, library=LIBRARY.replace("return x\n", "return -x\n")) == base, "a function not reached"


DECORATED = (
    "import functools\nimport tidemill as tm\nfrom tidemill import step\n\n\n"
    "def own(times):\n    def wrap(f):\n        @functools.wraps(f)\n        def g(*a):\n            return times * f(*a)\n"
    "        return g\n    return wrap\n\n\n"
    "SOURCE = tm.Source('s', 's.csv', time='at')\n\n\n"
    "@tm.feature_view(source=SOURCE, keys='k', owner='ann')\ndef view(rows):\n    return rows.select('x')\n\n\n"
    "@step(cache=True)\n@own(2)\ndef train(rows):\n    return rows\n"
)


def test_what_a_definition_is_told_is_no_part_of_its_function(load: object) -> None:
    def digests(text: str) -> tuple[str, str]:
        module = load(text)  # type: ignore[operator]
        return code_digest(module.view.transform), code_digest(module.train.function)

    base = digests(DECORATED)
    assert digests(DECORATED.replace("'ann'", "'bob'").replace("cache=True", "cache=False")) == base
    view, train = digests(DECORATED.replace("own(2)", "own(3)").replace("select('x')", "select('y')"))
    assert view != base[0]
    assert train != base[1], "a decorator of one's own is what runs"


def test_reached_code_names_what_it_found(load: object) -> None:
    assert set(reached_code(load().train)) == {"mymain:train", "mylib:scale", "mylib:FACTOR"}  # type: ignore[operator]


def test_lambdas_differ_by_what_they_do() -> None:
    one, two, three = (lambda x: x + 1), (lambda x: x + 2), (lambda x: x + 1)
    assert code_digest(one) != code_digest(two)
    assert reached_code(one).popitem()[1] == reached_code(three).popitem()[1]

"""What makes a result another one: the list of changes that must miss, and of those that must hit."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.pipelines.conftest import Open, Write, calls

import tidemill as tm
from tidemill.core.steps import Node
from tidemill.pipelines import keys
from tidemill.pipelines.keys import Unhashable, key_of_node, value_digest
from tidemill.tracking.dataset import Dataset

LIBRARY = """
FACTOR = 3
NAMES = ["a", "b"]


def scale(x):
    return FACTOR * x


def named(x):
    return [f"{name}{x}" for name in NAMES]


def unrelated(x):
    return x


class Shape:
    sides = 3

    def area(self, x):
        return self.sides * x


def loudly(function):
    import functools

    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper
"""

MILL = """
import json
from functools import partial
from pathlib import Path

import numpy as np
import library
import tidemill as tm
from library import Shape, loudly, scale

LIMIT = 10
OPTIONS = {"by": scale, "limits": (1, 2)}
SCALES = partial(scale)


@loudly
def wrapped(x):
    return x


@tm.step
def work(x, rate=2, data=None):
    from lazy import late
    # a comment
    with (Path(__file__).parent / "calls.txt").open("a") as file:
        file.write("work\\n")
    return [int(np.int64(scale(x))), library.named(x), LIMIT, OPTIONS["limits"], Shape().area(x), wrapped(x), late(x), rate]


@tm.pipeline
def mill(x: int = 1, data=None):
    return work(x, data=data)
"""

LAZY = """
def late(x):
    return x + 1
"""

FILES = {"mill": MILL, "library": LIBRARY, "lazy": LAZY}


@pytest.mark.parametrize(
    ("file", "old", "new", "part"),
    [
        ("mill", "wrapped(x), late(x), rate]", "late(x), rate]", "code mill:work"),
        ("mill", "rate=2", "rate=3", "argument rate"),
        ("mill", "LIMIT = 10", "LIMIT = 11", "code mill:LIMIT"),
        ("mill", '"limits": (1, 2)', '"limits": (1, 3)', "code mill:OPTIONS"),
        ("mill", "    return x\n\n\n@tm.step", "    return -x\n\n\n@tm.step", "code mill:wrapped"),
        ("library", "FACTOR * x", "FACTOR + x", "code library:scale"),
        ("library", "FACTOR = 3", "FACTOR = 4", "code library:FACTOR"),
        ("library", '["a", "b"]', '["a", "c"]', "code library:NAMES"),
        ("library", 'f"{name}{x}"', 'f"{x}{name}"', "code library:named"),
        ("library", "sides = 3", "sides = 4", "code library:Shape"),
        ("library", "self.sides * x", "self.sides + x", "code library:Shape"),
        ("library", "return function(*args)", "return function(*args) or 0", "code library:loudly.<locals>.wrapper"),
        ("lazy", "x + 1", "x + 2", "code lazy:late"),
    ],
)
def test_a_change_that_counts_is_a_miss_with_its_name(
    write: Write, opened: Open, file: str, old: str, new: str, part: str
) -> None:
    folder = write(**FILES)
    opened().pipelines.run("mill")
    assert old in FILES[file]
    write(**{**FILES, file: FILES[file].replace(old, new)})
    platform = opened()
    [planned] = platform.pipelines.plan("mill")
    assert planned.cache == "miss"
    assert part in planned.changed
    platform.pipelines.run("mill")
    assert len(calls(folder)) == 2


def test_what_does_not_count_is_a_hit(write: Write, opened: Open) -> None:
    folder = write(**FILES)
    once = opened().pipelines.run("mill")
    write(
        mill=MILL.replace("# a comment", "# another,\n    # of two lines").replace("rate=2, data", "rate=2,  data"),
        library=LIBRARY.replace("def unrelated(x):\n    return x", "def unrelated(x):\n    return -x"),
        lazy="# said before\n" + LAZY,
    )
    again = opened().pipelines.run("mill")
    assert again.steps[0].status == "cached"
    assert again.result == once.result
    assert len(calls(folder)) == 1


def test_input_bytes_and_parameters_count(write: Write, opened: Open) -> None:
    write(**FILES)
    platform = opened()
    rows = platform.tracking.datasets.create(pl.DataFrame({"a": [1, 2]}), name="rows", features=["a"])
    other = platform.tracking.datasets.create(pl.DataFrame({"a": [1, 3]}), name="rows", features=["a"])
    platform.pipelines.run("mill", {"data": rows})
    assert platform.pipelines.plan("mill", {"data": rows})[0].cache == "hit"
    assert platform.pipelines.plan("mill", {"data": other})[0].changed == ("argument data",)
    assert platform.pipelines.plan("mill", {"x": 2, "data": rows})[0].changed == ("argument x",)


def test_versions_of_used_packages_and_python_count(
    write: Write, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(**FILES)
    platform = opened()
    platform.pipelines.run("mill")
    known = keys._version
    monkeypatch.setattr(keys, "_version", lambda name: "99" if name == "polars" else known(name))
    assert platform.pipelines.plan("mill")[0].cache == "hit", "the step does not use polars"
    monkeypatch.setattr(keys, "_version", lambda name: "99" if name == "numpy" else known(name))
    assert platform.pipelines.plan("mill")[0].changed == ("package numpy",)
    monkeypatch.undo()
    monkeypatch.setattr(keys, "_environment", lambda: {"python": "4.0", "machine": "abacus", "package tidemill": "1"})
    assert set(platform.pipelines.plan("mill")[0].changed) == {"machine", "package tidemill", "python"}


def test_values_without_a_digest_are_never_cached_and_say_why(write: Write, opened: Open) -> None:
    write(
        mill="""
        import threading
        import tidemill as tm

        LOCK = threading.Lock()

        @tm.step(cache=False)
        def make():
            return threading.Lock()

        @tm.step
        def use(lock):
            return 1

        @tm.step
        def locked():
            with LOCK:
                return 2

        @tm.step
        def keep():
            return (n for n in ())

        @tm.pipeline
        def locks():
            use(make())
            keep()
            return locked()
    """
    )
    platform = opened()
    for _ in range(2):
        done = platform.pipelines.run("locks")
        assert [step.status for step in done.steps] == ["finished"] * 4
    tags = {run.name: run.tags["cache"] for run in platform.tracking.children(done.id)}
    assert tags["make"] == "never cached: cache=False"
    assert tags["use"] == "never cached: argument 'lock': a lock has no digest"
    assert "mill:LOCK, a lock, whose changes cannot be seen" in tags["locked"]
    assert tags["keep"].startswith("not kept: a generator cannot be kept")


def test_equal_output_of_a_changed_step_stops_the_change(write: Write, opened: Open) -> None:
    text = """
        import numpy as np
        import tidemill as tm

        @tm.step
        def make():
            return {"a": (np.arange(3), 1)}

        @tm.step
        def use(made):
            return int(made["a"][0].sum())

        @tm.pipeline
        def chain():
            return use(make())
    """
    write(mill=text)
    opened().pipelines.run("chain")
    write(mill=text.replace("np.arange(3), 1", "np.arange(0, 3), 1"))
    assert [step.status for step in opened().pipelines.run("chain").steps] == ["finished", "cached"]


def test_a_result_that_is_gone_is_computed_again(write: Write, opened: Open) -> None:
    write(
        mill="""
        import polars as pl
        import tidemill as tm

        @tm.step
        def make():
            return pl.DataFrame({"a": [1]})

        @tm.pipeline
        def makes():
            make()
    """
    )
    platform = opened()
    platform.pipelines.run("makes")
    for digest in list(platform.artifacts.digests()):
        data = platform.artifacts.get(digest)
        if data.startswith(b"PAR1"):
            platform.artifacts.delete(digest)
    assert platform.pipelines.plan("makes")[0].cache.startswith("miss: the result of run")
    done = platform.pipelines.run("makes")
    assert done.steps[0].status == "finished"
    assert "cannot be read" in done.steps[0].cache
    assert platform.pipelines.run("makes").steps[0].status == "cached"


def test_a_file_edited_after_its_import_is_not_taken_for_what_runs(write: Write, opened: Open) -> None:
    write(**FILES)
    platform = opened()
    before = platform.pipelines.plan("mill")[0]
    platform.pipelines.run("mill")
    edited = MILL.replace("LIMIT, OPTIONS", "-LIMIT, OPTIONS")
    write(**{**FILES, "mill": edited})
    platform.pipelines.run("mill")  # still the old code
    assert before.cache == "miss"
    [planned] = opened().pipelines.plan("mill")
    assert planned.cache == "miss", "the new code has no result yet"


@tm.step
def train(rows: Any, depth: int = 1) -> Any:
    return np.zeros(depth)


def search_key(step: Any = train, **options: Any) -> keys.CacheKey:
    rows = Dataset.of(pl.DataFrame({"a": [1], "y": [1]}), label="y")
    given = {"step": step, "rows": rows, "space": {"depth": tm.integers(1, 3)}, **options}
    return key_of_node(Node("search", "search", "search", given))


def test_the_key_of_a_search_covers_the_code_and_packages_of_its_step() -> None:
    key = search_key()
    assert any(name.endswith("test_keys:train") for name in key.parts)
    assert "package numpy" in key.parts
    assert search_key(space={"depth": tm.integers(1, 4)}).differs_from(key.parts) == ["argument space"]


def test_digests_tell_values_apart() -> None:
    one = [1, 1.0, True, "1", b"1", None, [1], (1,), {1}, {"a": 1}, {"a": 2}, np.array([1]), np.array([1.0]), tm.NOW, train,
           tm.Gate("roc_auc"), tm.uniform(0, 1), tm.integers(0, 1)]  # fmt: skip
    assert len({value_digest(value) for value in one}) == len(one)
    assert value_digest({"a", "b", "c"}) == value_digest({"c", "b", "a"})
    with pytest.raises(Unhashable, match="a object has no digest"):
        value_digest([object()])

from __future__ import annotations

import inspect
import pickle

import pytest

from tidemill.core import errors
from tidemill.core.errors import (
    EXIT_CODE,
    HTTP_STATUS,
    InvalidArgument,
    MissingExtra,
    NotFound,
    TidemillError,
    exit_code,
    http_status,
    unknown,
)

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, TidemillError)]


def test_every_error_is_mapped_once() -> None:
    codes = {kind.code for kind in KINDS}
    assert codes == set(HTTP_STATUS) == set(EXIT_CODE)
    assert all(code != 0 for code in EXIT_CODE.values())


def test_message_says_found_expected_known_next() -> None:
    error = InvalidArgument("port is 'x'", expected="a number", hint="Use --port 8000", known=["a", "b"])
    assert str(error) == "port is 'x'. Expected a number. Known: a, b. Use --port 8000."


def test_unknown_suggests_the_closest_name() -> None:
    error = unknown("feature view", "airport_wether", ["airport_weather", "planes"])
    assert "Did you mean 'airport_weather'?" in str(error)
    assert "airport_weather, planes" in str(error)


def test_unknown_shows_at_most_twenty_names() -> None:
    assert "(100 in all)" in str(unknown("run", "zzz", [f"run-{i:03}" for i in range(100)]))


@pytest.mark.parametrize("error", [NotFound("gone", hint="look"), MissingExtra("The format skops", "sklearn")])
def test_errors_cross_process_borders_unchanged(error: TidemillError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))


def test_an_error_is_also_the_builtin_callers_expect() -> None:
    assert isinstance(NotFound("x"), KeyError)
    assert isinstance(MissingExtra("x", "y"), ImportError)
    assert str(NotFound("no run 'x'")) == "no run 'x'."


def test_foreign_errors_are_internal() -> None:
    assert (http_status(RuntimeError()), exit_code(RuntimeError()), exit_code(KeyboardInterrupt())) == (500, 1, 130)

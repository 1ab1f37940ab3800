from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from tests.training.conftest import Make

import tidemill as tm
from tidemill.core.context import use_runner
from tidemill.core.errors import InvalidData
from tidemill.training.service import Training


def test_a_group_is_on_one_side_and_the_manifests_tell_how(training: Training, make: Make) -> None:
    rows = make()
    fit, test = training.split(rows=rows, by="group", test=0.2, seed=7, group=None, column="carrier")
    assert not set(fit.frame["carrier"]) & set(test.frame["carrier"])
    assert len(fit) + len(test) == len(rows)
    assert test.manifest.split == {
        "by": "group", "column": "carrier", "test": 0.2, "seed": 7, "groups": 4, "test_groups": 1,
        "fit_rows": len(fit), "test_rows": len(test), "dropped": 0, "part": "test",
    }  # fmt: skip
    assert (test.manifest.parent, fit.manifest.parent) == (rows.digest, rows.digest)
    again = training.split(rows=rows, by="group", test=0.2, seed=7, group=None, column="carrier")
    assert again == (fit, test)


def test_the_classes_of_the_label_are_kept_in_proportion(training: Training, make: Make) -> None:
    rows = make("speed")
    fit, test = training.split(rows=rows, by="stratified", test=0.25, seed=0, group=None)
    whole, drawn = Counter(rows.y), Counter(test.y)
    assert all(abs(drawn[name] - count / 4) < 1 for name, count in whole.items())
    assert not set(fit.ids) & set(test.ids)
    assert test.manifest.split is not None
    assert (test.manifest.split["by"], test.manifest.split["column"]) == ("stratified", "speed")


def test_a_number_as_label_has_no_classes(training: Training, make: Make) -> None:
    with pytest.raises(InvalidData, match="'delay' have one row"):
        training.split(rows=make("delay"), by="stratified", test=0.25, seed=0, group=None)


class Here:
    """Runs operations at once, as an open platform does."""

    def __init__(self, training: Training) -> None:
        self._operations = training.operations()

    def run(self, operation: str, arguments: Mapping[str, Any]) -> Any:
        return self._operations[operation](**arguments)


def test_users_split_by_group(training: Training, make: Make) -> None:
    with use_runner(Here(training)):
        fit, test = tm.split(make(), by="group", column="carrier", test=0.3)
    assert not set(fit.frame["carrier"]) & set(test.frame["carrier"])

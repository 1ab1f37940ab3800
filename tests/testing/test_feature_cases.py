from __future__ import annotations

import copy
import json
import math
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from tidemill.stores.registry import open_store
from tidemill.testing.feature_cases import Answer, main, offline, online, run, same

PUBLIC = Path(__file__).parent.parent / "cases" / "pit_cases.json"

CASE: dict[str, Any] = {
    "name": "anything",
    "entity_rows": [{"k": 1, "created_ts": "2024-01-05T01:00:00+01:00"}, {"k": None, "created_ts": "2024-01-05"}],
    "feature_rows": [
        {"k": 1, "event_ts": "2024-01-01T00:00:00", "created_ts": None, "ingest_seq": 1.5, "id": "x"},
        {"k": 1, "event_ts": "2024-01-02T00:00:00Z", "created_ts": "2024-01-02T00:00:00Z", "ingest_seq": 2, "id": "x"},
        {"k": 1, "event_ts": None, "created_ts": "2024-01-02T00:00:00Z", "ingest_seq": 100, "id": "y"},
    ],
    "spec": {
        "spine_ts": "created_ts",
        "views": [
            {
                "name": "A view.with (odd) names", "kind": "window", "keys": {"k": "k"}, "event_ts": "event_ts",
                "known_ts": "created_ts", "known_filter": True, "dedup_key": "id",
                "features": [{"out": "event_ts", "op": "sum", "col": "ingest_seq", "window_s": None}],
            },
            {
                "name": "state", "kind": "asof", "keys": {"k": "k"}, "event_ts": "event_ts",
                "features": [{"out": "ingest_seq", "op": "latest", "col": "event_ts"}],
            },
        ],
    },
    "expected": [{"event_ts": 2, "ingest_seq": "2024-01-02T00:00:00Z"}, {"event_ts": None, "ingest_seq": None}],
}  # fmt: skip


@pytest.mark.parametrize("path", [offline, online])
def test_names_of_columns_and_views_do_not_matter(path: Answer) -> None:
    assert run(CASE, path) == []


def test_a_difference_is_told() -> None:
    wrong = copy.deepcopy(CASE)
    wrong["expected"][0]["event_ts"] = 3.5
    wrong["expected"][1]["nonsense"] = None
    assert run(wrong, offline) == [
        "row 0: event_ts is 2.0, expected 3.5", "row 1: nonsense is 'no such output', expected None"
    ]  # fmt: skip
    assert run({**CASE, "expected": []}, offline) == ["2 rows instead of 0"]


@pytest.mark.parametrize(("got", "expected", "integral", "answer"), [
    (1, 1, True, True), (1.0, 1, True, False), (1.0, 1, False, True), (1, 1.0, True, True), (True, 1, True, False),
    (1, True, False, False), (None, None, True, True), (None, math.nan, True, False), (math.nan, None, True, False),
    (math.nan, math.nan, True, True), (math.inf, math.inf, True, True), (1.0, 1.0 + 5e-10, True, True),
    (1.0, 1.0 + 2e-9, True, False), ([], [], True, True), ([], None, True, False), ([1, 2], [2, 1], True, False),
    (["a"], ["a", "b"], True, False), (0, None, True, False), ("1", 1, True, False),
])  # fmt: skip
def test_what_counts_as_the_same(got: Any, expected: Any, integral: bool, answer: bool) -> None:
    assert same(got, expected, integral=integral) is answer


@pytest.mark.parametrize("path", ["offline", "online"])
def test_the_public_cases_pass(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(PUBLIC), "--path", path]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "16 passed, 0 failed"


@pytest.mark.parametrize("engine", ["local", "local:?memory=1MiB"])
def test_an_engine_answers_the_cases(engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cases.json"
    file.write_text(json.dumps({"cases": [CASE]}))
    assert main([str(file), "--engine", engine]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 0 failed"
    with pytest.raises(SystemExit):
        main([str(file), "--engine", engine, "--path", "online"])
    assert "--engine runs the offline path only" in capsys.readouterr().err


def test_a_case_that_cannot_be_run_is_a_failed_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text_key = copy.deepcopy(CASE)
    text_key["entity_rows"][0]["k"] = "1"
    mixed = copy.deepcopy(CASE)
    mixed["feature_rows"][0]["k"] = "1"
    file = tmp_path / "cases.json"
    file.write_text(json.dumps({"cases": [text_key, mixed, {"name": "empty"}, CASE]}))
    assert main([str(file)]) == 1
    out = capsys.readouterr().out
    assert "InvalidArgument: key 'c_k' of feature view 'v0' is Int64, but column 'spine_k' is String" in out
    assert out.splitlines()[-1] == "1 passed, 3 failed"


def test_it_runs_as_a_module(tmp_path: Path) -> None:
    file = tmp_path / "cases.json"
    file.write_text(json.dumps({"cases": [CASE]}))
    command = [sys.executable, "-m", "tidemill.testing.feature_cases", str(file), "--path", "offline"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "1 passed, 0 failed"
    missing = subprocess.run([*command[:3], str(tmp_path / "none.json")], capture_output=True, text=True, check=False)
    assert missing.returncode == 2
    assert "none.json is no file of cases" in missing.stderr


def test_the_store_of_the_online_path_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cases.json"
    file.write_text(json.dumps({"cases": [CASE]}))
    for store in ("lmdb", "memory", "lmdb:elsewhere"):
        assert main([str(file), "--path", "online", "--online", store]) == 0
    assert main([str(file), "--path", "online", "--online", "carrier-pigeon:"]) == 1
    assert "the online store cannot be 'carrier-pigeon'" in capsys.readouterr().out


@pytest.mark.service
def test_cases_on_servers_leave_nothing_behind(tmp_path: Path, redis_url: str, postgres_url: str) -> None:
    file = tmp_path / "cases.json"
    file.write_text(json.dumps({"cases": [CASE]}))
    for url in (f"{redis_url}?prefix=tm-cases-{uuid.uuid4().hex[:12]}", postgres_url):
        assert main([str(file), "--path", "online", "--online", url]) == 0
        store = open_store("online", url, tmp_path)
        with store.read() as reader:
            assert reader.views() == []
        store.close()

from __future__ import annotations

import math
import os
import subprocess
from pathlib import Path

import pytest

from tidemill.core.clock import ManualClock
from tidemill.core.errors import InvalidArgument, NotFound
from tidemill.core.scope import Scope
from tidemill.stores.artifacts.protocol import ArtifactStore
from tidemill.stores.metadata.protocol import MetadataStore
from tidemill.tracking.environment import distributions, distributions_digest, is_alive, process_start, this_process
from tidemill.tracking.service import Tracking


def started(tracking: Tracking, name: str, clock: ManualClock, **values: object) -> str:
    metrics = values.pop("metrics", {})
    with tracking.start(name, **values) as run:  # type: ignore[arg-type]
        run.log_metrics(metrics)  # type: ignore[arg-type]
    clock.advance(1_000_000)
    return run.id


def names(tracking: Tracking, filter: str | None = None, **options: object) -> list[str]:
    return [run.name for run in tracking.find(filter, **options)]  # type: ignore[arg-type]


@pytest.fixture
def three(tracking: Tracking, clock: ManualClock) -> Tracking:
    started(tracking, "r0", clock, metrics={"key1": 121}, params={"depth": 4, "model": "LR"})
    started(tracking, "r1", clock, metrics={"key1": 123}, tags={"tag1": "C"}, params={"depth": 6, "model": "lrx"})
    started(tracking, "r2", clock, metrics={"key1": 125}, tags={"tag1": "D"}, params={"depth": 8}, group="other")
    return tracking


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ("metrics.key1 != 123", ["r2", "r0"]),
        ("metrics.key1 > 121", ["r2", "r1"]),
        ("metrics.key1 <= 121 OR metrics.key1 = 125", ["r2", "r0"]),
        ("tags.tag1 != 'D'", ["r1"]),
        ("NOT tags.tag1 = 'D'", ["r1", "r0"]),
        ("tags.tag1 IS NULL", ["r0"]),
        ("tags.tag1 IS NOT NULL AND params.depth > 6", ["r2"]),
        ("params.depth IN (4, 6)", ["r1", "r0"]),
        ("params.depth IN ('4')", ["r0"]),
        ("params.depth NOT IN (4, 6)", ["r2"]),
        ("params.depth = '6'", ["r1"]),
        ("params.depth = 6", ["r1"]),
        ("params.model LIKE 'L%'", ["r0"]),
        ("params.model ILIKE 'l%'", ["r1", "r0"]),
        ("params.model LIKE 'L_'", ["r0"]),
        ("params.model NOT IN ('LR')", ["r1"]),
        ("group = 'other'", ["r2"]),
        ("name IN ('r0', 'r2') AND (tags.tag1 = 'D' OR params.depth = 4)", ["r2", "r0"]),
        ("metrics.key2 = 1", []),
        ("status = 'running'", []),
        ("start_time > 1704067200000000", ["r2", "r1"]),
        (None, ["r2", "r1", "r0"]),
        ("", ["r2", "r1", "r0"]),
    ],
)
def test_filters(three: Tracking, filter: str | None, found: list[str]) -> None:
    assert names(three, filter) == found


def test_by_group_kind_and_status(three: Tracking) -> None:
    assert names(three, group="default") == ["r1", "r0"]
    assert names(three, kind="step") == []
    assert names(three, kind=["run", "step"], status="finished", limit=1) == ["r2"]
    assert names(three, limit=1, offset=1) == ["r1"]


def test_the_order_of_numbers(tracking: Tracking, clock: ManualClock) -> None:
    values = {
        "none": None, "nan": math.nan, "inf": math.inf, "-inf": -math.inf, "-1000": -1000.0, "0a": 0.0, "0b": 0.0,
        "1000": 1000.0,
    }  # fmt: skip
    for name, value in values.items():
        started(tracking, name, clock, metrics={} if value is None else {"x": value, "y": len(name)})
    up = ["-inf", "-1000", "0b", "0a", "1000", "inf", "nan", "none"]
    down = ["inf", "1000", "0b", "0a", "-1000", "-inf", "nan", "none"]
    assert names(tracking, order="metrics.x ASC") == up
    assert names(tracking, order=["metrics.x desc", "metrics.y"]) == down


def test_the_order_of_texts(three: Tracking) -> None:
    assert names(three, order="params.model") == ["r0", "r1", "r2"]
    assert names(three, order="params.depth DESC") == ["r2", "r1", "r0"]
    assert names(three, order=["group desc", "start_time"]) == ["r2", "r0", "r1"]
    with pytest.raises(InvalidArgument, match="no attribute 'metric'"):
        three.find(order="metric DESC")


def test_a_run_by_a_part_of_its_id(three: Tracking) -> None:
    runs = three.find()
    assert three.get(runs[0].id[-8:]).id == runs[0].id
    with pytest.raises(InvalidArgument, match=r"several runs match .* Known: "):
        three.get(runs[0].id[:4])
    for bad in ("", "abc", "%%%%", "x' OR '1", "z" * 33):
        with pytest.raises(InvalidArgument, match="not the id of a run"):
            three.get(bad)
    for absent in ("f" * 32, "ffff"):
        with pytest.raises(NotFound, match=f"Run with id={absent} not found"):
            three.get(absent)


def test_unknown_names(three: Tracking) -> None:
    run_id = three.find()[0].id
    with pytest.raises(NotFound, match=r"'key2'.*Known: key1.*Did you mean 'key1'"):
        three.metrics(run_id, "key2")
    with pytest.raises(InvalidArgument, match="Known: run, pipeline"):
        three.start("x", kind="experiment")
    with pytest.raises(NotFound):
        three.start("x", parent="f" * 32)
    with pytest.raises(InvalidArgument, match="run group"):
        three.start("x", group="My Runs")


def test_projects_do_not_see_each_other(three: Tracking, metadata: MetadataStore, artifacts: ArtifactStore) -> None:
    other = Tracking(Scope("flights", "bob", ManualClock(0)), metadata=metadata, artifacts=artifacts)
    assert other.find() == []
    with pytest.raises(NotFound):
        other.get(three.find()[0].id)


def test_children(tracking: Tracking, clock: ManualClock) -> None:
    with tracking.start("pipeline", kind="pipeline", group="nightly") as whole:
        for name in ("first", "second"):
            started(tracking, name, clock, kind="step", parent=whole.id, code={"digest": name})
    parts = tracking.children(whole.id)
    assert [part.name for part in parts] == ["first", "second"]
    assert {part.run_group for part in parts} == {"nightly"}
    assert parts[0].code == {"digest": "first"}


def git(folder: Path, *arguments: str) -> str:
    identity = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **identity}).stdout


def test_the_commit_and_what_was_changed(tracking: Tracking, tmp_path: Path, artifacts: ArtifactStore) -> None:
    assert "commit" not in tracking.get(tracking.start("outside").id).code
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "model.py").write_text("depth = 4\n")
    git(tmp_path, "add", "model.py")
    git(tmp_path, "commit", "-q", "-m", "Start")
    clean = tracking.get(tracking.start("clean").id).code
    assert (clean["commit"], clean["dirty"], clean["branch"]) == (
        git(tmp_path, "rev-parse", "HEAD").strip(),
        False,
        "main",
    )
    (tmp_path / "model.py").write_text("depth = 6\n")
    dirty = tracking.start("dirty")
    code = tracking.get(dirty.id).code
    assert code["dirty"] is True
    assert b"+depth = 6" in artifacts.get(code["diff"])
    part = tracking.start("part", kind="step", parent=dirty.id)
    assert tracking.get(part.id).code == code


def test_without_git(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert tracking.get(tracking.start("no git").id).code == {}


def test_the_environment_is_listed(tracking: Tracking, artifacts: ArtifactStore) -> None:
    environment = tracking.get(tracking.start("fit").id).environment
    assert environment["distributions"] == distributions_digest()
    listed = artifacts.get(environment["distributions"]).decode().split("\n")
    assert listed == list(distributions())
    assert any(line.startswith("polars==") for line in listed)


def test_only_the_dead_are_reaped(tracking: Tracking) -> None:
    mine, remote = tracking.start("mine"), tracking.start("remote", owned=False)
    assert tracking.reap() == []
    assert tracking.reap(lambda process: False) == [mine.id]
    assert tracking.get(mine.id).status == "killed"
    assert tracking.get(remote.id).status == "running"


def test_what_is_alive() -> None:
    me = this_process()
    assert is_alive(me)
    assert not is_alive({**me, "started": "an earlier process of this pid"})
    assert is_alive({**me, "host": "elsewhere", "pid": 1 << 30})
    with subprocess.Popen(["sleep", "60"]) as process:
        start = process_start(process.pid)
        assert is_alive({**me, "pid": process.pid, "started": start})
        process.kill()
    assert not is_alive({**me, "pid": process.pid, "started": start})

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import tidemill as tm
from tidemill.core.clock import ManualClock
from tidemill.core.errors import Conflict, InvalidArgument, NotFound, NotReady, Unavailable, UserCodeError
from tidemill.core.settings import load_settings
from tidemill.features.online import Online
from tidemill.platform import Platform

PROJECT = """
import polars as pl
import tidemill as tm

trips = tm.Source("trips", "trips.csv", time="at", id="trip")
stations = tm.FeatureView(source=trips, keys="station", aggregates=[tm.sum("fare", over="7d")])
features = tm.FeatureService([stations])
fare = tm.Label(trips, pl.col("fare"), known_at="at")

@tm.step
def double(value: int) -> int:
    return value * FACTOR

@tm.pipeline
def doubling(value: int = 4):
    return double(value)
"""
ROWS = "trip,at,station,fare\n1,2023-12-01T08:00:00Z,north,2.0\n2,2023-12-01T09:00:00Z,north,3.0\n"


@pytest.fixture(autouse=True)
def own_imports() -> Iterator[None]:
    """Projects of one test are not those of another, although their files have the same names."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if not name.startswith("tidemill"):
            file = getattr(sys.modules[name], "__file__", None) or ""
            if "pytest" in file and "site-packages" not in file:
                del sys.modules[name]


def project(
    folder: Path, source: str = PROJECT, *, name: str = "trips", factor: int = 2, files: str = '"defs.py"'
) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "tidemill.toml").write_text(f'project = "{name}"\nfiles = [{files}]\nexecutor = "inline"\n')
    (folder / "defs.py").write_text(source.replace("FACTOR", str(factor)))
    (folder / "trips.csv").write_text(ROWS)
    return folder


# -- pushes while the online store is away


def test_what_the_online_store_missed_is_caught_up(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = True
    apply, materialize = Online.apply_rows, Online.materialize

    def apply_rows(self: Online, *arguments: Any) -> int:
        if away:
            raise Unavailable("the online store does not answer")
        return apply(self, *arguments)

    def materialize_rows(self: Online, *arguments: Any) -> Any:
        if away:
            raise Unavailable("the online store does not answer")
        return materialize(self, *arguments)

    with Platform(load_settings(project(tmp_path / "trips")), clock=clock) as platform:
        platform.ingest()
        monkeypatch.setattr(Online, "apply_rows", apply_rows)
        monkeypatch.setattr(Online, "materialize", materialize_rows)
        rows = [{"trip": n, "at": "2023-12-31T00:00:00Z", "station": "south", "fare": 1.0} for n in range(10, 13)]
        assert [platform.push("trips", [row]).rows for row in rows[:2]] == [1, 1]  # durable all the same
        platform.catch_up()
        assert platform.features.vector("features", {"station": "south"})["stations__fare_sum_7d"] is None
        away = False
        platform.push("trips", rows[2:])
        assert platform.features.vector("features", {"station": "south"})["stations__fare_sum_7d"] == 3.0


# -- two in one process


def test_two_platforms_know_nothing_of_each_other(tmp_path: Path, clock: ManualClock) -> None:
    first, second = project(tmp_path / "a", factor=2), project(tmp_path / "b", name="other", factor=3)
    with tm.open(first, clock=clock) as one, tm.open(second, clock=clock) as two:
        assert one.pipelines.run("doubling").result == 8
        assert two.pipelines.run("doubling").result == 12
        one.ingest()
        assert one.data.scan(one.definitions.get("source", "trips")).collect().height == 2
        assert two.data.table_version(two.definitions.get("source", "trips")) is None
        assert [run.name for run in two.tracking.find(kind="pipeline")] == ["doubling"]
        assert one.scope.project != two.scope.project


def test_two_platforms_of_one_project_share_what_they_keep(tmp_path: Path, clock: ManualClock) -> None:
    folder = project(tmp_path / "a")
    with tm.open(folder, clock=clock) as one, tm.open(folder, clock=clock) as two:
        one.ingest()
        assert two.data.scan(two.definitions.get("source", "trips")).collect().height == 2
        with one.tracking.start("shared") as run:
            run.log_metric("loss", 1.0)
        assert [point.value for point in two.tracking.metrics(run.id, "loss")] == [1.0]


# -- operations called on definitions


def test_operations_run_on_the_innermost_open_platform(tmp_path: Path, clock: ManualClock) -> None:
    folder = project(tmp_path / "a")
    with tm.open(folder, clock=clock) as platform:
        platform.ingest()
        defs = sys.modules["defs"]
        rows = defs.features.training_set(spine=defs.trips, label=defs.fare, until="2023-12-02")
        assert rows.frame["stations__fare_sum_7d"].to_list() == [None, 2.0]
        with tm.open(project(tmp_path / "b", name="empty"), clock=clock), pytest.raises(NotReady):
            defs.features.training_set(spine=defs.trips, label=defs.fare, until="2023-12-02")
        assert len(defs.features.training_set(spine=defs.trips, label=defs.fare, until="2023-12-02")) == 2, (
            "the outer one is back"
        )
    with pytest.raises(NotReady, match=r"with tm\.open"):
        defs.features.training_set(spine=defs.trips, label=defs.fare, until="2023-12-02")


def test_a_closed_platform_opens_its_stores_anew(tmp_path: Path, clock: ManualClock) -> None:
    platform = tm.open(project(tmp_path / "a"), clock=clock)
    with platform:
        platform.ingest()
    platform.close()
    with tm.open(tmp_path / "a", clock=clock) as again:
        rows = pl.DataFrame({"station": ["north"]})
        assert again.features.online("features", rows, clock.now()).height == 1


def test_the_engine_of_the_settings_computes_training_sets(tmp_path: Path, clock: ManualClock) -> None:
    folder = project(tmp_path / "trips")
    with Platform(
        load_settings(folder, environ={"TIDEMILL_ENGINE": "local:?workers=3&memory=1GiB"}), clock=clock
    ) as opened:
        opened.ingest()
        assert "engine" not in opened.__dict__, "it is started when it is needed"
        service = opened.definitions.get("feature_service", "features")
        assert (
            opened.features.offline(service, pl.DataFrame({"station": ["north"], "t": [clock.now()]}), "t").height == 1
        )
        assert (opened.engine.name, opened.engine.workers, opened.engine.memory) == ("local", 3, 2**30)
    with (
        Platform(load_settings(folder, environ={"TIDEMILL_ENGINE": "abacus:"}), clock=clock) as wrong,
        pytest.raises(InvalidArgument, match="engine cannot be 'abacus'"),
    ):
        _ = wrong.engine


def test_opening_reads_no_definitions_and_makes_no_stores(tmp_path: Path) -> None:
    folder = project(tmp_path / "a", "raise RuntimeError('imported')")
    with tm.open(folder):
        pass
    assert not (folder / ".tidemill").exists()


# -- definitions


def test_a_listed_file_that_is_missing_is_named(tmp_path: Path) -> None:
    platform = tm.open(project(tmp_path / "a", files='"absent.py"'))
    with pytest.raises(NotFound, match=r"absent\.py is listed in tidemill\.toml"):
        platform.plan()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def broken(:\n", "SyntaxError"),
        ("import no_such_module_anywhere\n", "ModuleNotFoundError"),
        ("1 / 0\n", "ZeroDivisionError"),
    ],
)
def test_a_file_that_cannot_be_imported_says_why_and_can_be_mended(tmp_path: Path, source: str, said: str) -> None:
    folder = project(tmp_path / "a", source)
    with pytest.raises(UserCodeError, match=rf"importing defs\.py failed: {said}"):
        tm.open(folder).plan()
    project(folder)
    with tm.open(folder) as platform:
        assert {change.name for change in platform.plan()} >= {"trips", "doubling"}


def test_what_a_definition_complains_of_reaches_the_user_unchanged(tmp_path: Path) -> None:
    folder = project(tmp_path / "a", 'import tidemill as tm\nwrong = tm.Source("No Such Name", "x.csv")\n')
    with pytest.raises(InvalidArgument, match="No Such Name"):
        tm.open(folder).plan()


def test_files_of_a_project_import_each_other_once(tmp_path: Path) -> None:
    folder = project(tmp_path / "a", files='"models.py", "defs.py"')
    (folder / "constants.py").write_text("VALUE = 21\n")
    (folder / "models.py").write_text(
        "import tidemill as tm\nfrom constants import VALUE\nfrom defs import double\n\n"
        "@tm.pipeline\ndef more():\n    return double(VALUE)\n"
    )
    with tm.open(folder) as platform:
        assert platform.pipelines.run("more").result == 42
        assert platform.definitions.get("source", "trips") is sys.modules["defs"].trips


def test_modules_of_one_project_are_not_those_of_another(tmp_path: Path) -> None:
    """Two projects, each with a module of the same name beside its listed file."""
    results = []
    for name, value in (("a", 1), ("b", 2)):
        source = PROJECT.replace("import polars as pl", "import polars as pl\nfrom shared_values import FACTOR", 1)
        folder = project(tmp_path / name, source.replace("FACTOR", "VALUE"), name=name)
        (folder / "shared_values.py").write_text(f"VALUE = {value}\n")
        with tm.open(folder) as platform:
            results.append(platform.pipelines.run("doubling").result)
    assert results == [4, 8]


# -- settings


def test_a_folder_without_a_project_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="tidemill init"):
        tm.open(tmp_path)


def test_a_project_is_found_from_a_folder_below(tmp_path: Path) -> None:
    below = project(tmp_path / "a") / "notebooks" / "deep"
    below.mkdir(parents=True)
    with tm.open(below) as platform:
        assert platform.settings.folder == tmp_path / "a"


# -- runs in processes of their own


def ended(platform: Platform, run_id: str) -> str:
    ends = time.monotonic() + 120
    while (status := platform.tracking.get(run_id).status) == "running":
        assert time.monotonic() < ends
        time.sleep(0.1)
    return status


def test_a_run_is_executed_by_a_process_of_its_own(tmp_path: Path) -> None:
    folder = project(tmp_path / "a")
    with Platform(load_settings(folder, overrides={"executor": "process"})) as platform:
        run = platform.pipelines.start("doubling", arguments={"value": 5}, reason="test", fingerprint="1")
        assert platform.pipelines.start("doubling", arguments={"value": 5}, reason="test", fingerprint="1") == run
        assert ended(platform, run) == "finished", (folder / ".tidemill" / "logs" / f"run-{run}.log").read_text()
        assert platform.pipelines.outcome(run)["result"] == 10
        with pytest.raises(Conflict):
            platform.pipelines.execute(run)


def test_a_process_that_cannot_import_the_project_fails_its_run(tmp_path: Path) -> None:
    source = PROJECT.replace(
        "import polars as pl", "import os\nimport polars as pl\nassert os.getpid() == PID, 'elsewhere'", 1
    )
    folder = project(tmp_path / "a", source.replace("PID", str(__import__("os").getpid())))
    with Platform(load_settings(folder, overrides={"executor": "process"})) as platform:
        run = platform.pipelines.start("doubling", arguments={}, reason="test", fingerprint="1")
        assert ended(platform, run) == "failed"
        assert "elsewhere" in (platform.tracking.get(run).error or "")


def test_what_became_of_the_rows_of_a_training_set_is_told_by_its_run(tmp_path: Path, clock: ManualClock) -> None:
    gathering = "@tm.pipeline\ndef gathering():\n    return features.training_set(spine=trips, label=fare)\n"
    with tm.open(project(tmp_path / "a", PROJECT + gathering), clock=clock) as platform:
        platform.ingest()
        platform.pipelines.run("gathering")
        (run,) = platform.tracking.find(kind="step")
        assert platform.tracking.latest([run.id]) == {run.id: {"rows": 1, "label_unknown": 0}}

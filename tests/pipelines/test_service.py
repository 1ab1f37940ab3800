from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from tests.pipelines.conftest import Open, Write, calls, tidemill

import tidemill as tm
from tidemill.core.errors import Conflict, DeadlineExceeded, InvalidArgument, InvalidData, NotFound, UserCodeError
from tidemill.core.records.runs import Run

CHAIN = """
    from pathlib import Path
    import tidemill as tm

    LOG = Path(__file__).parent / "calls.txt"

    def note(what):
        with LOG.open("a") as file:
            print(what, file=file)

    @tm.step
    def first(x: int):
        note("first")
        return {"x": x}

    @tm.step(outputs=2)
    def second(made):
        note("second")
        return made["x"] + 1, [made["x"]]

    @tm.step
    def third(one, *rest, factor=2, **more):
        note("third")
        return (one * factor, list(rest), more)

    @tm.pipeline
    def chain(x: int = 1, at: tm.Time = tm.NOW):
        one, two = second(first(x))
        return third(one, two, 7, extra=two)
"""


def test_a_pipeline_runs_its_steps_and_keeps_their_record(write: Write, opened: Open) -> None:
    write(mill=CHAIN)
    platform = opened()
    done = platform.pipelines.run("chain", {"x": 4})
    assert (done.status, done.result) == ("finished", [10, [[4], 7], {"extra": [4]}])
    assert [(step.node, step.status) for step in done.steps] == [
        ("first", "finished"), ("second", "finished"), ("third", "finished"),
    ]  # fmt: skip
    run = platform.tracking.get(done.id)
    assert (run.kind, run.status, run.params["x"]) == ("pipeline", "finished", 4)
    assert [(c.name, c.status, c.tags["cache"]) for c in platform.tracking.children(done.id)] == [
        ("first", "finished", "first call"), ("second", "finished", "first call"), ("third", "finished", "first call"),
    ]  # fmt: skip
    assert platform.pipelines.outcome(done.id)["result"] == done.result


def test_an_equal_run_executes_nothing_and_says_where_results_come_from(write: Write, opened: Open) -> None:
    folder = write(mill=CHAIN)
    platform = opened()
    once = platform.pipelines.run("chain")
    again = opened().pipelines.run("chain")
    assert [step.status for step in again.steps] == ["cached"] * 3
    assert again.result == once.result
    assert calls(folder) == ["first", "second", "third"]
    origins = [child.tags["origin"] for child in platform.tracking.children(again.id)]
    assert origins == [step.run_id for step in once.steps]


def test_a_plan_says_what_would_run_and_why(write: Write, opened: Open) -> None:
    write(mill=CHAIN)
    platform = opened()
    planned = platform.pipelines.plan("chain")
    assert [(p.node, p.cache) for p in planned] == [
        ("first", "miss"), ("second", "depends on first"), ("third", "depends on second"),
    ]  # fmt: skip
    platform.pipelines.run("chain")
    assert [p.cache for p in platform.pipelines.plan("chain")] == ["hit"] * 3
    assert platform.pipelines.plan("chain", {"x": 2})[0].changed == ("argument x",)
    write(mill=CHAIN.replace("one * factor", "factor * one"))
    changed = opened().pipelines.plan("chain")
    assert [p.cache for p in changed] == ["hit", "hit", "miss"]
    assert changed[2].changed == ("code mill:third",)


def test_arguments_of_any_kind_reach_the_steps(write: Write, opened: Open) -> None:
    write(
        mill="""
        import tidemill as tm

        @tm.step
        def look(at, frame):
            return [type(at).__name__, frame["a"].sum()]

        @tm.pipeline
        def looks(at, frame):
            return look(at, frame)
    """
    )
    platform = opened()
    given = {"at": dt.datetime(2013, 4, 1, tzinfo=dt.UTC), "frame": pl.DataFrame({"a": [1, 2]})}
    assert platform.pipelines.run("looks", given).result == ["datetime", 3]
    assert platform.pipelines.run("looks", {**given, "at": tm.NOW}).result == ["Now", 3]
    with pytest.raises(InvalidArgument, match="cannot be kept"):
        platform.pipelines.run("looks", {**given, "at": (n for n in ())})


def test_mistakes_are_found_before_anything_runs(write: Write, opened: Open) -> None:
    write(mill=CHAIN)
    platform = opened()
    with pytest.raises(NotFound, match="chain"):
        platform.pipelines.run("chian")
    with pytest.raises(InvalidArgument, match="Known: x, at"):
        platform.pipelines.run("chain", {"y": 1})
    with platform.tracking.start("plain") as run:
        pass
    with pytest.raises(NotFound, match="not a pipeline"):
        platform.pipelines.outcome(run.id)
    assert platform.tracking.find(kind="pipeline") == []


FLAKY = """
    import time
    from pathlib import Path
    import tidemill as tm

    FOLDER = Path(__file__).parent

    @tm.step(retries={retries})
    def flaky(fail: int):
        count = FOLDER / "count"
        done = int(count.read_text()) if count.exists() else 0
        count.write_text(str(done + 1))
        if done < fail:
            raise RuntimeError(f"attempt {{done + 1}}")
        return done

    @tm.step(timeout="{timeout}")
    def slow():
        try:
            for _ in range(2000):
                time.sleep(0.01)
        except Exception:
            pass
        return 1

    @tm.step(outputs=2)
    def three():
        return 1, 2, 3

    @tm.pipeline
    def flakes(fail: int = 2):
        return flaky(fail)

    @tm.pipeline
    def slowly():
        return slow()

    @tm.pipeline
    def wrong():
        return three()[0]
"""


def test_a_failed_step_is_tried_again_and_its_attempts_are_kept(write: Write, opened: Open) -> None:
    write(mill=FLAKY.format(retries=2, timeout="1h"))
    platform = opened()
    done = platform.pipelines.run("flakes")
    assert done.result == 2
    [step] = platform.tracking.children(done.id)
    assert step.tags["failed_attempts"] == 2
    assert b"attempt 2" in platform.tracking.artifact(step.id, "attempt-2.txt")


def test_after_the_last_attempt_the_cause_is_told(write: Write, opened: Open) -> None:
    write(mill=FLAKY.format(retries=1, timeout="1h"))
    platform = opened()
    with pytest.raises(UserCodeError, match="after 2 attempts: RuntimeError: attempt 2"):
        platform.pipelines.run("flakes")
    [run] = platform.tracking.find(kind="pipeline")
    assert run.status == "failed"
    assert "attempt 2" in (run.error or "")
    assert [child.status for child in platform.tracking.children(run.id)] == ["failed"]


def test_a_step_that_takes_too_long_is_stopped_even_if_it_catches_everything(write: Write, opened: Open) -> None:
    write(mill=FLAKY.format(retries=0, timeout="100ms"))
    platform = opened()
    with pytest.raises(DeadlineExceeded, match=r"at most 0\.1 s"):
        platform.pipelines.run("slowly")
    assert platform.tracking.find(kind="step")[0].status == "failed"


def test_a_step_must_return_what_it_declares(write: Write, opened: Open) -> None:
    write(mill=FLAKY.format(retries=0, timeout="1h"))
    with pytest.raises(InvalidData, match=r"3 results\. Expected 2"):
        opened().pipelines.run("wrong")


STOPPABLE = (
    CHAIN.replace('note("second")', 'note("second"); stop()')
    + """
    def stop():
        what = (LOG.parent / "stop").read_text() if (LOG.parent / "stop").exists() else ""
        if what == "interrupt":
            raise KeyboardInterrupt
        if what == "fail":
            raise RuntimeError("no luck")
        if what == "hang":
            import time
            time.sleep(60)
"""
)


def test_an_interrupted_pipeline_is_marked_killed_and_can_be_resumed(write: Write, opened: Open) -> None:
    folder = write(mill=STOPPABLE)
    (folder / "stop").write_text("interrupt")
    platform = opened()
    with pytest.raises(KeyboardInterrupt):
        platform.pipelines.run("chain", {"x": 5})
    assert {run.status for run in platform.tracking.find() if run.name in ("chain", "second")} == {"killed"}
    (folder / "stop").unlink()
    [killed] = platform.tracking.find(kind="pipeline")
    done = opened().pipelines.resume(killed.id)
    assert [(step.node, step.status) for step in done.steps] == [
        ("first", "cached"), ("second", "finished"), ("third", "finished"),
    ]  # fmt: skip
    assert done.result[0] == 12, "the argument of the run that was resumed"
    assert platform.tracking.get(done.id).tags["root"] == killed.id
    with pytest.raises(Conflict, match="is finished"):
        platform.pipelines.resume(done.id)


def test_an_inline_start_happens_once_per_fingerprint(write: Write, opened: Open) -> None:
    folder = write(mill=CHAIN)
    platform = opened()
    ids = {platform.pipelines.start("chain", arguments={}, reason="r", fingerprint="f") for _ in range(3)}
    other = platform.pipelines.start("chain", arguments={"x": 9}, reason="r", fingerprint="g")
    assert len(ids) == 1
    assert other not in ids
    assert calls(folder).count("first") == 2


# -- in processes of their own


@pytest.fixture
def launched(write: Write, opened: Open, tmp_path: Path) -> Iterator[tm.Platform]:
    write("process", mill=STOPPABLE)
    platform = opened()
    yield platform
    for run in platform.tracking.find(kind="pipeline", status="running"):
        os.kill(run.environment["process"]["pid"], signal.SIGKILL)


def ended(platform: tm.Platform, run_id: str) -> Run:
    return awaited(platform, run_id, lambda run: run.status != "running")


def awaited(platform: tm.Platform, run_id: str, holds: object) -> Run:
    for _ in range(600):
        run = platform.tracking.get(run_id)
        if holds(run):  # type: ignore[operator]
            return run
        time.sleep(0.1)
    log = platform.settings.home_path / "logs" / f"run-{run_id}.log"
    raise AssertionError(f"{run}\n{log.read_text()}")


def test_a_run_is_executed_by_a_process_of_its_own(launched: tm.Platform) -> None:
    run_id = launched.pipelines.start("chain", arguments={"x": 4}, reason="drift", fingerprint="f")
    run = ended(launched, run_id)
    log = (launched.settings.home_path / "logs" / f"run-{run_id}.log").read_text()
    assert run.status == "finished", log
    assert run.environment["process"]["pid"] != os.getpid()
    assert launched.pipelines.outcome(run_id)["result"] == [10, [[4], 7], {"extra": [4]}]
    assert run_id in log
    with pytest.raises(Conflict, match="has finished"):
        launched.pipelines.execute(run_id)


def test_the_code_that_was_accepted_is_executed(launched: tm.Platform, tmp_path: Path) -> None:
    accepted = launched.pipelines._accept("chain", {}, "by hand")
    path = tmp_path / "mill.py"
    path.write_text(path.read_text().replace("one * factor", "-1"))
    process = tidemill(tmp_path, "execute", accepted.id)
    assert process.returncode == 0, process.stdout
    assert launched.pipelines.outcome(accepted.id)["result"][0] == 4


def test_code_that_cannot_be_imported_fails_the_run(launched: tm.Platform, tmp_path: Path) -> None:
    (tmp_path / "mill.py").write_text("raise RuntimeError('broken')")
    accepted = launched.tracking.start("chain", kind="pipeline", tags={"arguments": {}})
    assert tidemill(tmp_path, "execute", accepted.id).returncode == 11
    run = launched.tracking.get(accepted.id)
    assert run.status == "failed"
    assert "broken" in (run.error or "")


def test_a_killed_process_leaves_a_killed_run_that_resumes(launched: tm.Platform, tmp_path: Path) -> None:
    (tmp_path / "stop").write_text("hang")
    run_id = launched.pipelines.start("chain", arguments={"x": 6}, reason="drift", fingerprint="f")
    run = awaited(launched, run_id, lambda run: calls(tmp_path) == ["first", "second"])
    with pytest.raises(Conflict, match="is running"):
        launched.pipelines.resume(run_id)
    with pytest.raises(Conflict, match="is being executed"):
        launched.pipelines.execute(run_id)
    os.kill(run.environment["process"]["pid"], signal.SIGKILL)
    awaited(launched, run_id, lambda _: launched.tracking.reap() or launched.tracking.get(run_id).status == "killed")
    assert {child.name: child.status for child in launched.tracking.children(run_id)} == {
        "first": "finished", "second": "killed",
    }  # fmt: skip
    (tmp_path / "stop").unlink()
    process = tidemill(tmp_path, "resume", run_id, "--json")
    assert process.returncode == 0, process.stdout
    assert calls(tmp_path) == ["first", "second", "second", "third"]


def test_a_stopped_process_says_so(launched: tm.Platform, tmp_path: Path) -> None:
    (tmp_path / "stop").write_text("hang")
    run_id = launched.pipelines.start("chain", arguments={}, reason="drift", fingerprint="f")
    run = awaited(launched, run_id, lambda run: calls(tmp_path) == ["first", "second"])
    os.kill(run.environment["process"]["pid"], signal.SIGTERM)
    assert ended(launched, run_id).status == "killed"


def test_two_processes_starting_for_one_fingerprint_make_one_run(write: Write, opened: Open, tmp_path: Path) -> None:
    write(mill=CHAIN)
    program = (
        "import tidemill as tm, sys\n"
        "with tm.open(sys.argv[1]) as platform:\n"
        "    input()\n"
        "    print(platform.pipelines.start('chain', arguments={}, reason='r', fingerprint='f'))\n"
    )
    starters = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         text=True) for _ in range(2)
    ]  # fmt: skip
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("go\n")
        starter.stdin.flush()
    answers = {starter.communicate(timeout=120)[0].strip() for starter in starters}
    assert len(answers) == 1
    assert [run.id for run in opened().tracking.find(kind="pipeline")] == list(answers)
    assert calls(tmp_path) == ["first", "second", "third"]

"""How commands end when they do not end by themselves: Ctrl-C, a reader that left, an error nobody foresaw."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

import tidemill
from tidemill.cli import failures
from tidemill.core.errors import EXIT_CODE, TidemillError

SLEEPER = "open('begun', 'w').close(); import time; time.sleep(60)"


def wait_for(path, process):
    ends = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < ends
        time.sleep(0.05)


def interrupted(process):
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "Stopped.\n")


def test_ctrl_c_while_a_delivery_is_read(command, invoke, folder):
    text = (folder / "post.py").read_text()
    slow = f"def wait(rows):\n    {SLEEPER}\n    return rows\n\n\n"
    (folder / "post.py").write_text(
        text.replace("parcels = tm.Source(", f"{slow}parcels = tm.Source(").replace("types={", "clean=wait, types={", 1)
    )
    process = command("ingest", "parcels")
    wait_for(folder / "begun", process)
    interrupted(process)
    (folder / "post.py").write_text(text)
    assert invoke("sources", "--json").data == []
    assert invoke("ingest", "parcels", "--json").data[0]["rows"] == 499


def test_ctrl_c_that_meets_code_made_from_a_text(folder):
    (folder / "post.py").write_text('exec("raise KeyboardInterrupt")')  # as within a dataclass that is being made
    command = [sys.executable, "-m", "tidemill", "apply"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Stopped.\n")


def test_ctrl_c_while_a_pipeline_runs(command, invoke, folder):
    text = (folder / "post.py").read_text()
    (folder / "post.py").write_text(text.replace("    from sklearn", f"    {SLEEPER}\n    from sklearn"))
    assert invoke("ingest").code == 0
    process = command("run", "parcel_pipeline")
    wait_for(folder / "begun", process)
    interrupted(process)
    assert {row["status"] for row in invoke("runs", "list", "--json").data} == {"finished", "killed"}
    assert invoke("models", "list", "--json").data == []


def test_ctrl_c_ends_the_pages_and_the_daemon(command):
    process = command("up", "--port", "0")
    time.sleep(3)  # whether it still starts or already listens, it stops
    interrupted(process)


@pytest.mark.parametrize("words", [["--help"], ["doctor"], ["doctor", "--json"], ["plan"]])
def test_a_reader_that_leaves_is_no_failure(folder, words):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "tidemill", *words], cwd=folder, stdout=write, stderr=subprocess.PIPE, text=True,
        check=False,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_error_nobody_foresaw_is_named_and_asks_to_be_reported(capsys, monkeypatch):
    assert failures.report(ZeroDivisionError("division by zero")) == 1
    said = capsys.readouterr().err
    assert said.startswith("Internal error: ZeroDivisionError: division by zero\n")
    assert "TIDEMILL_TRACEBACK=1" in said
    assert "Traceback" not in said
    monkeypatch.setenv("TIDEMILL_TRACEBACK", "1")
    failures.report(ZeroDivisionError("division by zero"))
    assert "ZeroDivisionError" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(("given", "code"), [(SystemExit(3), 3), (SystemExit(None), 0), (SystemExit("no"), 1)])
def test_an_exit_that_was_asked_for_is_kept(given, code):
    assert failures.report(given) == code


def kinds(base=TidemillError):
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_every_error_has_an_exit_code_of_its_own_kind(capsys):
    for kind in kinds():
        if kind.__module__ == "tidemill.core.errors":
            error = kind("a", "b") if kind.__name__ == "MissingExtra" else kind("a")
            assert failures.report(error) == EXIT_CODE[kind.code] > 0
            assert capsys.readouterr().err.startswith("Error: a")


def test_the_version(invoke):
    assert invoke("--version").out == f"tidemill {tidemill.__version__}\n"

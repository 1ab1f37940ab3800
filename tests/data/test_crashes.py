"""Killed at any point, a delivery or a compaction has happened completely or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from tidemill.core.specs.checks import check
from tidemill.core.specs.sources import Source
from tidemill.data.service import Data

MakeData = Callable[[], Data]
SOURCE = Source("s", time="at", id="id", checks=[check("x").between(0, 100)])

OPENED = """
import os, sys
from pathlib import Path
import deltalake, polars as pl
import tidemill as tm
from tidemill.core.clock import ManualClock
from tidemill.core.scope import Scope
from tidemill.data.service import Data
from tidemill.stores.artifacts.open import open_artifacts
from tidemill.stores.metadata.open import open_metadata
from tidemill.stores.streams.open import open_streams
from tidemill.stores.tables.open import open_tables

home = Path(sys.argv[1])
source = tm.Source("s", time="at", id="id", checks=[tm.check("x").between(0, 100)])

def opened():
    metadata = open_metadata("sqlite:", home)
    return metadata, Data(
        Scope("test", "ada", ManualClock(1_704_067_200_000_000)), metadata=metadata,
        artifacts=open_artifacts("file:", home), tables=open_tables("delta:", home),
        streams=open_streams("file:", home), folder=home,
    )
"""

MORTAL = (
    OPENED
    + """
calls = 0

def deadly(store, when, number, *names):
    "Every call that changes a store is counted, and the process dies before or after one."
    for name in names:
        def call(*args, _original=getattr(store, name), **kwargs):
            global calls
            calls += 1
            if when == "before" and calls == number:
                os._exit(7)
            result = _original(*args, **kwargs)
            if when == "after" and calls == number:
                os._exit(7)
            return result
        setattr(store, name, call)

def work(job, when, number):
    metadata, data = opened()
    frame = pl.DataFrame({"at": ["2023-12-01"] * 4, "id": list("abcd"), "x": [1, 2, 3, 999]})
    if job == "flush":
        data.push(source, frame)
    deadly(data.tables, when, number, "append")
    deadly(data.artifacts, when, number, "put", "delete")
    deadly(data.streams, when, number, "append", "trim")
    deadly(metadata, when, number, "write")
    data.ingest(source, frame=frame) if job == "ingest" else data.flush()
    metadata.close()

for line in sys.stdin:  # a child each: it has all modules already, of which nothing ran yet
    job, when, number = line.split()
    child = os.fork()
    if child == 0:
        work(job, when, int(number))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
)

Die = Callable[[str, str, int], int]


@pytest.fixture
def die(tmp_path: Path) -> Iterator[Die]:
    """`die(job, when, number)`: a process works until before or after such a call; its code is 7 if it died there."""
    (tmp_path / "mortal.py").write_text(MORTAL)
    command = [sys.executable, str(tmp_path / "mortal.py"), str(tmp_path / ".tidemill")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(job: str, when: str, number: int) -> int:
            print(job, when, number, file=process.stdin, flush=True)
            return int(process.stdout.readline())

        yield ask
        process.stdin.close()
    assert process.returncode == 0


def test_what_a_crash_left_is_settled_by_whoever_lists_everything(die: Die, make_data: MakeData) -> None:
    for number in range(1, 20):
        assert die("ingest", "after", number) == 7
        if make_data().tables.version("sources/s") is not None:
            break
    assert make_data()._ledger.begun() == {"s"}
    assert [(arrival.rows, arrival.quarantined) for arrival in make_data().arrivals()] == [(3, 1)]


def test_a_failed_compaction_is_not_counted_when_the_next_succeeds(
    tmp_path: Path, die: Die, make_data: MakeData
) -> None:
    home = tmp_path / ".tidemill"
    for number in range(1, 20):
        wipe(home)
        assert die("flush", "before", number) == 7
        data = make_data()
        if data._ledger.has_begun("s"):
            break
    assert data.tables.position("sources/s", "push") is None
    repeated = data.push(SOURCE, [{"at": "2023-12-01", "id": "a", "x": 1}])  # compacts, to look the id up
    assert repeated.reasons == {"repeated id": 1}
    assert [arrival.rows for arrival in data.arrivals(SOURCE)] == [3]


def wipe(home: Path) -> None:
    """Empty a home, as far as it says what arrived."""
    for pattern in ("tables", "streams", "metadata.db*"):
        subprocess.run(["rm", "-rf", *map(str, home.glob(pattern))], check=True)


def state(data: Data) -> tuple[list[str], list[str | None], list[tuple[int, int]]]:
    rows = data.scan(SOURCE).collect()["id"].to_list() if data.tables.version("sources/s") is not None else []
    arrivals = [(arrival.rows, arrival.quarantined) for arrival in data.arrivals(SOURCE)]
    return sorted(rows), sorted(data.quarantine(SOURCE)["id"].to_list()), arrivals


DONE = (["a", "b", "c"], ["d"], [(3, 1)])


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_delivery_is_whole_or_absent(tmp_path: Path, die: Die, make_data: MakeData, when: str) -> None:
    home = tmp_path / ".tidemill"
    whole = 0
    for number in range(1, 20):
        code = die("ingest", when, number)
        assert code in (0, 7)
        data = make_data()
        found = state(data)
        assert found in (DONE, ([], [], []))
        whole += found == DONE
        assert found == DONE or code == 7
        frame = pl.DataFrame({"at": ["2023-12-01"] * 4, "id": list("abcd"), "x": [1, 2, 3, 999]})
        data.ingest(SOURCE, frame=frame)
        assert state(data) == DONE
        assert not data._ledger.has_begun("s")
        wipe(home)
        if code == 0:
            break
    assert code == 0
    assert whole > 1  # some of the deaths came after the one moment at which it happens


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_compaction_loses_and_doubles_nothing(
    tmp_path: Path, die: Die, make_data: MakeData, when: str
) -> None:
    for number in range(1, 20):
        home = tmp_path / ".tidemill"
        code = die("flush", when, number)
        assert code in (0, 7)
        data = make_data()
        rows, quarantined, _ = state(data)
        assert (rows, quarantined) == (["a", "b", "c"], ["d"])
        assert sum(arrival.rows for arrival in data.arrivals(SOURCE)) == 3
        assert not data._ledger.has_begun("s")
        wipe(home)
        if code == 0:
            break
    assert code == 0
    assert number > 4


PUSHER = (
    OPENED
    + """
_, data = opened()
n = 0
while True:
    data.push(source, [{"at": "2023-12-01", "id": f"{sys.argv[2]}-{n}", "x": 1}])
    print(n, flush=True)
    n += 1
    if n % 7 == 0:
        data.flush()
"""
)


def test_a_killed_pusher_loses_nothing_acknowledged(tmp_path: Path, make_data: MakeData) -> None:
    (tmp_path / "pusher.py").write_text(PUSHER)
    acknowledged: list[str] = []
    for worker in range(3):
        command = [sys.executable, str(tmp_path / "pusher.py"), str(tmp_path / ".tidemill"), f"w{worker}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            time.sleep(0.3 + worker / 10)
            os.kill(process.pid, signal.SIGKILL)
            lines = [first, *process.stdout.readlines()]
        acknowledged += [f"w{worker}-{line.strip()}" for line in lines if line.endswith("\n")]
    found = make_data().scan(SOURCE).collect()["id"].to_list()
    assert len(found) == len(set(found))
    assert set(acknowledged) <= set(found)
    assert len(found) <= len(acknowledged) + 3


def test_an_interrupted_delivery_is_whole_or_absent_at_once(make_data: MakeData) -> None:
    data = make_data()
    frame = pl.DataFrame({"at": ["2023-12-01"], "id": ["a"], "x": [1]})
    append = data.tables.append

    def interrupted(*args: object, **kwargs: object) -> int:
        append(*args, **kwargs)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    data.tables.append = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        data.ingest(SOURCE, frame=frame)
    assert state(make_data()) == (["a"], [], [(1, 0)])

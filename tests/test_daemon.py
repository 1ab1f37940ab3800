from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tidemill as tm
from tidemill import daemon
from tidemill.core.clock import ManualClock
from tidemill.core.errors import Conflict
from tidemill.core.records.events import Event, Lease, Position
from tidemill.core.times import format_time
from tidemill.daemon import Daemon, Leadership
from tidemill.platform import Platform

DAY = 86_400_000_000
PROJECT = """
import tidemill as tm

trips = tm.Source("trips", "trips.csv", time="at", id="trip")
stations = tm.FeatureView(source=trips, keys="station", aggregates=[tm.sum("fare", over="OVER")])
service = tm.FeatureService([stations])

@tm.step
def answer() -> int:
    return 42

@tm.pipeline(triggers=[tm.on_change(stations)])
def again():
    return answer()
"""

HOLDER = """
import sys
import tidemill as tm
from tidemill.daemon import Leadership

with tm.open(sys.argv[1]) as platform, Leadership(platform) as leadership:
    print(leadership.held, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tidemill.toml").write_text('project = "trips"\nfiles = ["watched.py"]\nexecutor = "inline"\n')
    (tmp_path / "trips.csv").write_text("trip,at,station,fare\n1,2023-12-01T08:00:00Z,north,2.0\n")
    define(tmp_path, over="7d")
    return tmp_path


@pytest.fixture
def opened(folder: Path, clock: ManualClock) -> Iterator[Callable[[], Platform]]:
    platforms: list[Platform] = []

    def opened() -> Platform:
        platforms.append(tm.open(folder, clock=clock))
        return platforms[-1]

    yield opened
    for platform in platforms:
        platform.close()
    sys.modules.pop("watched", None)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases that run for a second and are renewed all the time."""
    monkeypatch.setattr(daemon, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(daemon, "LEASE_MICROS", 1_000_000)


def define(folder: Path, *, over: str) -> None:
    """Write the project's file; the next platform reads it anew."""
    (folder / "watched.py").write_text(PROJECT.replace("OVER", over))
    sys.modules.pop("watched", None)


def wait_until(done: Callable[[], object]) -> None:
    ends = time.monotonic() + 60
    while not done():
        assert time.monotonic() < ends
        time.sleep(0.01)


# -- the lease


@pytest.mark.usefixtures("quick")
def test_one_of_two_leads_until_it_leaves(opened: Callable[[], Platform]) -> None:
    one, other = opened(), opened()
    assert one.metadata is not other.metadata, "both are open before there is a lease to be renewed"
    with Leadership(one) as first, Leadership(other) as second:
        assert (first.held, second.held) == (True, False)
        time.sleep(0.3)
        assert (first.held, second.held) == (True, False), "renewed all the while"
        first.__exit__(None, None, None)
        wait_until(lambda: second.held)
        first.__exit__(None, None, None)
        assert second.held, "leaving again takes nothing away"


@pytest.mark.usefixtures("quick")
def test_only_the_leader_acts(opened: Callable[[], Platform], monkeypatch: pytest.MonkeyPatch) -> None:
    acted: list[Daemon] = []
    monkeypatch.setattr(Daemon, "tick", lambda self: acted.append(self))
    with Daemon(opened(), every=0.01) as first:
        wait_until(lambda: acted)
        with Daemon(opened(), every=0.01) as second:
            begun = len(acted)
            wait_until(lambda: len(acted) > begun + 20)
            assert set(acted) == {first}
            first.__exit__(None, None, None)
            wait_until(lambda: second in acted)


@pytest.mark.usefixtures("quick")
def test_the_lease_of_a_killed_process_runs_out(opened: Callable[[], Platform], folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"True\n"
        with Leadership(opened()) as leadership:
            assert not leadership.held
            other.kill()
            other.wait()
            shorten_lease(opened())
            leadership.await_lease()
            assert leadership.held


def shorten_lease(platform: Platform) -> None:
    """The killed process took it for its own 15 seconds; nobody wants to wait so long."""
    with platform.metadata.write() as writer:
        (lease,) = writer.find(Lease)
        writer.change(Lease, {"name": lease.name}, expires_at=lease.beat_at + 1)


@pytest.mark.usefixtures("quick")
def test_rounds_by_hand_are_refused_where_another_process_leads(opened: Callable[[], Platform]) -> None:
    with Leadership(opened()), pytest.raises(Conflict, match="another process watches project 'trips'"):
        Daemon(opened(), every=None).__enter__()
    with Daemon(opened(), every=None) as daemon:
        assert daemon.tick().started == []


def test_leaving_gives_the_lease_back(opened: Callable[[], Platform]) -> None:
    platform = opened()
    before = threading.active_count()
    with Daemon(platform, every=60), platform.metadata.read() as reader:
        assert len(reader.find(Lease)) == 1
    with platform.metadata.read() as reader:
        assert reader.find(Lease) == []
    assert threading.active_count() == before


# -- rounds


def test_a_round_with_nothing_to_do_changes_nothing(opened: Callable[[], Platform]) -> None:
    platform = opened()
    platform.apply()
    with Daemon(platform, every=None) as daemon:
        daemon.tick()
        before = newest_event(platform)
        tick = daemon.tick()
        assert (tick.reports, tick.decisions, tick.started) == ([], [], [])
        assert newest_event(platform) == before


def newest_event(platform: Platform) -> int:
    with platform.metadata.read() as reader:
        return max(event.seq for event in reader.find(Event))


def test_a_changed_view_starts_its_pipeline_once(opened: Callable[[], Platform], folder: Path) -> None:
    first = opened()
    first.ingest()
    first.apply()
    with Daemon(first, every=None) as daemon:
        assert daemon.tick().started == [], "new is not changed"
    define(folder, over="3d")
    second = opened()
    second.apply()
    with Daemon(second, every=None) as daemon:
        (run,) = daemon.tick().started
        assert daemon.tick().started == []
    second.apply()
    with Daemon(opened(), every=None) as daemon:
        assert daemon.tick().started == []
    (found,) = second.tracking.find(kind="pipeline")
    assert (found.id, found.status) == (run, "finished")
    assert "stations has version 2" in found.tags["reason"]


def test_a_daemon_killed_after_it_fired_fires_nothing_twice(opened: Callable[[], Platform], folder: Path) -> None:
    opened().apply()
    define(folder, over="3d")
    platform = opened()
    platform.apply()
    with Daemon(platform, every=None) as daemon:
        (run,) = daemon.tick().started
        with platform.metadata.write() as writer:  # as if it had been killed before it noted how far it is
            writer.remove(Position, {"feed": "events"})
        assert daemon.tick().started == [run]
    assert [one.id for one in platform.tracking.find(kind="pipeline")] == [run]


def test_a_failing_round_is_logged_and_the_next_one_comes(
    opened: Callable[[], Platform], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rounds: list[int] = []

    def tick(self: Daemon) -> None:
        rounds.append(1)
        raise Conflict("no luck")

    monkeypatch.setattr(Daemon, "tick", tick)
    with Daemon(opened(), every=0.01):
        wait_until(lambda: len(rounds) > 2)
    assert "a round of the daemon failed" in caplog.text
    assert "no luck" in caplog.text


# -- the online store


def stored(platform: Platform) -> dict[str, int]:
    return {one.view: one.rows for one in platform.features.freshness()}


def test_rows_that_no_question_reaches_are_trimmed_where_rows_still_come(
    opened: Callable[[], Platform], clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "JOIN_EVERY", 1)
    platform = opened()
    platform.push("trips", [trip(number, clock.now() - number * DAY) for number in range(40)])
    platform.apply()
    with Daemon(platform, every=None) as leader:
        leader.tick()
        assert stored(platform) == {"stations": 15}, "7 days of window, 7 of lateness, and one of this moment"
        clock.advance(6 * DAY // 8)
        platform.push("trips", [trip(100, clock.now())])
        leader.tick()
        assert stored(platform) == {"stations": 16}, "not again so soon"
        clock.advance(DAY)
        leader.tick()
        assert stored(platform) == {"stations": 14}
        week_ago = platform.features.vector("service", {"station": "north"}, clock.now() - 7 * DAY)
        assert week_ago == {"stations__fare_sum_7d": 14.0}, "as far back as the lateness every window is whole"
        clock.advance(30 * DAY)
        leader.tick()
        assert stored(platform) == {"stations": 14}, "nothing feeds it any more"


def trip(number: int, at: int) -> dict[str, object]:
    return {"trip": str(number), "at": format_time(at), "station": "north", "fare": 2.0}


def test_nothing_is_trimmed_where_that_is_off(
    opened: Callable[[], Platform], clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "JOIN_EVERY", 1)
    monkeypatch.setenv("TIDEMILL_LATENESS", "off")
    platform = opened()
    platform.push("trips", [trip(number, clock.now() - number * DAY) for number in range(40)])
    platform.apply()
    with Daemon(platform, every=None) as leader:
        leader.tick()
    assert stored(platform) == {"stations": 40}

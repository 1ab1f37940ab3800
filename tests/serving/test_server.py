"""Whole servers: several workers, changes of version under load, deaths, limits."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from typing import Any

import pytest
from serving_harness import PATIENCE, Home, Load, serving, start, wait_until
from serving_project import GRAPHS, Times

from tidemill.core.clock import SystemClock
from tidemill.core.records.events import Lease
from tidemill.core.records.serving import Generation
from tidemill.serving.presence import LEASE_MICROS

FACTORS = {1: 2.0, 2: 3.0, 3: 5.0}


def test_before_the_first_champion(home: Home) -> None:
    with serving(home) as server:
        status, answer, headers = server.ask(1.0)
        assert status == 503
        assert headers["retry-after"] == "1"
        assert "no champion yet (models:/fare@champion)" in answer["error"]["message"]
        assert "tidemill models alias fare champion VERSION" in answer["error"]["hint"]
        assert server.call("GET", "/health")[0] == 200
        assert server.call("GET", "/v2/health/live")[0] == 200
        for path in ("/ready", "/v2/health/ready", "/v2/models/fare/ready", "/v2/models/fare"):
            assert server.call("GET", path)[0] == 503
        home.promote(home.register(Times(2.0)))
        server.until_version(1)
        assert server.ask(1.0)[1]["predictions"][0]["prediction"] == 2.0
        assert server.call("GET", "/v2/models/fare/ready")[0] == 200
        assert server.call("GET", "/ready")[0] == 503  # the other endpoint has no champion yet
    (generation,) = home.serving.generations("fare")
    assert generation.state == "retired"
    assert generation.models == {"models:/fare@champion": 1}


def test_a_version_changes_under_load_and_no_request_is_lost(ready_home: Home) -> None:
    home = ready_home
    with serving(home, workers=2) as server:
        server.until_ready()
        with Load(server, FACTORS) as load:
            load.until_answers(100)
            switched = []
            for factor in (3.0, 5.0):
                version = home.register(Times(factor))
                home.promote(version)
                server.until_version(version)
                switched.append((version, time.monotonic()))
                load.until_answers(100)
    assert load.failures == []
    assert load.broken == 0
    assert {version for _, _, version in load.answers} == {1, 2, 3}
    for version, moment in switched:  # nothing that began after all workers had switched is answered by an older one
        assert all(answered >= version for started, _, answered in load.answers if started > moment)
    states = {g.number: (g.state, g.models["models:/fare@champion"]) for g in home.serving.generations("fare")}
    assert states == {1: ("retired", 1), 2: ("retired", 2), 3: ("retired", 3)}
    by_generation = {(c["generation"], row["model_version"]) for c in home.captured() for row in c["rows"]}
    assert by_generation == {(1, 1), (2, 2), (3, 3)}


def test_everything_answered_under_load_is_captured(ready_home: Home) -> None:
    with serving(ready_home, workers=2) as server:
        server.until_ready()
        with Load(server, FACTORS) as load:
            load.until_answers(200)
    assert load.failures == []
    assert len({c["request_id"] for c in ready_home.captured()}) == len(load.answers)


def test_a_version_that_cannot_be_loaded_leaves_the_one_before(ready_home: Home) -> None:
    home = ready_home
    with serving(home, workers=2) as server:
        server.until_ready()
        home.promote(home.register(Times(3.0, fails_to_load=True)))
        wait_until(lambda: home.serving.generations("fare")[0].state == "failed")
        assert server.ask(1.0)[1]["model_version"] == 1
        failed, serving_ = home.serving.generations("fare")
        assert "this model cannot be loaded here" in failed.detail
        assert serving_.state == "serving"
        assert sorted(serving_.workers.values()) == sorted(server.workers())
        time.sleep(0.6)  # it is not tried again and again
        assert home.serving.generations("fare")[0].number == failed.number
        home.promote(home.register(Times(5.0)))
        server.until_version(3)
    status = home.serving.status("fare")
    assert status.last is not None
    assert status.last.models == {"models:/fare@champion": 3}


def test_a_model_trained_on_another_service_is_refused(ready_home: Home) -> None:
    home = ready_home
    with serving(home) as server:
        server.until_ready()
        home.promote(home.register(Times(3.0), "enriched", features=["x"]), "enriched")
        wait_until(lambda: home.serving.generations("enriched")[0].state == "failed")
        assert "needs x, which graph 'enriched' does not give it" in home.serving.generations("enriched")[0].detail
        assert server.call("GET", "/ready")[0] == 200


def test_a_shadow_is_asked_and_only_captured(ready_home: Home) -> None:
    home = ready_home
    home.promote(home.register(Times(3.0)), alias="challenger")
    with serving(home) as server:
        server.until_ready()
        assert server.ask(1.0, X_Request_ID="s1")[1]["predictions"] == [{"prediction": 2.0, "row_id": "0"}]

        def shadows() -> list[Any]:
            return [c for c in home.captured() if c["endpoint"] == "fare__shadow"]

        wait_until(lambda: bool(shadows()))
        (kept,) = shadows()
        assert kept["request_id"] == "s1"
        assert kept["rows"][0]["row_id"] == "0"
        assert kept["rows"][0]["shadow_prediction"] == 3.0
        assert kept["rows"][0]["shadow_version"] == 2
        home.registry.set_alias("fare", "challenger", 1, reason="the champion is its own challenger: no shadow")
        wait_until(lambda: len(home.serving.generations("fare")) == 2)
        wait_until(lambda: home.serving.generations("fare")[0].state == "serving")
        server.ask(1.0)
        assert len(shadows()) == 1


def test_a_killed_worker_breaks_only_its_own_connections_and_is_replaced(ready_home: Home) -> None:
    with serving(ready_home, workers=2) as server:
        server.until_ready()
        before = server.workers()
        assert len(before) == 2
        with Load(server, FACTORS, retry=True) as load:
            load.until_answers(100)
            os.kill(min(before), signal.SIGKILL)
            load.until_answers(200)
        server.until(lambda: len(server.workers()) == 2)
        assert load.failures == []
        assert load.broken <= 4
        after = server.workers()
        assert max(before) in after
        assert min(before) not in after
        assert all(server.ask(1.0)[1]["generation"] == 1 for _ in range(10))
    assert {c["request_id"] for c in ready_home.captured() if c["endpoint"] == "fare"}


def test_a_killed_worker_s_successor_runs_the_version_of_its_time(ready_home: Home) -> None:
    home = ready_home
    with serving(home, workers=1) as server:
        server.until_ready()
        home.promote(home.register(Times(3.0)))
        server.until_version(2)
        (pid,) = server.workers()
        os.kill(pid, signal.SIGKILL)
        # The socket stays open: who connects meanwhile waits for the successor.
        assert server.ask(1.0)[1]["model_version"] == 2
        assert server.workers() != {pid}


def test_a_killed_reconciler_is_replaced(ready_home: Home) -> None:
    home = ready_home
    with serving(home, workers=1) as server:
        server.until_ready()
        workers = server.workers()
        (reconciler,) = children(server.process.pid) - workers
        os.kill(reconciler, signal.SIGKILL)
        home.promote(home.register(Times(3.0)))
        server.until_version(2)
        assert server.workers() == workers
    assert [g.state for g in home.serving.generations("fare")] == ["retired", "retired"]


def children(pid: int) -> set[int]:
    import subprocess

    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return {int(line) for line in found.stdout.split()}


def test_a_killed_server_leaves_the_port_to_its_successor(ready_home: Home) -> None:
    home = ready_home
    with serving(home, workers=2) as first:
        first.until_ready()
        orphans = children(first.process.pid)
        assert len(orphans) == 3
        os.kill(min(orphans - first.workers()), signal.SIGKILL)  # the reconciler, so that it cannot say goodbye
        first.process.kill()
        first.process.wait()
        with serving(home, workers=1, port=first.port) as second:
            second.until_ready()
            assert second.ask(1.0)[1]["generation"] == 2
            states = {g.number: (g.state, g.detail) for g in home.serving.generations("fare")}
            assert states[1] == ("retired", "its server ended")
            assert states[2][0] == "serving"
            assert [lease.holder for lease in leases(home)] == [f"{socket.gethostname()}:{second.process.pid}"]
        wait_until(lambda: not any(alive(pid) for pid in orphans))


def test_a_killed_server_is_not_shown_as_serving(ready_home: Home) -> None:
    home = ready_home
    with serving(home, workers=1) as server:
        server.until_ready()
        (lease,) = leases(home)
        wait_until(lambda: leases(home)[0].beat_at > lease.beat_at)
        assert len(home.serving.status("fare").serving) == 1
        (reconciler,) = children(server.process.pid) - server.workers()
        os.kill(server.process.pid, signal.SIGSTOP)  # so that it starts no other one meanwhile
        os.kill(reconciler, signal.SIGKILL)  # so that it cannot say goodbye
        server.process.kill()
        server.process.wait()
        wait_until(lambda: home.serving.status("fare").serving == ())
    (gone,) = home.serving.generations("fare")
    assert (gone.state, gone.detail) == ("gone", "its server ended without a word")
    assert home.serving.status("fare").last == gone
    with home.metadata.read() as reader:
        beats = leases(home)[0].beat_at
        assert SystemClock().now() - beats >= LEASE_MICROS, "not before its lease had ended"
        assert [one.state for one in reader.find(Generation, {"endpoint": "fare"})] == ["serving"]


def leases(home: Home) -> list[Lease]:
    with home.metadata.read() as reader:
        return reader.find(Lease, {"name": ("like", "server/%")})


def test_a_server_that_stops_leaves_no_lease(ready_home: Home) -> None:
    with serving(ready_home, workers=1) as server:
        server.until_ready()
        assert [lease.holder for lease in leases(ready_home)] == [f"{socket.gethostname()}:{server.process.pid}"]
    assert leases(ready_home) == []
    assert [g.state for g in ready_home.serving.generations("fare")] == ["retired"]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return open(f"/proc/{pid}/stat").read().split()[2] != "Z" if os.path.exists(f"/proc/{pid}/stat") else True


def test_hup_replaces_all_workers_and_no_request_is_lost(ready_home: Home) -> None:
    with serving(ready_home, workers=2) as server:
        server.until_ready()
        before = server.workers()
        with Load(server, FACTORS) as load:
            load.until_answers(100)
            server.process.send_signal(signal.SIGHUP)
            server.until(lambda: not server.workers() & before)
            load.until_answers(100)
        server.until(lambda: len(server.workers()) == 2)
    assert load.failures == []
    assert load.broken == 0
    assert [g.state for g in ready_home.serving.generations("fare")] == ["retired", "retired"]


def test_another_graph_is_followed(ready_home: Home) -> None:
    # The graph of the project's file is what a fresh worker runs; here the record was another one and is put right.
    home = ready_home
    with serving(home) as server:
        server.until_ready()
        before = server.workers()
        home.serving.deploy(GRAPHS["fare"].post(lambda rows: rows))
        home.promote(1, alias="any-event")
        server.until(lambda: not server.workers() & before)
        assert server.ask(1.0)[0] == 200


def test_a_stop_finishes_what_was_asked(home: Home) -> None:
    home.promote(home.register(Times(2.0, seconds=1.0)))
    with serving(home) as server:
        server.until_version(1)
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(server.ask(1.0)))
        thread.start()
        wait_until(lambda: b'in_progress{project="rides",endpoint="fare"} 1.0' in server.call("GET", "/metrics")[1])
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0
        thread.join()
    assert answers[0][0] == 200
    assert answers[0][2]["connection"] == "close"


def test_ctrl_c_stops_cleanly(ready_home: Home) -> None:
    with serving(ready_home) as server:
        server.until_ready()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(PATIENCE) == 0
    assert "Traceback" not in (ready_home.folder / "server.log").read_text()


def test_too_many_requests_are_429_and_health_still_answers(home: Home) -> None:
    home.promote(home.register(Times(2.0, seconds=0.5)))
    with serving(home, queue=2) as server:
        server.until_version(1)
        answers: list[tuple[int, Any, dict[str, str]]] = []
        threads = [threading.Thread(target=lambda: answers.append(server.ask(1.0))) for _ in range(6)]
        for thread in threads:
            thread.start()
        assert server.call("GET", "/health")[0] == 200
        for thread in threads:
            thread.join()
        assert sorted(status for status, _, _ in answers) == [200, 200, 429, 429, 429, 429]
        refused = next(answer for answer in answers if answer[0] == 429)
        assert refused[2]["retry-after"] == "1"
        assert refused[1]["error"]["code"] == "overloaded"
        assert server.ask(1.0)[0] == 200


def test_a_missed_deadline_is_504_and_what_waited_is_not_run(home: Home) -> None:
    home.promote(home.register(Times(2.0, seconds=1.0)))
    with serving(home, deadline="300ms") as server:
        server.until_version(1)
        answers: list[tuple[int, Any, dict[str, str]]] = []
        threads = [threading.Thread(target=lambda: answers.append(server.ask(1.0))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [status for status, _, _ in answers] == [504, 504, 504]
        assert "no answer within 300ms" in answers[0][1]["error"]["message"]
        wait_until(lambda: b'in_progress{project="rides",endpoint="fare"} 0.0' in server.call("GET", "/metrics")[1])
    assert len(home.captured()) == 1  # the one that had begun


def test_a_port_in_use_is_told_before_anything_starts(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(home, port=port)
        assert process.wait(PATIENCE) == 4
        assert process.stdout is not None
        process.stdout.close()
    said = (home.folder / "server.log").read_text()
    assert f"Error: port {port} of 127.0.0.1 is in use. Stop what listens there, or choose another with --port." in said


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [({"host": "0.0.0.0"}, 8, "there are no accounts yet"), ({"host": "here"}, 2, "'here' is no address")],
)
def test_only_loopback(home: Home, settings: dict[str, str], code: int, said: str) -> None:
    process = start(home, **settings)
    assert process.wait(PATIENCE) == code
    assert process.stdout is not None
    process.stdout.close()
    assert said in (home.folder / "server.log").read_text()


def test_a_worker_that_cannot_be_built_stops_the_server(home: Home) -> None:
    (home.folder / "captures").write_text("a file where a folder should be")
    process = start(home)
    assert process.wait(PATIENCE) == 6
    assert process.stdout is not None
    process.stdout.close()
    assert "Error: captures cannot be kept" in (home.folder / "server.log").read_text()


def test_connections_are_shared_out(ready_home: Home) -> None:
    with serving(ready_home, workers=2) as server:
        server.until_ready()
        for _ in range(5):
            connections = [server.connect() for _ in range(4)]
            workers = [worker_of(connection) for connection in connections]
            assert len(set(workers)) == 2
            for connection in connections:
                connection.close()
            wait_until(lambda: b"tidemill_connections 1" in server.call("GET", "/metrics")[1])


def worker_of(connection: Any) -> int:
    import msgspec

    connection.request("GET", "/health")
    return int(msgspec.json.decode(connection.getresponse().read())["worker"])

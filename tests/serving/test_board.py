from __future__ import annotations

import os

from prometheus_client.parser import text_string_to_metric_families

from tidemill.serving.board import REGION_SIZE, Board
from tidemill.serving.metrics import BUCKETS, EndpointMetrics, exposition


def test_counters_of_all_processes_are_summed() -> None:
    board = Board(3)
    board.regions[0].add("a", 2)
    child = os.fork()
    if not child:
        board.regions[1].add("a", 3)
        board.regions[1].add("b")
        os._exit(0)
    os.waitpid(child, 0)
    assert board.totals() == {"a": 5.0, "b": 1.0}


def test_a_successor_counts_on() -> None:
    board = Board(1)
    board.regions[0].add("a", 2)
    board.regions[0].connections = 5
    board.regions[0].accepting = True
    board.regions[0].add("tidemill_requests_in_progress{}", 4)
    region = type(board.regions[0])(board._memory, 0)
    region.open()
    region.add("a")
    assert board.totals() == {"a": 3.0, "tidemill_requests_in_progress{}": 0.0}
    assert region.connections == 0
    assert not region.accepting


def test_a_full_board_counts_on_what_it_knows() -> None:
    region = Board(1).regions[0]
    for number in range(REGION_SIZE // 100):
        region.add(f"{number:0200}")
    region.add("0" * 200)
    assert region.samples()["0" * 200] == 2.0
    region.add("another" * 40)
    assert "another" * 40 not in region.samples()


def test_the_fewest_connections_of_the_others() -> None:
    board = Board(4)
    for region, connections, accepting in zip(board.regions, [1, 2, 0, 5], [True, True, False, True], strict=True):
        region.connections, region.accepting = connections, accepting
    assert board.fewest_connections(board.regions[0]) == 2
    assert board.fewest_connections(board.regions[1]) == 1
    assert Board(1).fewest_connections(Board(1).regions[0]) > 1_000_000


def test_prometheus_reads_it() -> None:
    board = Board(2)
    for region in board.regions:
        metrics = EndpointMetrics(region, "rides", "fare")
        metrics.started()
        metrics.finished()
        metrics.predicted(3, 20)
        metrics.answered("rows", 200, 0.004)
        metrics.answered("oip", 429, 99.0)
        metrics.shadowed(2, 20)
        metrics.shadow_dropped(1)
    families = {f.name: f for f in text_string_to_metric_families(exposition(board, {"fare": 7}, "rides"))}
    of = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    rides = ("endpoint", "fare"), ("project", "rides")
    assert of["tidemill_predictions_total", *rides, ("version", "3")] == 40
    assert of["tidemill_requests_total", *rides, ("protocol", "oip"), ("status", "429")] == 2
    assert of["tidemill_generation", *rides] == 7
    assert of["tidemill_requests_in_progress", *rides] == 0
    assert families["tidemill_prediction_duration_seconds"].type == "histogram"
    name = "tidemill_prediction_duration_seconds"
    buckets = [of[f"{name}_bucket", rides[0], ("le", str(edge)), rides[1]] for edge in BUCKETS]
    assert buckets == [0, 0] + [2] * (len(BUCKETS) - 2)
    assert of[f"{name}_bucket", rides[0], ("le", "+Inf"), rides[1]] == of[f"{name}_count", *rides] == 4

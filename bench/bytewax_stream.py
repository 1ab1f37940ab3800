"""Run by the Python of Bytewax' environment: `bytewax_stream.py EVENTS`, prints JSON.

Its own moving windows tell of closed windows only, so that each event is answered by the panes of plain Python.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, run_main

from panes import PANE, Panes


def main(path: str) -> None:
    events = [(str(key), (at, value)) for key, at, value in json.loads(Path(path).read_text())]
    answers: list[tuple[str, list[float]]] = []
    flow = Dataflow("events")
    taken = op.input("in", flow, TestingSource(events, batch_size=1_000))
    op.output("out", op.stateful_map("windows", taken, step), TestingSink(answers))
    began = time.perf_counter()
    run_main(flow)
    seconds = time.perf_counter() - began
    answered = sum(len(features) == 8 for _, features in answers)
    print(json.dumps({"seconds": seconds, "answered": answered, "version": version("bytewax")}))


def step(state: Panes | None, event: tuple[int, float]) -> tuple[Panes, list[float]]:
    panes, (at, value) = state or Panes(), event
    return panes, panes.add(at // PANE, value)


if __name__ == "__main__":
    main(sys.argv[1])

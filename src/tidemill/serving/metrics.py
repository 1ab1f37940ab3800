"""What a server tells Prometheus."""

from __future__ import annotations

from tidemill.serving.board import Board, Region

BUCKETS = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

FAMILIES = {
    "tidemill_predictions_total": ("counter", "Rows answered, by model version."),
    "tidemill_requests_total": ("counter", "Requests for predictions, by protocol and HTTP status."),
    "tidemill_requests_in_progress": ("gauge", "Requests for predictions being worked on."),
    "tidemill_prediction_duration_seconds": ("histogram", "Time from a request's last byte to its answer."),
    "tidemill_shadow_predictions_total": ("counter", "Rows a shadow model was asked, by its version."),
    "tidemill_shadow_dropped_total": (
        "counter",
        "Rows a shadow model was not asked, because it lagged behind or failed.",
    ),
    "tidemill_generation": ("gauge", "Number of the generation an endpoint runs."),
    "tidemill_connections": ("gauge", "Open connections."),
    "tidemill_workers": ("gauge", "Worker processes that accept connections."),
}


class EndpointMetrics:
    """One endpoint's samples in one worker.

    Args:
        region: The worker's part of the board.
        project: The project.
        endpoint: The endpoint.
    """

    def __init__(self, region: Region, project: str, endpoint: str) -> None:
        self._region = region
        self._labels = f'project="{project}",endpoint="{endpoint}"'
        name = "tidemill_prediction_duration_seconds"
        self._buckets = [(edge, f'{name}_bucket{{{self._labels},le="{edge}"}}') for edge in BUCKETS]
        self._infinite = f'{name}_bucket{{{self._labels},le="+Inf"}}'
        self._sum, self._count = f"{name}_sum{{{self._labels}}}", f"{name}_count{{{self._labels}}}"
        self._progress = f"tidemill_requests_in_progress{{{self._labels}}}"
        for key in (*(key for _, key in self._buckets), self._infinite, self._sum, self._count, self._progress):
            region.add(key, 0.0)  # in the order in which they are shown

    def started(self) -> None:
        """A request was admitted."""
        self._region.add(self._progress, 1)

    def finished(self) -> None:
        """An admitted request left."""
        self._region.add(self._progress, -1)

    def answered(self, protocol: str, status: int, seconds: float) -> None:
        """A request was answered, well or not."""
        add = self._region.add
        add(f'tidemill_requests_total{{{self._labels},protocol="{protocol}",status="{status}"}}')
        add(self._sum, seconds)
        add(self._count)
        add(self._infinite)
        for edge, key in self._buckets:
            if seconds <= edge:
                add(key)

    def predicted(self, version: int, rows: int) -> None:
        """Rows were answered."""
        self._region.add(f'tidemill_predictions_total{{{self._labels},version="{version}"}}', rows)

    def shadowed(self, version: int, rows: int) -> None:
        """Rows were shown to the shadow model."""
        self._region.add(f'tidemill_shadow_predictions_total{{{self._labels},version="{version}"}}', rows)

    def shadow_dropped(self, rows: int) -> None:
        """Rows were not shown to the shadow model."""
        self._region.add(f"tidemill_shadow_dropped_total{{{self._labels}}}", rows)


def exposition(board: Board, generations: dict[str, int], project: str) -> str:
    """All metrics of a server in Prometheus' text format, from whichever worker is asked.

    Args:
        board: The shared numbers.
        generations: Endpoint -> number of its generation.
        project: The project.
    """
    totals = board.totals()
    for endpoint, number in generations.items():
        totals[f'tidemill_generation{{project="{project}",endpoint="{endpoint}"}}'] = number
    live = [region for region in board.regions if region.accepting]
    totals["tidemill_connections"] = sum(region.connections for region in live)
    totals["tidemill_workers"] = len(live)
    lines: list[str] = []
    for family, (kind, text) in FAMILIES.items():
        samples = [(key, value) for key, value in totals.items() if _family(key) == family]
        if samples:
            lines += [f"# HELP {family} {text}", f"# TYPE {family} {kind}"]
            lines += [f"{key} {value!r}" for key, value in samples]
    return "\n".join(lines) + "\n"


def _family(key: str) -> str:
    name = key.partition("{")[0]
    for suffix in ("_bucket", "_sum", "_count"):
        if (base := name.removesuffix(suffix)) in FAMILIES:
            return base
    return name

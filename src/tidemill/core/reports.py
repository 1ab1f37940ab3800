"""What monitoring tells alerting about a window."""

from __future__ import annotations

from typing import Literal

import msgspec

AlarmKind = Literal["drift", "performance"]


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence past the threshold together with an effect that is worth acting on.

    Attributes:
        kind: `drift` of inputs or predictions, or `performance` against the labels.
        window: Start of the window that raised it, microseconds.
        summary: One sentence for people.
        features: The responsible features, strongest first.
        evidence: log10 of the evidence against "nothing changed".
        threshold: log10 of where it alarms.
        effect: Its size: Jensen-Shannon distance, or gap between promised and actual rate, or rise of the loss.
        since: Start of the first window that is part of the evidence.
        model_version: The version that answered.
        labelled: Rows with a label since the evidence began.
        harm: How far the model is off by the labels since then, as a share of what is tolerated; None without labels.
    """

    kind: AlarmKind
    window: int
    summary: str
    features: tuple[str, ...] = ()
    evidence: float = 0.0
    threshold: float = 0.0
    effect: float = 0.0
    since: int = 0
    model_version: int | None = None
    labelled: int = 0
    harm: float | None = None


class WindowReport(msgspec.Struct, frozen=True, kw_only=True):
    """A window that was closed, or measured again because labels came.

    Attributes:
        monitor: Name of the monitor.
        endpoint: The endpoint it watches.
        start: Start, microseconds; `end` is exclusive.
        revision: 1 when it was closed, one more each time it is measured again.
        status: `ok`, or `insufficient_data` when it has too few rows to say anything.
        rows: Rows predicted in it.
        labelled: Those whose label is known.
        models: Rows by model version that answered them.
        version: The version that answered last.
        metrics: Scores on the labelled rows.
        trained_on: Rows the version that answered was trained on; None when that is not known.
        alarms: What it gave alarm about.
    """

    monitor: str
    endpoint: str
    start: int
    end: int
    revision: int
    status: Literal["ok", "insufficient_data"]
    rows: int
    labelled: int
    models: dict[str, int] = msgspec.field(default_factory=dict)
    version: int | None = None
    metrics: dict[str, float | None] = msgspec.field(default_factory=dict)
    trained_on: int | None = None
    alarms: tuple[Alarm, ...] = ()

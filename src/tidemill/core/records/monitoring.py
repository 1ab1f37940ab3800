"""Windows of a monitor and the series measured in them."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from tidemill.core.records.record import Json, Record


class MonitorWindow(Record, frozen=True, kw_only=True):
    """One window of one monitor. A late label re-opens it: it is measured again with a higher revision."""

    TABLE: ClassVar[str] = "monitor_windows"
    KEY: ClassVar[tuple[str, ...]] = ("project", "monitor", "start_at")

    monitor: str
    start_at: int
    end_at: int
    revision: int
    rows: int
    labelled: int
    models: Json = msgspec.field(default_factory=dict)
    """Model version -> rows it answered."""
    profile: str | None = None
    """Digest of the window's profile."""
    detail: Json = msgspec.field(default_factory=dict)


class Measurement(Record, frozen=True, kw_only=True):
    """One number of one series in one window; always recomputable from the window's profile and labels."""

    TABLE: ClassVar[str] = "measurements"
    KEY: ClassVar[tuple[str, ...]] = ("project", "monitor", "start_at", "series", "feature")

    monitor: str
    start_at: int
    series: str
    """`psi`, `js`, `missing`, `unseen`, `out_of_range`, `evidence`, `roc_auc`, `log_loss`, ..."""
    feature: str = ""
    """The feature, `prediction`, or empty for the whole window."""
    value: float | None
    rows: int = 0
    alarm: bool = False


class MonitorState(Record, frozen=True, kw_only=True):
    """The evidence a monitor has gathered so far."""

    TABLE: ClassVar[str] = "monitor_states"
    KEY: ClassVar[tuple[str, ...]] = ("project", "monitor", "reference")

    monitor: str
    reference: str
    """Digest of the reference profile the evidence is against."""
    through: int
    """End of the newest window that is part of it."""
    state: Json

"""What became of served feature vectors that were computed again."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

from tidemill.core.records.record import Record


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A value that was served and is not the converged one."""

    kind: Literal["late data", "defect"]
    endpoint: str
    keys: dict[str, Any]
    time: int
    """The moment the features were for, microseconds."""
    received_at: int
    online: Any
    converged: Any
    known_at: Any


class FeatureCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one feature."""

    feature: str
    rows: int
    equal: int
    late: int
    defects: int
    examples: tuple[Difference, ...] = ()


class ServiceVerification(Record, frozen=True, kw_only=True):
    """One verification of a feature service, by the daemon. Times in microseconds."""

    TABLE: ClassVar[str] = "verifications"
    INDEXES: ClassVar[tuple[tuple[str, ...], ...]] = (("project", "service", "until_at"),)

    id: str
    service: str
    since_at: int
    until_at: int
    """Vectors of requests received in [since, until) were looked at."""
    sample: float
    """Which share of the keys was."""
    rows: int
    """Vectors that were verified."""
    skipped: int
    """Vectors that other definitions made, and that cannot be computed again."""
    late: int
    """Values served before late rows had arrived."""
    defects: int
    """Values that were neither the converged ones nor those known at the time."""
    features: tuple[FeatureCheck, ...]

"""The training service: the operations of the develop-and-train stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tidemill.core.errors import InvalidArgument
from tidemill.core.protocols import ModelRegistry
from tidemill.core.scope import Scope
from tidemill.core.specs.training import Gate, Space
from tidemill.core.steps import Step
from tidemill.core.times import Duration
from tidemill.data.splits import split_rows
from tidemill.stores.metadata.protocol import MetadataStore
from tidemill.tracking.dataset import Dataset
from tidemill.tracking.service import Tracking
from tidemill.training.candidate import Candidate
from tidemill.training.promotion import Promoter, Promotion
from tidemill.training.search import search

Progress = Callable[[int, int], None]


class Training:
    """Splits, searches and promotes.

    Args:
        scope: Project, principal and clock.
        metadata: Where decisions are kept.
        tracking: Where runs and datasets are kept.
        registry: Where models are kept.
        progress: Called during a search with the trials done and their number.
    """

    def __init__(
        self, scope: Scope, *, metadata: MetadataStore, tracking: Tracking, registry: ModelRegistry,
        progress: Progress = lambda done, of: None,
    ) -> None:  # fmt: skip
        self._tracking = tracking
        self._promoter = Promoter(scope, metadata, tracking, registry)
        self._progress = progress

    def split(
        self, *, rows: Dataset, by: str, test: Duration | float, seed: int, group: str | None, column: str | None = None
    ) -> tuple[Dataset, Dataset]:
        """See `tidemill.core.specs.training.split`."""
        m = rows.manifest
        parts = split_rows(
            rows.frame, by=by, test=test, seed=seed, group=group, column=column, time=m.time, ids=m.id,
            label=None if m.label is None else m.label.name,
        )  # fmt: skip
        return self._tracking.datasets.divide(rows, parts.fit, parts.test, parts.description)

    def search(
        self, *, step: Step[..., Any], rows: Dataset, space: Space, trials: int, metric: str, maximize: bool,
        valid: float | Duration, seed: int, timeout: Duration | None, halving: bool | None, parent: str | None = None,
    ) -> Candidate:  # fmt: skip
        """See `tidemill.core.specs.training.search`."""
        if not isinstance(step, Step):
            raise InvalidArgument(f"{step!r} is not a step", expected="a function decorated with @tm.step")
        return search(
            self._tracking, step=step, rows=rows, space=space, trials=trials, metric_name=metric, maximize=maximize,
            valid=valid, seed=seed, timeout=timeout, halving=halving, parent=parent, progress=self._progress,
        )  # fmt: skip

    def promote(
        self, *, candidate: Candidate, model: str, test: Dataset, gate: Gate, refit: Dataset | None,
        parent: str | None = None,
    ) -> Promotion:  # fmt: skip
        """See `tidemill.core.specs.training.promote`."""
        if not isinstance(candidate, Candidate):
            raise InvalidArgument(f"{candidate!r} is not a candidate", expected="what tm.search gave")
        return self._promoter.promote(candidate, model, test=test, gate=gate, refit=refit, parent=parent)

    def operations(self) -> Mapping[str, Callable[..., Any]]:
        """The operations of this stage by name."""
        return {"split": self.split, "search": self.search, "promote": self.promote}

"""Serving graphs: what happens to a request, in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from tidemill.core.code import code_digest
from tidemill.core.errors import InvalidArgument
from tidemill.core.ids import check_name
from tidemill.core.specs.definition import Definition
from tidemill.core.specs.features import FeatureService
from tidemill.core.uris import ModelUri, parse_model_uri


@dataclass(frozen=True)
class Enrich:
    """Adds the features of a service to the rows, by key, as of the rows' prediction time."""

    service: FeatureService

    def describe(self) -> list[Any]:
        return ["enrich", self.service.name, self.service.digest()]


@dataclass(frozen=True)
class Apply:
    """Runs a function on the rows: before the model a transform, after it on the predictions."""

    function: Callable[[Any], Any]
    role: str

    def describe(self) -> list[Any]:
        return [self.role, getattr(self.function, "__name__", "function"), code_digest(self.function)]


@dataclass(frozen=True)
class Predict:
    """Asks a model; a shadow is asked as well, and only captured."""

    model: ModelUri
    shadow: ModelUri | None

    def describe(self) -> list[Any]:
        return ["model", str(self.model), None if self.shadow is None else str(self.shadow)]


GraphStep = Enrich | Apply | Predict


@dataclass(frozen=True, eq=False)
class Graph(Definition):
    """A serving graph. Every method returns a new graph with one step more.

    Args:
        label: The endpoint's name.

    Example:
        >>> Graph("late-flight").model("models:/late-flight@champion").name
        'late-flight'
    """

    kind: ClassVar[str] = "graph"

    label: str
    steps: tuple[GraphStep, ...] = ()

    def __post_init__(self) -> None:
        self.bind(check_name(self.label, "graph name"))

    def bind(self, name: str) -> None:
        # A graph is known by its endpoint's name; the variable it sits in says nothing.
        if self._name is None:
            super().bind(self.label)

    def enrich(self, service: FeatureService) -> Graph:
        """Add online features by key."""
        if not isinstance(service, FeatureService):
            raise InvalidArgument(f"{service!r} is not a feature service", expected="tm.FeatureService([...])")
        return self._with(Enrich(service))

    def transform(self, function: Callable[[Any], Any]) -> Graph:
        """Change the rows before the model; the function takes and returns a Polars frame with the same rows."""
        if self.predict_step is not None:
            raise InvalidArgument("transform after model", hint="Use .post(...) for what follows the model")
        return self._with(Apply(function, "transform"))

    def model(self, uri: str, *, shadow: str | None = None) -> Graph:
        """Ask a registered model: `models:/NAME@ALIAS` or `models:/NAME/VERSION`."""
        if self.predict_step is not None:
            raise InvalidArgument(f"graph {self.label!r} has a model already", expected="one .model(...)")
        return self._with(Predict(parse_model_uri(uri), None if shadow is None else parse_model_uri(shadow)))

    def post(self, function: Callable[[Any], Any]) -> Graph:
        """Change the predictions; the function takes and returns a Polars frame with the same rows."""
        if self.predict_step is None:
            raise InvalidArgument("post before model", hint="Use .transform(...) for what precedes the model")
        return self._with(Apply(function, "post"))

    def _with(self, step: GraphStep) -> Graph:
        return Graph(self.label, (*self.steps, step))

    @property
    def predict_step(self) -> Predict | None:
        """The model step, if there is one yet."""
        return next((step for step in self.steps if isinstance(step, Predict)), None)

    @property
    def service(self) -> FeatureService | None:
        """The feature service of the first enrichment."""
        return next((step.service for step in self.steps if isinstance(step, Enrich)), None)

    def describe(self) -> dict[str, Any]:
        return {"steps": [step.describe() for step in self.steps]}

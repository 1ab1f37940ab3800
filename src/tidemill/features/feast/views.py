"""Feast's feature views and on-demand views as `tm.FeatureView` and `tm.on_demand`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tidemill.core.times import format_duration
from tidemill.features.feast.expressions import Untranslatable, translated
from tidemill.features.feast.layout import (
    Group,
    Names,
    Node,
    assign,
    call,
    comment,
    listing,
    prose,
    quoted,
    render,
    snake,
    texts,
)
from tidemill.features.feast.outcome import Progress
from tidemill.features.feast.repository import Aggregation, Described, Field, OnDemandView, Repository, Use, View

VIEW, ON_DEMAND = "feature view", "on-demand feature view"
_FUNCTIONS = {
    "sum": "sum", "max": "max", "min": "min", "count": "count", "mean": "mean", "avg": "mean",
    "count_distinct": "unique_count", "std": "stddev", "stddev": "stddev", "var": "variance", "variance": "variance",
}  # fmt: skip

_COMPARISON = re.compile(r" ([<>]=?|[=!]=) ")


@dataclass(frozen=True)
class Part:
    """What a service can be made of.

    Args:
        variable: What it is called in the file.
        name: What its features are prefixed with.
        keys: Its keys; none of on-demand features.
        source: The source of its rows.
        features: Its features where they are known.
        is_state: Whether a row of its source makes a row of these.
        request: The columns of the request it reads.
        stored: The stored features it reads: Feast's view and the feature.
    """

    variable: str
    name: str
    keys: tuple[str, ...] = ()
    source: str | None = None
    features: tuple[str, ...] = ()
    is_state: bool = True
    request: tuple[Field, ...] = field(default_factory=tuple)
    stored: tuple[tuple[str, str], ...] = ()


class Views:
    """Converts the views of a repository.

    Args:
        repository: The repository.
        sources: Feast's source -> its variable.
        names: The variables of the file.
        progress: Is told what becomes of them.
    """

    def __init__(
        self, repository: Repository, sources: Mapping[str, str], *, names: Names, progress: Progress
    ) -> None:  # fmt: skip
        self._repository = repository
        self._sources = sources
        self._names = names
        self._progress = progress
        self.parts: dict[str, Part] = {}

    # -- feature views -----------------------------------------------------------------------------

    def convert(self) -> list[str]:
        """The text of each view; `parts` knows afterwards what they are called."""
        blocks = [self._view(one) for one in self._repository.views]
        return [*blocks, *(self._on_demand(one) for one in self._repository.on_demand)]

    def _view(self, view: View) -> str:
        reason, next_step = self._obstacle(view)
        if reason:
            self._progress.failed(VIEW, view.name, reason, next_step)
            return _left_out(view.name, reason, next_step, "" if view.code is None else view.code.text)
        name, variable = snake(view.name), self._names.variable(view.name, "view")
        features = () if view.aggregations else tuple(one.name for one in view.features)
        known = _named_aggregates(view) if view.aggregations else features
        self.parts[view.name] = Part(variable, name, tuple(view.keys), view.source, known, not view.aggregations)
        self._told(VIEW, view.name, "tm.FeatureView", name)
        aggregates = self._aggregates(view)
        options = self._options(view, name, variable, tuple(view.keys), self._sources[view.source or ""],
                                ttl=0 if view.aggregations else view.ttl, aggregates=aggregates)  # fmt: skip
        if not features:
            return assign(variable, call("tm.FeatureView", **options))
        return _decorated(call("tm.feature_view", **options), variable, [("", quoted(one)) for one in features])

    def _obstacle(self, view: View) -> tuple[str, str]:
        """Why a view cannot be converted, and what to do instead."""
        if view.views:
            return (f"it is derived from {', '.join(view.views)}",
                    "Write its transform over their source, or materialize it into a source of its own")  # fmt: skip
        if view.code is not None:
            next_step = (
                "Write it in Polars, row by row, as the view's transform; to combine rows there is aggregates=[...]"
            )
            return f"its rows are transformed by a function for {view.code.mode}", next_step
        if view.source is None or view.source not in self._sources:
            return "it has no source that could be converted", "Define a tm.Source, and a tm.FeatureView over it"
        if not view.keys:
            return ("it has no entity, and a feature view has a key",
                    'Add a column that is the same in every row with clean= of the source, and make it the key')  # fmt: skip
        return "", ""

    def _options(self, one: Described, name: str, variable: str, keys: Sequence[str], source: str, *, ttl: int,
                 aggregates: Node | None = None) -> dict[str, Node | None]:  # fmt: skip
        return {
            "source": source, "keys": texts(keys), "ttl": quoted(format_duration(ttl)) if ttl else None,
            "aggregates": aggregates, "name": None if name == variable else quoted(name), **people(one),
        }  # fmt: skip

    def _told(self, kind: str, feast: str, what: str, name: str) -> None:
        self._progress.done(kind, feast, f"{what} {name}")
        if feast != name:
            self._progress.note(f"{kind.capitalize()} {feast} is called {name} here, and its features after it.")

    # -- aggregates --------------------------------------------------------------------------------

    def _aggregates(self, view: View) -> Node | None:
        made = [node for one in view.aggregations if (node := self._aggregate(view, one)) is not None]
        return listing(made) if made else None

    def _aggregate(self, view: View, one: Aggregation) -> Node | None:
        function = _FUNCTIONS.get(one.function)
        if function is None:
            self._progress.failed(VIEW, view.name, f"there is no aggregate {one.function!r} (of {one.column})",
                                  "Choose one of those under docs/how-to/windows.md")  # fmt: skip
            return None
        name = _aggregate_name(view, one)
        windowed: dict[str, Node | None] = {} if one.window is None else _window(one.window, one.slide)
        if one.window is not None:
            self._progress.note("Aggregates have the windows Feast names, cut at fixed moments; without mode= and hop= a "
                                "window ends exactly at the moment that is asked for.")  # fmt: skip
        return call(f"tm.{function}", quoted(one.column), **windowed, name=None if name is None else quoted(name))

    # -- on-demand views ---------------------------------------------------------------------------

    def _on_demand(self, view: OnDemandView) -> str:
        try:
            return self._computed(view)
        except Untranslatable as error:
            next_step = (
                "Write it in Polars: a tm.on_demand of the request and the features of its service, or a transform of the view"
                " it reads"
            )
            self._progress.failed(ON_DEMAND, view.name, str(error), next_step)
            return _left_out(view.name, str(error), next_step, "" if view.code is None else view.code.text)

    def _computed(self, view: OnDemandView) -> str:
        if view.code is None or view.aggregations:
            raise Untranslatable("it aggregates instead of going row by row")
        source = self._source_of(view)
        columns = self._inputs(view) if source is None else _names(view.uses[0], {one: one for one in source.features})
        made = translated(view.code, columns)
        wanted = [one.name for one in view.features] or list(made)
        if absent := [name for name in wanted if name not in made]:
            raise Untranslatable(f"its function does not make {', '.join(absent)}")
        outputs = [_output(name, made[name]) for name in wanted]
        if any(_COMPARISON.search(made[name]) for name in wanted):
            self._progress.note("A comparison with a missing value is missing here; in pandas it is False.")
        return self._asked(view, outputs) if source is None else self._derived(view, source, outputs)

    def _source_of(self, view: OnDemandView) -> Part | None:
        """The view whose rows are all it reads; None when it reads the request, or what only a moment gives."""
        parts = [self._stored(use) for use in view.uses]
        return parts[0] if len(parts) == 1 and parts[0].is_state and not view.request else None

    def _stored(self, use: Use) -> Part:
        part = self.parts.get(use.view)
        if part is None:
            raise Untranslatable(f"it reads {use.view}, which could not be converted")
        if not part.keys:
            raise Untranslatable(f"it reads {use.view}, which is computed on demand as well")
        if use.keys:
            raise Untranslatable(f"it reads {use.view} by other keys than those of the view")
        if not part.features:
            raise Untranslatable(f"it reads {use.view}, whose columns Feast finds out at apply")
        return part

    def _inputs(self, view: OnDemandView) -> dict[str, str]:
        """What its function calls the request's columns and the stored features -> what they are called here."""
        found: dict[str, str] = {}
        for use in view.uses:
            part = self._stored(use)
            for name, column in _names(use, {one: f"{part.name}__{one}" for one in part.features}).items():
                if found.setdefault(name, column) != column:
                    raise Untranslatable(f"it reads {name} of several views")
        return {**found, **{one.name: one.name for one in view.request}}

    def _asked(self, view: OnDemandView, outputs: list[tuple[str, Node]]) -> str:
        """Features of the request, and of stored features at its moment."""
        name, variable = snake(view.name), self._names.variable(view.name, "features")
        made = tuple(feature for feature, _ in _named(outputs))
        text = " ".join(str(node) for _, node in outputs)
        stored = tuple(
            (use.view, feature)
            for use in view.uses
            for feature in self.parts[use.view].features
            if f"pl.col({quoted(f'{self.parts[use.view].name}__{feature}')})" in text
        )
        self.parts[view.name] = Part(variable, name, features=made, request=tuple(view.request), stored=stored)
        self._told(ON_DEMAND, view.name, "tm.on_demand", variable)
        self._progress.note(
            "What is computed on demand has no prefix: what Feast calls VIEW__FEATURE is called FEATURE."
        )
        about = prose(view.description) if view.description else ""
        return about + _decorated("tm.on_demand", variable, outputs)

    def _derived(self, view: OnDemandView, source: Part, outputs: list[tuple[str, Node]]) -> str:
        """A view of its own over the same rows: what is made of one row only can be made when it arrives."""
        name, variable = snake(view.name), self._names.variable(view.name, "view")
        made = tuple(feature for feature, _ in _named(outputs))
        self.parts[view.name] = Part(variable, name, source.keys, source.source, made)
        self._told(ON_DEMAND, view.name, "tm.FeatureView", name)
        ttl = next(one.ttl for one in self._repository.views if one.name == view.uses[0].view)
        options = self._options(view, name, variable, source.keys, self._sources[source.source or ""], ttl=ttl)
        return _decorated(call("tm.feature_view", **options), variable, outputs)


def _names(use: Use, features: Mapping[str, str]) -> dict[str, str]:
    """What a function may call the features of a view: by their names, or with the view's before them."""
    known = {name: column for name, column in features.items() if not use.features or name in use.features}
    return {
        f"{before}{name}": column for before in ("", f"{use.alias or use.view}__") for name, column in known.items()
    }


def _aggregate_name(view: View, one: Aggregation) -> str | None:
    """What Feast calls an aggregate, as far as that can be told."""
    base = f"{one.function}_{one.column}"
    long = base if one.window is None else f"{base}_{one.window // 1_000_000}s"
    known = {feature.name for feature in view.features}
    return one.name or next((candidate for candidate in (long, base) if candidate in known), None)


def _named_aggregates(view: View) -> tuple[str, ...]:
    """The features of a view of aggregates whose names are the same here."""
    names = (_aggregate_name(view, one) for one in view.aggregations if one.function in _FUNCTIONS)
    return tuple(name for name in names if name)


def people(one: Described) -> dict[str, Node | None]:
    """What is for people: owner, description, tags."""
    return {
        "owner": quoted(one.owner) if one.owner else None,
        "description": quoted(one.description) if one.description else None,
        "tags": listing(map(quoted, one.labels)) if one.tags else None,
    }


def _window(window: int, slide: int | None) -> dict[str, Node | None]:
    if slide is None or slide == window:
        return {"over": quoted(format_duration(window)), "mode": quoted("tumbling")}
    return {
        "over": quoted(format_duration(window)), "mode": quoted("hopping"), "hop": quoted(format_duration(slide)),
    }  # fmt: skip


def _output(name: str, expression: str) -> tuple[str, Node]:
    return (f"{name}=", expression) if name.isidentifier() else ("", f"({expression}).alias({quoted(name)})")


def _named(outputs: list[tuple[str, Node]]) -> list[tuple[str, Node]]:
    return [(before.removesuffix("="), node) for before, node in outputs]


def _decorated(decorator: Node, variable: str, outputs: Sequence[tuple[str, Node]]) -> str:
    before = "    return "
    body = render(Group("rows.select(", ")", outputs), before.strip() + " ", "    ")
    return f"@{render(decorator, '@')}\ndef {variable}(rows):\n{before}{body}\n"


def _left_out(name: str, reason: str, next_step: str, text: str) -> str:
    code = "#\n" + comment(text) if text else ""
    return prose(f"Not converted: {name}. {_sentence(reason)} {_sentence(next_step)}") + code


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."

"""One feature in one window: the reference's distribution and the window's over the same cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from tidemill.core.errors import NotFound, TidemillError
from tidemill.core.records.models import ModelVersion
from tidemill.core.records.monitoring import Measurement, MonitorWindow
from tidemill.measures.profile import FeatureProfile, Profile
from tidemill.measures.reference import decode_reference
from tidemill.platform import Platform
from tidemill.ui.charts.distribution import Bin
from tidemill.ui.formats import day, exact, number
from tidemill.ui.views.monitor_data import number_of, version_of

MOST_BINS = 24
RESPONSIBLE = 0.6
"""The fewest bins that together hold this share of the difference are named."""
MOST_NAMED = 4


class DriftDetail(msgspec.Struct, frozen=True, kw_only=True):
    """How one feature differs in one window.

    Attributes:
        feature: Which.
        start: Start of the window, microseconds UTC.
        end: Its end.
        model: The version whose reference it is held against.
        effects: Series -> number.
        bins: Both distributions.
        responsible: The bins that make up most of the difference, in words.
        rows: Rows of the reference and of the window.
        missing: Share without a value, of the reference and of the window.
        mean: Means, null for categories.
        problem: Why there is nothing to show, null when there is.
    """

    feature: str
    start: int
    end: int
    model: str | None = None
    effects: dict[str, float | None] = msgspec.field(default_factory=dict)
    bins: list[Bin] = msgspec.field(default_factory=list)
    responsible: list[str] = msgspec.field(default_factory=list)
    rows: tuple[int, int] | None = None
    missing: tuple[float | None, float | None] = (None, None)
    mean: tuple[float | None, float | None] = (None, None)
    problem: str | None = None


def drift_detail(
    platform: Platform, monitor: str, windows: Sequence[MonitorWindow], model: str | None, feature: str, start: int
) -> DriftDetail:
    """Read the two profiles and compare them.

    Raises:
        NotFound: There is no such window.
    """
    window = next((one for one in windows if one.start_at == start), None)
    if window is None:
        raise NotFound(f"there is no window that starts at {exact(start)}", hint="Choose one from the heat map")
    with platform.metadata.read() as reader:
        where = {"project": platform.scope.project, "monitor": monitor, "start_at": start, "feature": feature}
        effects = {one.series: number_of(one) for one in reader.find(Measurement, where, order=["series"])}
    found = DriftDetail(feature=feature, start=start, end=window.end_at, effects=effects)
    try:
        version, reference, current = _profiles(platform, model, window)
    except TidemillError as error:
        return msgspec.structs.replace(found, problem=str(error))
    if feature not in reference.features or feature not in current.features:
        return msgspec.structs.replace(found, problem=f"Neither profile holds {feature!r}.")
    return _compared(found, version, reference[feature], current[feature])


def _profiles(platform: Platform, model: str | None, window: MonitorWindow) -> tuple[str, Profile, Profile]:
    version = version_of(window)
    if window.profile is None or version is None or model is None:
        raise NotFound("this window has no profile", hint="It had too few rows")
    with platform.metadata.read() as reader:
        found = reader.get(ModelVersion, project=platform.scope.project, model=model, version=int(version))
    if found is None or found.profile is None:
        raise NotFound(f"version {version} of model {model!r} was registered without a reference profile")
    reference = decode_reference(platform.artifacts.get(found.profile)).profile
    current = msgspec.json.decode(platform.artifacts.get(window.profile), type=Profile)
    return f"{model} v{version}", reference, current


def _compared(found: DriftDetail, version: str, reference: FeatureProfile, window: FeatureProfile) -> DriftDetail:
    bins = compared_bins(reference, window)
    return msgspec.structs.replace(
        found, model=version, bins=bins,
        responsible=[one.name for one in sorted(bins, key=lambda one: -one.share_of_effect) if one.responsible],
        rows=(reference.n, window.n),
        missing=(reference.rate(reference.absent), window.rate(window.absent)),
        mean=(_mean(reference), _mean(window)),
    )  # fmt: skip


def _mean(profile: FeatureProfile) -> float | None:
    return profile.moments.mean if profile.moments.n and profile.kind == "numeric" else None


def compared_bins(reference: FeatureProfile, window: FeatureProfile) -> list[Bin]:
    """Both distributions over the reference's cells, those responsible for most of the difference marked.

    The measure of a cell's part is its term of the squared Jensen-Shannon distance.
    """
    names = [*_cell_names(reference), "not seen before"]
    edges = _edges(reference)
    before = _shares([*reference.counts, reference.unseen])
    now = _shares([*window.counts, window.unseen])
    terms = [_term(p, q) for p, q in zip(before, now, strict=True)]
    total = sum(terms) or 1.0
    named = _most_of(terms)
    bins = [
        Bin(
            name=name,
            reference=p,
            window=q,
            share_of_effect=term / total,
            responsible=index in named,
            edge=edges.get(index),
        )
        for index, (name, p, q, term) in enumerate(zip(names, before, now, terms, strict=True))
        if p > 0 or q > 0
    ]
    return bins if len(bins) <= MOST_BINS else _fewer(bins)


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts)
    return [count / total if total else 0.0 for count in counts]


def _term(p: float, q: float) -> float:
    middle = (p + q) / 2
    return sum(0.5 * value * math.log2(value / middle) for value in (p, q) if value > 0)


def _most_of(terms: Sequence[float]) -> set[int]:
    total, held, named = sum(terms), 0.0, set[int]()
    if total <= 1e-9:
        return named
    for index in sorted(range(len(terms)), key=lambda one: -terms[one])[:MOST_NAMED]:
        if held >= RESPONSIBLE * total:
            break
        named.add(index)
        held += terms[index]
    return named


def _fewer(bins: Sequence[Bin]) -> list[Bin]:
    """The largest cells, the others together."""
    order = sorted(bins, key=lambda one: -(one.share_of_effect + max(one.reference, one.window)))
    kept = {one.name for one in order[: MOST_BINS - 1]}
    rest = [one for one in bins if one.name not in kept]
    others = Bin(
        name=f"{len(rest)} others", reference=sum(one.reference for one in rest), window=sum(one.window for one in rest),
        share_of_effect=sum(one.share_of_effect for one in rest),
    )  # fmt: skip
    return [*(one for one in bins if one.name in kept), others]


def _cell_names(profile: FeatureProfile) -> list[str]:
    if profile.kind in ("categorical", "boolean"):
        return [*(category or "(empty)" for category in profile.categories), "rest"][: len(profile.counts)]
    shown = [_edge(profile, edge) for edge in profile.edges]
    if not shown:
        return ["all"]
    between = [f"{low} – {high}" for low, high in pairwise(shown)]
    return [f"≤ {shown[0]}", *between, f"> {shown[-1]}"]


def _edges(profile: FeatureProfile) -> dict[int, str]:
    """By cell, where it ends; nothing for categories, and nothing after the last, which is open."""
    if profile.kind in ("categorical", "boolean"):
        return {}
    return {**{index: _edge(profile, edge) for index, edge in enumerate(profile.edges)}, len(profile.edges): ""}


def _edge(profile: FeatureProfile, edge: float) -> str:
    return day(int(edge)) if profile.kind == "time" else number(int(edge) if edge.is_integer() else edge)

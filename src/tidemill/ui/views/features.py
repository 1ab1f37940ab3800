"""Features: what is there, who answers for it, and what uses it?"""

from __future__ import annotations

import msgspec

from tidemill.core.records.verifications import ServiceVerification
from tidemill.features.inventory import Detail, Entry
from tidemill.features.statistics import FeatureStatistics
from tidemill.platform import Platform
from tidemill.tracking.lineage import LineageGraph, Node
from tidemill.ui.charts.graph import Box, Graph

ADDRESSES = {"feature_view": "/features/views/{}", "feature_service": "/features/services/{}", "graph": "/endpoints/{}",
             "endpoint": "/endpoints/{}", "monitor": "/monitoring/{}"}  # fmt: skip
"""Kind -> the address of its page."""

MOST_VERIFICATIONS = 14
"""As many as are shown."""


class FeatureRow(msgspec.Struct, frozen=True, kw_only=True):
    """A view or a service in the list."""

    entry: Entry
    href: str
    state: str
    word: str


class FeaturesPage(msgspec.Struct, frozen=True, kw_only=True):
    """The list, as searched.

    Attributes:
        q: The words searched for.
        tag: The tag chosen.
        tags: All tags there are.
    """

    project: str
    now: int
    q: str
    tag: str
    tags: list[str]
    rows: list[FeatureRow]


class FeatureColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A feature with what it means, where that is said, and what its values look like, where there are some."""

    name: str
    type: str
    meaning: str | None
    statistics: FeatureStatistics | None


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """What uses a view or a service."""

    kind: str
    name: str
    href: str | None


class FeaturePage(msgspec.Struct, frozen=True, kw_only=True):
    """One view or service.

    Attributes:
        verifications: Of a service: what was found when vectors that were served were computed again, newest first.
    """

    project: str
    now: int
    row: FeatureRow
    detail: Detail
    columns: list[FeatureColumn]
    consumers: list[Consumer]
    lineage: Graph
    verifications: list[ServiceVerification]


def features(platform: Platform, q: str = "", tag: str = "") -> FeaturesPage:
    """Read the list."""
    inventory = platform.inventory
    found = inventory.entries(q, [tag] if tag else [])
    everything = found if not (q or tag) else inventory.entries()
    return FeaturesPage(
        project=platform.scope.project, now=platform.scope.now(), q=q, tag=tag,
        tags=sorted({one for entry in everything for one in entry.tags}), rows=[_row(entry) for entry in found],
    )  # fmt: skip


def feature(platform: Platform, kind: str, name: str) -> FeaturePage:
    """Read one view or service.

    Raises:
        NotFound: There is none of that name.
    """
    detail = platform.inventory.show(name, kind)
    seen = {one.feature: one for one in detail.statistics}
    return FeaturePage(
        project=platform.scope.project, now=platform.scope.now(), row=_row(detail.entry), detail=detail,
        columns=[
            FeatureColumn(name=one.name, type=one.type, meaning=detail.meanings.get(one.name), statistics=seen.get(one.name))
            for one in detail.columns
        ],
        consumers=[_consumer(uri) for uri in detail.consumers],
        lineage=drawn(platform.inventory.lineage(kind, name)),
        verifications=platform.verifications.past(name, MOST_VERIFICATIONS) if kind == "feature_service" else [],
    )  # fmt: skip


def _row(entry: Entry) -> FeatureRow:
    state, word = _state(entry)
    return FeatureRow(entry=entry, href=ADDRESSES[entry.kind].format(entry.name), state=state, word=word)


def _state(entry: Entry) -> tuple[str, str]:
    """The worst that is to be said of it, in the words and colours of the pages."""
    if entry.problem is not None:
        return "broken", "does not fit"
    if entry.version is None:
        return "idle", "not applied"
    if entry.edited:
        return "attention", "edited"
    if entry.freshness is None:
        return ("good", "applied") if entry.kind == "feature_service" else ("idle", "in no service")
    if entry.freshness.stale:
        return "attention", "stale"
    return ("good", "fresh") if entry.freshness.rows else ("idle", "no rows")


def _consumer(uri: str) -> Consumer:
    kind, _, name = uri.partition("/")
    address = ADDRESSES.get(kind)
    shown = name.replace("/", " v") if kind == "model" else name
    return Consumer(kind=kind.replace("_", " "), name=shown, href=None if address is None else address.format(name))


def drawn(lineage: LineageGraph) -> Graph:
    """A lineage of features as a drawing with links."""
    edges = [(edge.source, edge.target) for edge in lineage.edges]
    return Graph(boxes=[_box(node, lineage.root) for node in lineage.nodes], edges=edges)


def _box(node: Node, root: str) -> Box:
    address, name = ADDRESSES.get(node.kind), node.uri.partition("/")[2]
    kind = node.kind.replace("_", " ")
    return Box(
        key=node.uri, kind=kind, label=node.label, title=f"{kind} {name}", root=node.uri == root,
        href=None if address is None or node.uri == root else address.format(name),
    )  # fmt: skip

"""Drawings, read back as XML."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.ui.charts.distribution import Bin, distribution
from tidemill.ui.charts.gantt import Span, gantt
from tidemill.ui.charts.graph import Box, Graph, graph, layers, lines, reduced
from tidemill.ui.charts.heatmap import LEVELS, Cell, heatmap, level
from tidemill.ui.charts.lines import Line, LineChart, Mark, line_chart
from tidemill.ui.charts.scales import extent, linear, ticks
from tidemill.ui.charts.sparkline import sparkline
from tidemill.ui.charts.steps import step_chart

DAY = 86_400_000_000


def parsed(svg: str) -> ET.Element:
    root = ET.fromstring(svg)
    assert root.tag == "svg"
    assert root.get("aria-label")
    assert "style" not in {name for one in root.iter() for name in one.attrib}, "the policy forbids inline styles"
    return root


def texts(root: ET.Element, tag: str = "text") -> list[str]:
    return ["".join(one.itertext()) for one in root.iter(tag)]


def test_heat_map_has_a_cell_a_link_and_a_title_for_every_number() -> None:
    cells = [
        Cell(value=0.5, title="<x>, day 1: 0.5", href="/m?a=1&b=2", alarm=True),
        None,
        Cell(value=None, title="few", href="/m"),
    ]
    root = parsed(heatmap([("<x>", cells)], ["day 1", "day 2", "day 3"], label="all"))
    links = list(root.iter("a"))
    assert [link.get("href") for link in links] == ["/m?a=1&b=2", "/m"]
    assert [link.find("title").text for link in links] == ["<x>, day 1: 0.5", "few"]
    assert [link.find("rect").get("class") for link in links] == ["cell h6", "cell none"]
    assert links[0].find("circle").get("class") == "alarm"
    assert "<x>" in texts(root)


@given(st.floats(min_value=0, max_value=1))
def test_shades_grow_with_the_effect(value: float) -> None:
    assert level(value) == len([bound for bound in LEVELS if bound <= value])


def test_a_heat_map_of_nothing_is_a_drawing() -> None:
    parsed(heatmap([], [], label="nothing"))


def test_lines_break_at_gaps_and_show_limit_and_marks() -> None:
    times = [DAY * index for index in range(5)]
    chart = LineChart(title="t", times=times, lines=[Line(name="a", values=[1.0, 2.0, None, 3.0, 4.0], points=True)], limit=9.0,
                      limit_name="budget", marks=[Mark(at=DAY, text="v2"), Mark(at=DAY * 99, text="outside")])  # fmt: skip
    root = parsed(line_chart(chart))
    path = next(one for one in root.iter("path") if one.get("class") == "line s0")
    assert path.get("d").count("M") == 2
    assert len(list(root.iter("circle"))) == 4
    assert {"budget", "v2"} <= set(texts(root))
    assert "outside" not in texts(root)
    heights = [float(line.get("y1")) for line in root.iter("line") if line.get("class") == "limit"]
    assert all(0 < height < 180 for height in heights)


def test_lines_of_nothing_and_of_one_point() -> None:
    parsed(line_chart(LineChart(title="t", times=[], lines=[])))
    parsed(line_chart(LineChart(title="t", times=[DAY], lines=[Line(name="a", values=[5.0])])))
    parsed(line_chart(LineChart(title="t", times=[0, DAY], lines=[Line(name="a", values=[None, None])])))


def test_distribution_names_every_bin() -> None:
    bins = [
        Bin(name="UA & co", reference=0.5, window=0.25, responsible=True),
        Bin(name="≤ 3", reference=0.5, window=0.75, edge="3"),
    ]
    root = parsed(distribution(bins, label="d"))
    titles = [one.text for one in root.iter("title")]
    assert titles == ["UA & co: 50 % before, 25 % now", "≤ 3: 50 % before, 75 % now"]
    heights = {one.get("class"): float(one.get("height")) for one in root.iter("rect")}
    assert abs(heights["window responsible"] - heights["reference"] / 2) < 0.02
    assert "3" in texts(root)


def test_graph_layers_follow_the_edges() -> None:
    boxes = [Box(key=key, kind="k", label=key, href="/x" if key == "b" else None, root=key == "a") for key in "abc"]
    root = parsed(graph(Graph(boxes=boxes, edges=[("a", "b"), ("b", "c"), ("a", "c")]), label="g"))
    lefts = [float(one.find("rect").get("x")) for one in root.iter() if (one.get("class") or "").startswith("node")]
    assert lefts == sorted(lefts)
    assert len(set(lefts)) == 3
    assert [one.get("href") for one in root.iter("a")] == ["/x"]


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=120))
def test_a_label_of_a_box_is_broken_but_never_cut(label: str) -> None:
    found = lines(label)
    assert "".join(found) == label
    assert all(len(line) <= 32 for line in found)


def test_boxes_make_room_for_their_labels() -> None:
    labels = ["short", "late-flight@challenger", "deliveries_of_the_last_day_by_courier_and_district"]
    boxes = [Box(key=label, kind="view", label=label) for label in labels]
    root = parsed(graph(Graph(boxes=boxes, edges=[("short", labels[1]), (labels[1], labels[2])]), label="g"))
    drawn = [one for one in root.iter() if one.get("class") == "node"]
    assert ["".join(texts(one)[1:]) for one in drawn] == labels
    rects = [next(one.iter("rect")) for one in drawn]
    ends = [(float(one.get("x")), float(one.get("x")) + float(one.get("width"))) for one in rects]
    assert all(before[1] < after[0] for before, after in pairwise(ends)), "no box covers another one"
    assert float(root.get("width")) >= ends[-1][1]
    assert float(rects[1].get("width")) >= 22 * 6
    assert len({one.get("height") for one in rects}) == 1, "a row is as high as its longest label"


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=20))
def test_layers_end_even_with_cycles(edges: list[tuple[int, int]]) -> None:
    pairs = [(str(a), str(b)) for a, b in edges]
    found = layers([str(key) for key in range(7)], pairs)
    forward = [(a, b) for a, b in pairs if int(a) < int(b)]
    acyclic = layers([str(key) for key in range(7)], forward)
    assert all(acyclic[a] < acyclic[b] for a, b in forward)
    assert set(found) == {str(key) for key in range(7)}


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=20))
def test_reducing_keeps_what_is_reachable(edges: list[tuple[int, int]]) -> None:
    pairs = list(dict.fromkeys((str(a), str(b)) for a, b in edges if a < b))
    assert closure(reduced(pairs)) == closure(pairs)
    assert set(reduced(pairs)) <= set(pairs)


def closure(pairs: list[tuple[str, str]]) -> set[tuple[str, str]]:
    found = set(pairs)
    while more := {(a, d) for a, b in found for c, d in found if b == c} - found:
        found |= more
    return found


def test_gantt_bars_are_as_long_as_the_parts() -> None:
    spans = [
        Span(name="all", status="finished", start=0, end=100),
        Span(name="half", status="failed", start=50, end=100, depth=1),
    ]
    root = parsed(gantt(spans, label="parts"))
    widths = [float(one.get("width")) for one in root.iter("rect")]
    assert widths[1] * 2 == widths[0]
    long = "train learning_rate 0.06466, max_depth 4, rows 28,871"
    bar = next(parsed(gantt([Span(name=long, status="finished", start=0, end=100)], label="one")).iter("rect"))
    assert float(bar.get("x", 0)) > len(long) * 6, "beside its name, not over it"
    assert long in texts(parsed(gantt([Span(name=long, status="finished", start=0, end=100)], label="one")))
    parsed(gantt([], label="none"))


def test_small_drawings() -> None:
    root = parsed(sparkline([1.0, None, 3.0], label="auc"))
    assert root.get("aria-label") == "auc: 3 at last"
    parsed(sparkline([], label="none"))
    parsed(sparkline([None], label="none"))
    parsed(step_chart([0, 1, 2], [1.0, None, 2.0], "loss"))


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_lie_within_and_are_round(low: float, width: float) -> None:
    found = ticks(low, low + width)
    assert 1 <= len(found) <= 6
    slack = width * 1e-6
    assert all(low - slack <= tick <= low + width + slack for tick in found)


def test_scales_of_nothing() -> None:
    assert linear(3, 3, 0, 10)(3) == 5
    assert extent([]) == (0.0, 1.0)
    assert extent([None, 2.0])[0] < 2.0 < extent([None, 2.0])[1]


@pytest.mark.parametrize("windows", [1, 2, 9, 15, 17, 40, 275])
def test_labels_of_days_do_not_touch(windows: int) -> None:
    times = [number * 86_400_000_000 for number in range(windows)]
    root = parsed(line_chart(LineChart(title="t", times=times, lines=[Line(name="a", values=[1.0] * windows)])))
    labels = [one for one in root.iter() if one.tag.endswith("text") and one.get("y") == "175"]
    spans = [
        (x - 66, x) if one.get("text-anchor") == "end" else (x, x + 66)
        for one in labels
        for x in [float(one.get("x", 0))]
    ]
    assert spans
    assert all(before[1] <= after[0] for before, after in pairwise(spans))

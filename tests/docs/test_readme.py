"""The README shows the example as it is, and points at what exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_is_the_file():
    shown = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert shown is not None
    assert shown[1] == (ROOT / "examples/late_flights.py").read_text(encoding="utf-8")


def test_the_demo_runs_the_example():
    example = (ROOT / "examples/late_flights.py").read_text(encoding="utf-8")
    assert (ROOT / "src/tidemill/demo/late_flights.py").read_text(encoding="utf-8") == example


def test_whatever_it_links_to_is_there():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_its_commands_are_targets_of_make():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"demo", "test"} <= set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE)) <= targets

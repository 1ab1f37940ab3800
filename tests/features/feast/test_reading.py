"""What is read of a repository, and by whom."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import tidemill.features.feast
from tidemill.core.errors import InvalidArgument
from tidemill.features.feast.reading import decode

PROBE = Path(tidemill.features.feast.__file__).with_name("probe.py").read_text()


def test_the_probe_runs_in_a_python_without_tidemill():
    """Feast's Python may be older, and has the standard library and Feast only."""
    tree = ast.parse(PROBE, feature_version=(3, 9))
    imports = {
        (node.module if isinstance(node, ast.ImportFrom) else name.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert imports <= {"feast", "yaml", *sys.stdlib_module_names}


@pytest.mark.parametrize("told", [b"", b"[]", b'{"feast": 1}', b'{"feast": "0", "project": "p", "views": [{}]}'])
def test_what_is_no_description_of_a_repository_is_refused(told):
    with pytest.raises(InvalidArgument, match="no description of a Feast repository"):
        decode(told)

"""`tidemill feast import`: what it writes, says and refuses. tests/features/feast/test_values.py has it with a real Feast."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FEATURES = Path(__file__).resolve().parents[1] / "features" / "feast"
FAKE = '''
"""Stands for Feast: the repository is told as it was told by a real one."""
__version__ = "0"
'''


def tidemill(folder: Path, *words: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    source = os.environ.get("PYTHONPATH", "")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(path or ""), source]))}
    command = [sys.executable, "-m", "tidemill", "feast", "import", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environ)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "feature_store.yaml").write_text("project: rides\n")
    return tmp_path


def fake(folder: Path, operations: str) -> Path:
    """A package `feast` that reads every repository in one way."""
    package = folder / "fake" / "feast"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(FAKE)
    (package.parent / "yaml.py").write_text("def safe_load(text):\n    return {'project': text.split()[-1]}\n")
    (package / "repo_operations.py").write_text(operations)
    return package.parent


ENTITY_AND_VIEW = """
from datetime import timedelta
from types import SimpleNamespace as N

print("the repository talks")
KIND = N(name="INT64")

def described(name, **more):
    return N(name=name, description="", owner="ann", tags={}, **more)

class FileSource(N):
    pass

class LabelView(N):
    pass

def parse_repo(folder):
    source = FileSource(name="speeds", description="", owner="", tags={}, timestamp_field="at", created_timestamp_column="",
                        field_mapping={}, path="speeds.parquet", file_format=None)
    feature = N(name="kmh", dtype=N(to_value_type=lambda: KIND), description="")
    view = described("speed", entities=["driver"], ttl=timedelta(hours=1), batch_source=source, features=[feature])
    return N(entities=[described("driver", join_key="driver_id", value_type=KIND)], data_sources=[source, source],
             feature_views=[view], stream_feature_views=[], on_demand_feature_views=[], feature_services=[],
             label_views=[LabelView(name="late")], permissions=[])
"""


def test_the_file_is_written_and_the_rest_told(repository):
    ended = tidemill(repository, "repo", "--json", path=fake(repository, ENTITY_AND_VIEW))
    assert ended.returncode == 5  # the label view has no counterpart
    found = json.loads(ended.stdout)
    assert found["file"] == "features.py"
    assert [one["becomes"] for one in found["converted"]] == ["tm.Source speeds", "tm.FeatureView speed"]
    assert [one["name"] for one in found["not_converted"]] == ["late"]
    text = (repository / "features.py").read_text()
    assert 'ttl="1h"' in text
    assert 'rows.select("kmh")' in text


def test_the_table_says_what_to_do_next(repository):
    ended = tidemill(repository, "repo", "-o", "speeds.py", path=fake(repository, ENTITY_AND_VIEW))
    assert "Define a tm.Source of the labels" in ended.stdout
    assert "Next: list speeds.py under files= in tidemill.toml" in ended.stdout


def test_a_file_is_replaced_only_when_asked(repository):
    feast = fake(repository, ENTITY_AND_VIEW.replace('[LabelView(name="late")]', "[]"))
    (repository / "features.py").write_text("mine = 1\n")
    refused = tidemill(repository, "repo", path=feast)
    assert refused.returncode == 4
    assert refused.stderr.startswith("Error: features.py exists already.")
    assert (repository / "features.py").read_text() == "mine = 1\n"
    assert tidemill(repository, "repo", "--overwrite", path=feast).returncode == 0
    assert "def speed(rows):" in (repository / "features.py").read_text()
    (repository / "folder").mkdir()
    assert tidemill(repository, "repo", "--overwrite", "-o", "folder", path=feast).returncode == 4


def test_definitions_that_fail_are_told_and_nothing_is_written(repository):
    ended = tidemill(
        repository, "repo", path=fake(repository, "def parse_repo(folder):\n    raise ValueError('no such topic')\n")
    )
    assert ended.returncode == 11
    assert "Error: Feast cannot read repo: ValueError: no such topic. Run `feast plan` there" in ended.stderr
    assert not (repository / "features.py").exists()


def test_the_line_that_names_the_error_is_told(repository):
    """Some errors end with a drawing of the place."""
    text = "def parse_repo(folder):\n    raise KeyError('no topic') from ValueError('x: y')\n    "
    drawn = "import sys\ndef parse_repo(folder):\n    sys.exit('scan.ScanError: in line 1\\n  topic\\n    ^')\n"
    for number, operations in enumerate((text, drawn)):
        (repository / str(number)).mkdir()
        ended = tidemill(repository, "repo", path=fake(repository / str(number), operations))
        assert ("KeyError: 'no topic'", "scan.ScanError: in line 1")[number] in ended.stderr
        assert ended.returncode == 11


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["."], 3, "there is no feature_store.yaml in . Expected the folder of a Feast repository"),
        (["nowhere"], 3, "there is no feature_store.yaml in nowhere"),
        (["repo", "-o", "no/features.py"], 3, "there is no folder no."),
        (["repo", "--python", "/nowhere/python"], 3, "/nowhere/python cannot be run"),
        (["repo"], 3, "has no Feast. Expected the Python that you run `feast apply` with"),
    ],
)
def test_bad_input_is_told(repository, words, code, text):
    ended = tidemill(repository, *words)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert text in ended.stderr
    assert ended.stderr.count("\n") == 1

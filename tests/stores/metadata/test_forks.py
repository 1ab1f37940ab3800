"""A process that is forked while a store is open gets connections of its own, and its parent's stay whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# In a process of its own: a test process has threads, and must not be forked.
SCRIPT = """
import os, sys
from pathlib import Path
from tidemill.stores.metadata.open import open_metadata
from tidemill.testing.metadata_suite import pin

store = open_metadata(sys.argv[1], Path(sys.argv[2]))
with store.write() as writer:
    writer.add(pin("parent"))
children = []
for number in range(4):
    child = os.fork()
    if child == 0:
        for n in range(20):
            with store.write() as writer:
                writer.add(pin(f"child-{number}-{n}", owner=str(writer.next("shared"))))
        os._exit(0)
    children.append(child)
for n in range(20):
    with store.write() as writer:
        writer.add(pin(f"parent-{n}", owner=str(writer.next("shared"))))
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
from tidemill.core.records.events import Pin
with store.read() as reader:
    numbers = sorted(int(found.owner) for found in reader.find(Pin, {"owner": ("!=", "o")}))
assert numbers == list(range(1, 101)), numbers
store.close()
"""


def run(url: str, home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, url, str(home)], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_sqlite(tmp_path: Path) -> None:
    run("sqlite:", tmp_path)


@pytest.mark.service
def test_postgres(schema_url: str, tmp_path: Path) -> None:
    run(schema_url, tmp_path)


@pytest.mark.service
def test_mariadb(empty_mariadb_url: str, tmp_path: Path) -> None:
    run(empty_mariadb_url, tmp_path)

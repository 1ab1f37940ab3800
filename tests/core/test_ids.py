from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.clock import ManualClock
from tidemill.core.errors import InvalidArgument
from tidemill.core.ids import check_name, digest_bytes, digest_file, digest_text, new_id


def test_ids_are_uuid7_unique_and_ordered(clock: ManualClock) -> None:
    ids = [new_id(clock) for _ in range(20_000)]
    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids)
    assert uuid.UUID(ids[0]).version == 7
    assert uuid.UUID(ids[0]).variant == uuid.RFC_4122


def test_forked_children_do_not_repeat_ids(clock: ManualClock) -> None:
    new_id(clock)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, new_id(clock).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read, 32).decode() != new_id(clock)


@pytest.mark.parametrize("name", ["a", "late-flight", "x_1", "0"])
def test_good_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "-a", "a b", "a/b", "ü", "a" * 129, "../x", None, 3])
def test_bad_names(name: object) -> None:
    with pytest.raises(InvalidArgument, match="lower-case"):
        check_name(name)


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_digest_text_sees_borders(one: list[str], two: list[str]) -> None:
    assert (digest_text(*one) == digest_text(*two)) == (one == two)


def test_digest_file_is_digest_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"tide" * 100_000)
    assert digest_file(path) == digest_bytes(path.read_bytes())

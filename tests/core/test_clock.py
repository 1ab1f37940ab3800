from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tidemill.core.clock import ManualClock, SharedClock, SystemClock, open_clock
from tidemill.core.errors import InvalidArgument


def test_manual_clock_never_goes_back(clock: ManualClock) -> None:
    before = clock.now()
    clock.advance(5)
    assert clock.now() == before + 5
    with pytest.raises(InvalidArgument, match="cannot go back"):
        clock.set(before)


def test_shared_clock_is_seen_by_another_process(tmp_path: Path) -> None:
    clock = SharedClock(tmp_path / "clock")
    clock.set(1_364_774_400_000_000)
    code = (
        "from pathlib import Path; from tidemill.core.clock import SharedClock;"
        f"c = SharedClock(Path({str(tmp_path / 'clock')!r})); print(c.now()); c.set(c.now() + 1)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(out.stdout) == 1_364_774_400_000_000
    assert clock.now() == 1_364_774_400_000_001
    with pytest.raises(InvalidArgument, match="cannot go back"):
        clock.set(0)


def test_open_clock(tmp_path: Path) -> None:
    assert isinstance(open_clock("system", tmp_path), SystemClock)
    assert isinstance(open_clock("shared:clock", tmp_path), SharedClock)
    for wrong in ("shared:", "sundial"):
        with pytest.raises(InvalidArgument, match="names no clock"):
            open_clock(wrong, tmp_path)

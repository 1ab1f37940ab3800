"""The state of the git checkout a run starts from."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tidemill.core.ids import digest_bytes

_TIMEOUT = 10.0


@dataclass(frozen=True)
class Checkout:
    """A commit and what was changed since."""

    commit: str
    branch: str
    diff: bytes
    """The uncommitted changes of tracked files; empty when there are none."""
    untracked: int
    """Files git does not know."""

    def describe(self) -> dict[str, object]:
        """Its facts, as the code of a run."""
        facts: dict[str, object] = {"commit": self.commit, "branch": self.branch, "dirty": bool(self.diff)}
        if self.diff:
            facts["diff"] = digest_bytes(self.diff)
        if self.untracked:
            facts["untracked"] = self.untracked
        return facts


def read_checkout(folder: Path) -> Checkout | None:
    """The checkout a folder belongs to; None when there is none, it has no commit, or git is not installed."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    branch = _git(folder, "rev-parse", "--abbrev-ref", "HEAD") or b""
    diff = _git(folder, "diff", "HEAD", "--binary") or b""
    others = _git(folder, "ls-files", "--others", "--exclude-standard") or b""
    return Checkout(commit.decode().strip(), branch.decode().strip(), diff, len(others.splitlines()))


def _git(folder: Path, *arguments: str) -> bytes | None:
    # --no-optional-locks: looking must never stand in the way of a git command the user runs.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None

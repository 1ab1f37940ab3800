"""A network of a command's own that has a loopback interface and nothing else."""

from __future__ import annotations

import shutil
import subprocess

ALONE = ("unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "alone")
"""Stands before the command."""


def why_not_alone() -> str:
    """What is missing to make one; empty if nothing is."""
    if missing := [name for name in ("unshare", "ip") if shutil.which(name) is None]:
        return f"no {' and no '.join(missing)}"
    done = subprocess.run([*ALONE, "true"], capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""

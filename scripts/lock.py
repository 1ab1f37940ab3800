"""Writes constraints/locked.txt: the exact version of every package that `tidemill[dev]` resolves to today.

Run it through `make lock`. The file holds names and versions only, no addresses and no digests, so it works
with any index that serves the packages.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "constraints" / "locked.txt"

HEAD = """\
# Made by `make lock`: every package of `tidemill[dev]`, for Python 3.11 to 3.13 on Linux and macOS.
# Use it with `pip install -c constraints/locked.txt`.
"""


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="tidemill-lock-") as folder:
        resolved = resolve(Path(folder) / "report.json")
    TARGET.write_text(HEAD + "\n".join(pins(resolved)) + "\n", encoding="utf-8")
    print(f"{TARGET.relative_to(ROOT)}: {len(resolved)} packages")
    return 0


def resolve(report: Path) -> list[dict[str, Any]]:
    """Let pip solve for the newest versions, without installing them."""
    command = [sys.executable, "-m", "pip", "install", "-qq", "--dry-run", "--ignore-installed"]
    subprocess.run([*command, "--report", str(report), f"{ROOT}[dev]"], check=True)
    found: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["install"]
    return [entry for entry in found if canonical(entry) != "tidemill"]


def pins(resolved: list[dict[str, Any]]) -> list[str]:
    return sorted(f"{canonical(entry)}=={entry['metadata']['version']}" for entry in resolved)


def canonical(entry: dict[str, Any]) -> str:
    return re.sub(r"[-_.]+", "-", entry["metadata"]["name"]).lower()


if __name__ == "__main__":
    sys.exit(main())

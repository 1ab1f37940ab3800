"""Reading a Feast repository with the Python that has Feast; Tidemill itself never imports it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import msgspec

from tidemill.core.errors import InvalidArgument, NotFound, UserCodeError
from tidemill.features.feast.repository import Repository

SETTINGS = "feature_store.yaml"
_NO_FEAST = "import importlib.util, sys; sys.exit(importlib.util.find_spec('feast') is None)"

_NAMED = re.compile(r"[\w.]+(Error|Exception|Exit|Interrupt)?: ")


def read_repository(folder: Path, *, python: str | None = None) -> Repository:
    """What a repository defines, as `feast apply` would find it there. Nothing is applied, no store is opened.

    Args:
        folder: The folder with `feature_store.yaml`.
        python: A Python that has Feast; the one that runs this when absent.

    Raises:
        NotFound: There is no repository, no such Python, or it has no Feast.
        UserCodeError: The definitions cannot be evaluated; the message has the reason they gave.
    """
    root = folder.resolve()
    if not (root / SETTINGS).is_file():
        beside = sorted(path.parent.name for path in root.glob(f"*/{SETTINGS}")) if root.is_dir() else []
        raise NotFound(f"there is no {SETTINGS} in {folder}", known=beside,
                       expected="the folder of a Feast repository, the one `feast apply` runs in")  # fmt: skip
    # Not resolved: what a link of a virtual environment points to has other packages.
    interpreter = os.path.abspath(python) if python and os.sep in python else python or sys.executable
    _require_feast(interpreter)
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "repository.json"
        probe = resources.files("tidemill.features.feast").joinpath("probe.py").read_text(encoding="utf-8")
        ended = _run([interpreter, "-", str(result), SETTINGS], probe, root)
        if ended.returncode or not result.is_file():
            raise UserCodeError(f"Feast cannot read {folder}: {_reason(ended.stderr)}",
                                hint="Run `feast plan` there, with the same Python; it says more")  # fmt: skip
        return decode(result.read_bytes())


def decode(told: bytes) -> Repository:
    """A repository as the probe wrote it.

    Raises:
        InvalidArgument: It is something else.
    """
    try:
        return msgspec.json.decode(told, type=Repository)
    except msgspec.DecodeError as error:
        raise InvalidArgument(f"this is no description of a Feast repository: {error}") from None


def _require_feast(python: str) -> None:
    if _run([python, "-c", _NO_FEAST], "", Path.cwd()).returncode:
        raise NotFound(
            f"{python} has no Feast",
            expected="the Python that you run `feast apply` with",
            hint="Name it: tidemill feast import REPO --python PATH/bin/python; or make one: "
            "python -m venv .feast && .feast/bin/pip install feast",
        )


def _run(command: Sequence[str], text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, input=text, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NotFound(f"{command[0]} cannot be run: {error.strerror}", expected="a Python after --python") from None


def _reason(text: str) -> str:
    """The line of a traceback that names the error; what follows may be a drawing of the place."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if _NAMED.match(line)]
    return [*lines, *named][-1] if lines else "it said nothing"

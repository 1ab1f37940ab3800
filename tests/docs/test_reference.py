"""The reference pages name everything there is, with the values that hold."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import msgspec
import pytest

import tidemill
from tidemill.core import errors
from tidemill.core.settings import ServeSettings, Settings, UpSettings, VerifySettings, load_settings

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"


def rows(page: str) -> list[list[str]]:
    """The cells of all table rows of a page."""
    lines = (REFERENCE / page).read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| `")]


def fields():
    """Every setting with the table it is in."""
    for table, kind in (("", Settings), ("serve", ServeSettings), ("up", UpSettings), ("verify", VerifySettings)):
        for field in msgspec.structs.fields(kind):
            if table or field.name not in ("folder", "serve", "up", "verify"):
                yield table, field


@pytest.mark.parametrize(("table", "field"), list(fields()), ids=lambda value: getattr(value, "name", value))
def test_every_setting_is_documented_with_its_variable_and_default(table, field):
    text = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    section = text.partition(f"## `[{table}]`")[2].partition("\n## ")[0] if table else text
    variable = "_".join(["TIDEMILL", *filter(None, [table.upper()]), field.name.upper()])
    shown = "" if field.name == "channels" else f"`{variable}`"  # a table cannot be one variable
    (line,) = [line for line in section.splitlines() if line.startswith(f"| `{field.name}` | {shown}")]
    if isinstance(field.default, str | int) and field.default != "":
        assert f"| `{field.default}` |" in line


def test_every_variable_of_the_page_sets_what_it_says(tmp_path):
    (tmp_path / "tidemill.toml").write_text('project = "p"\n')
    values = {
        "port": "1234",
        "workers": "3",
        "max_rows": "7",
        "queue": "9",
        "backlog": "5",
        "sample": "0.5",
        "files": "a.py,b.py",
        "project": "other",
    }
    for table, field in fields():
        if field.name != "channels":
            variable = "_".join(["TIDEMILL", *filter(None, [table.upper()]), field.name.upper()])
            given = values.get(field.name, "given")
            settings = load_settings(tmp_path, environ={variable: given})
            found = getattr(getattr(settings, table) if table else settings, field.name)
            assert (",".join(found) if isinstance(found, tuple) else str(found)) == given


def test_every_error_is_documented_with_its_class_status_and_exit_code():
    classes = {kind.code: name for name, kind in vars(errors).items() if hasattr(kind, "code")}
    assert {row[0].strip("`"): tuple(row[1:4]) for row in rows("errors.md")} == {
        code: (f"`{classes[code]}`", str(errors.HTTP_STATUS[code]), str(errors.EXIT_CODE[code]))
        for code in errors.EXIT_CODE
    }


def test_every_public_name_is_documented():
    named = {name for row in rows("python.md") for name in re.findall(r"`tm\.(\w+)`", row[0])}
    assert named == set(tidemill.__all__)


def test_the_page_of_commands_is_what_the_commands_say():
    spec = importlib.util.spec_from_file_location("cli_reference", ROOT / "scripts/cli_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (REFERENCE / "cli.md").read_text(encoding="utf-8") == module.render(), "run: python scripts/cli_reference.py"

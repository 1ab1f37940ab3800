"""Every page of the documentation runs: its Python blocks, its `tidemill` commands and its files, in page order.

One page is one story, told in an empty folder:

- ```` ```python ```` is executed, all blocks of a page in one namespace.
- ```` ```python title="flights.py" ```` (or `toml`, `json`, `csv`, `yaml`) is also written to that file.
- ```` ```bash ```` and ```` ```console ````: each command that starts with `tidemill` is run and must end with 0.
- `<!-- not run: why -->` on the line above a block leaves it out.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import textwrap
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("README.md")])

FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<ticks>`{3,}) *(?P<language>[\w+-]*)(?P<options>[^`\n]*)$")
TITLE = re.compile(r"""title=["']([\w./-]+\.\w+)["']""")
NOT_RUN = re.compile(r"^\s*<!-- not run: (?P<reason>\S.*\S) -->\s*$")
SHELLS = {"bash", "console", "sh", "shell"}
WRITTEN = {"python", "toml", "json", "csv", "yaml"}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, title, text, and the line its text starts at."""

    language: str
    title: str | None
    text: str
    line: int
    run: bool


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a Markdown text, nested and indented ones included."""
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        fence = FENCE.match(lines[number])
        if fence is None:
            number += 1
            continue
        end = closing(lines, number, fence["ticks"])
        title = TITLE.search(fence["options"])
        yield Block(
            language=fence["language"],
            title=title[1] if title else None,
            text=textwrap.dedent("\n".join(lines[number + 1 : end])) + "\n",
            line=number + 2,
            run=number == 0 or NOT_RUN.match(lines[number - 1]) is None,
        )
        number = end + 1


def closing(lines: list[str], start: int, ticks: str) -> int:
    """The line that closes the fence opened at `start`."""
    for number in range(start + 1, len(lines)):
        if lines[number].strip() == ticks:
            return number
    raise ValueError(f"the block opened at line {start + 1} is never closed")


def commands(block: Block) -> Iterator[list[str]]:
    """The `tidemill` commands of a shell block; in a console block those behind a `$`."""
    for line in block.text.replace("\\\n", " ").splitlines():
        prompt = re.match(r"\s*\$ ", line)
        if block.language == "console" and prompt is None:
            continue
        words = shlex.split(line[prompt.end() :] if prompt else line, comments=True)
        if words and words[0] == "tidemill":
            yield words[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = types.ModuleType(f"docs_{page.stem}".replace("-", "_"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    before = set(sys.modules)
    try:
        for block in blocks(page.read_text(encoding="utf-8")):
            if block.run:
                run(block, page, module, tmp_path)
    finally:
        # Two pages may write a file of the same name; the next one must not meet this one's module.
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
                del sys.modules[name]


def run(block: Block, page: Path, module: types.ModuleType, folder: Path) -> None:
    if block.title and block.language in WRITTEN:
        target = folder / block.title
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block.text, encoding="utf-8")
    if block.language == "python":
        # Blank lines in front make tracebacks, and inspect.getsource, point at the page.
        source = "\n" * (block.line - 1) + block.text
        exec(compile(source, str(page), "exec"), module.__dict__)
    if block.language in SHELLS:
        for arguments in commands(block):
            run_command(arguments, f"{page.relative_to(ROOT)}:{block.line}", folder)


def run_command(arguments: list[str], where: str, folder: Path) -> None:
    program = "import sys; from tidemill.cli import main; sys.argv[0] = 'tidemill'; main()"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    shown = f"{where}: `tidemill {shlex.join(arguments)}` ended with {done.returncode}:\n{done.stdout}"
    assert done.returncode == 0, shown


# -- the reader of pages itself --------------------------------------------------------------------

SAMPLE = """\
# A page

```python title="a/b.py"
x = 1
```

    ```bash
    # a comment
    tidemill runs list \\
      --limit 3  # three
    make test
    ```

```console
$ tidemill doctor
all well
```

<!-- not run: it never ends -->
```bash
tidemill up
```

````text
```python
raise SystemExit
```
````
"""


def test_blocks_are_read_with_language_title_line_and_opt_out():
    found = list(blocks(SAMPLE))
    assert [block.language for block in found] == ["python", "bash", "console", "bash", "text"]
    assert found[0] == Block("python", "a/b.py", "x = 1\n", 4, True)
    assert [block.run for block in found] == [True, True, True, False, True]


def test_only_tidemill_commands_are_run():
    found = list(blocks(SAMPLE))
    assert list(commands(found[1])) == [["runs", "list", "--limit", "3"]]
    assert list(commands(found[2])) == [["doctor"]]


def test_an_opt_out_needs_a_reason():
    assert all(block.run for block in blocks("<!-- not run: -->\n```bash\ntidemill up\n```\n"))


def test_an_open_block_is_an_error():
    with pytest.raises(ValueError, match="opened at line 2"):
        list(blocks("text\n```python\nx = 1\n"))


def test_a_failing_block_fails_at_its_line_in_the_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("one\n\n```python\nx = 1\nx.nothing\n```\n")
    module = types.ModuleType("docs_page")
    with pytest.raises(AttributeError) as caught:
        run(next(blocks(page.read_text())), page, module, tmp_path)
    assert (caught.traceback[-1].path, caught.traceback[-1].lineno + 1) == (page, 5)


def test_a_titled_block_is_written_to_its_file(tmp_path):
    run(next(blocks(SAMPLE)), tmp_path / "page.md", types.ModuleType("docs_page"), tmp_path)
    assert (tmp_path / "a/b.py").read_text() == "x = 1\n"

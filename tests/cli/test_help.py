"""Every command explains itself with examples that fit it, and shells complete it."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest
import typer

from tidemill.cli.app import app


def commands(command, *words):
    """Every visible command with the words that call it."""
    if not hasattr(command, "commands"):
        yield words, command
        return
    for name, inner in command.commands.items():
        if not inner.hidden:
            yield from commands(inner, *words, name)


ALL = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_ends_with_examples_on_lines_of_their_own(invoke, words):
    done = invoke(*words, "--help")
    assert done.code == 0
    lines = done.out.partition("\n  Example")[2].splitlines()[1:]
    assert lines
    for line in filter(None, lines):
        called = shlex.split(line.partition("|")[0])
        assert called[: len(words) + 1] == ["tidemill", *words], line
        known = {option for parameter in ALL[words].params for option in parameter.opts}
        assert {word for word in called if word.startswith("-")} <= known
        with ALL[words].make_context("tidemill", called[len(words) + 1 :]):
            pass


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_the_list_of_commands_shows_whole_sentences(words):
    assert not ALL[words].get_short_help_str(62).endswith("...")


def test_whatever_answers_with_rows_answers_scripts_too():
    silent = {("init",), ("demo",), ("serve",), ("up",), ("features", "stream")}
    with_json = {words for words, command in ALL.items() if any("--json" in p.opts for p in command.params)}
    assert set(ALL) - with_json == silent


@pytest.mark.parametrize(("typed", "offered"), [("tidemill ing", "ingest"), ("tidemill features mat", "materialize")])
def test_shells_complete_commands(monkeypatch, typed, offered):
    environment = {"_TIDEMILL_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    program = "import sys; sys.argv = ['tidemill']; from tidemill.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert offered in done.stdout.split()

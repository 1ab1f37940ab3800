from __future__ import annotations

from pathlib import Path

import pytest

from tidemill.core.errors import InvalidArgument, NotFound
from tidemill.core.settings import environment_of, load_settings


def write(folder: Path, text: str) -> Path:
    (folder / "tidemill.toml").write_text(text)
    return folder


def test_nearest_file_wins_like_git(tmp_path: Path) -> None:
    write(tmp_path, 'project = "flights"')
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    settings = load_settings(inner, environ={})
    assert (settings.project, settings.folder, settings.home_path) == ("flights", tmp_path, tmp_path / ".tidemill")


def test_no_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="tidemill init"):
        load_settings(tmp_path, environ={})


def test_environment_over_file_and_arguments_over_both(tmp_path: Path) -> None:
    write(tmp_path, 'project = "p"\nmetadata = "sqlite:"\nfiles = ["a.py"]\n[serve]\nport = 1\nworkers = 5')
    environ = {"TIDEMILL_METADATA": "postgresql://x", "TIDEMILL_SERVE_PORT": "2", "TIDEMILL_FILES": "b.py,c.py"}
    settings = load_settings(tmp_path, environ=environ, overrides={"serve": {"port": 3}})
    assert settings.metadata == "postgresql://x"
    assert settings.files == ("b.py", "c.py")
    assert (settings.serve.port, settings.serve.workers, settings.up.port) == (3, 5, 7878)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("projct = 'x'", "projct"),
        ("project = 'p'\n[serve]\nport = 'x'", "serve.port"),
        ("project = ", "not valid TOML"),
        ("project = 'Has Space'", "project name"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        load_settings(write(tmp_path, text), environ={})


def test_project_defaults_to_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my-bikes"
    folder.mkdir()
    assert load_settings(write(folder, ""), environ={}).project == "my-bikes"


def test_another_process_is_given_the_same_settings_by_its_environment(tmp_path):
    (tmp_path / "tidemill.toml").write_text('project = "p"\n')
    environ = {"TIDEMILL_FILES": "a.py,b.py", "TIDEMILL_METADATA": "sqlite:///x.db", "TIDEMILL_EXECUTOR": "inline"}
    settings = load_settings(tmp_path, environ=environ, overrides={"clock": "shared:clock", "principal": "ann"})
    assert load_settings(tmp_path, environ=environment_of(settings)) == settings

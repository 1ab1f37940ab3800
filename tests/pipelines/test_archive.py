from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from tidemill.core.errors import NotFound
from tidemill.pipelines.archive import archive_code, restore_code
from tidemill.stores.artifacts.open import open_artifacts
from tidemill.stores.artifacts.protocol import ArtifactStore


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return open_artifacts("file:", tmp_path / "home")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    (made / "sub").mkdir(parents=True)
    (made / "one.py").write_text("ONE = 1\n")
    (made / "sub" / "two.py").write_text("TWO = 2\n")
    return made


def test_equal_files_give_an_equal_digest_wherever_and_in_whatever_order(
    artifacts: ArtifactStore, folder: Path, tmp_path: Path
) -> None:
    digest = archive_code(artifacts, folder, ["one.py", "sub/two.py"])
    other = folder.rename(tmp_path / "elsewhere")
    (other / "one.py").touch()
    assert archive_code(artifacts, other, ["sub/two.py", "./one.py", "one.py"]) == digest
    with zipfile.ZipFile(io.BytesIO(artifacts.get(digest))) as archive:
        assert archive.namelist() == ["one.py", "sub/two.py"]


def test_unchanged_files_are_used_where_they_are(artifacts: ArtifactStore, folder: Path, tmp_path: Path) -> None:
    digest = archive_code(artifacts, folder, ["one.py"])
    assert restore_code(artifacts, digest, folder, tmp_path / "code") == folder
    assert not (tmp_path / "code").exists()


@pytest.mark.parametrize("change", ["edit", "remove"])
def test_changed_files_are_restored(artifacts: ArtifactStore, folder: Path, tmp_path: Path, change: str) -> None:
    digest = archive_code(artifacts, folder, ["one.py", "sub/two.py"])
    if change == "edit":
        (folder / "one.py").write_text("ONE = 7\n")
    else:
        (folder / "one.py").unlink()
    for _ in range(2):
        found = restore_code(artifacts, digest, folder, tmp_path / "code")
        assert (found / "one.py").read_text() == "ONE = 1\n"
        assert (found / "sub" / "two.py").read_text() == "TWO = 2\n"
    assert [path.name for path in (tmp_path / "code").iterdir()] == [digest]


def test_an_archive_that_is_gone_is_told(artifacts: ArtifactStore, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        restore_code(artifacts, "0" * 64, folder, tmp_path / "code")

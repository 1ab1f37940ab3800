"""Artifacts in S3: the contract, and what a server brings with it."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import pytest

from tidemill.core.errors import InvalidArgument, InvalidData, MissingExtra, NotFound, Unavailable
from tidemill.diagnosis import Finding, diagnose
from tidemill.stores.artifacts.open import open_artifacts
from tidemill.stores.registry import open_store
from tidemill.testing.artifact_suite import OpenStore, SharedArtifactSuite


@pytest.mark.service
class TestS3(SharedArtifactSuite):
    @pytest.fixture
    def open_store(self, bucket: str, tmp_path: Path) -> OpenStore:
        return functools.partial(open_artifacts, f"s3://{bucket}/some/where", tmp_path / "home")


@pytest.mark.service
def test_the_prefix_is_where_the_url_says(bucket: str, tmp_path: Path) -> None:
    import s3fs

    digest = open_store("artifacts", f"s3://{bucket}/mill/", tmp_path).put(b"tide")
    files = s3fs.S3FileSystem(skip_instance_cache=True)
    assert files.cat_file(f"{bucket}/mill/{digest[:2]}/{digest[2:4]}/{digest}") == b"tide"
    assert list(open_artifacts(f"s3://{bucket}", tmp_path).digests()) == [digest]


@pytest.mark.service
def test_a_damaged_download_is_not_kept(bucket: str, tmp_path: Path) -> None:
    store = open_artifacts(f"s3://{bucket}", tmp_path)
    digest = store.put(b"tide")
    store._fs.pipe_file(store._path(digest), b"tidE")  # type: ignore[attr-defined]
    for read in (store.get, store.local_path):
        with pytest.raises(InvalidData, match="damaged"):
            read(digest)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.service
def test_a_missing_bucket_is_named_and_not_made(s3: None, tmp_path: Path) -> None:
    store = open_artifacts("s3://no-such-bucket-here/x", tmp_path)
    with pytest.raises(NotFound, match="no bucket 'no-such-bucket-here'"):
        store.put(b"tide")
    with pytest.raises(NotFound, match="no bucket"):
        store.put_file(Path(__file__))


@pytest.mark.service
def test_no_server_at_the_endpoint(no_endpoint: None, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"s3://mill/x cannot be reached.*AWS_ENDPOINT_URL") as caught:
        open_artifacts("s3://mill/x", tmp_path).put(b"tide")
    assert "geheim77" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["s3:", "s3:bucket", "s3:///prefix", "s3://ada:geheim77@bucket/x", "s3://b/x?y=geheim77"]
)
def test_a_wrong_url_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidArgument, match=r"Expected s3://BUCKET/PREFIX") as caught:
        open_artifacts(url, tmp_path)
    assert "@" not in url or "geheim77" not in str(caught.value)


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'tidemill\[s3\]'"):
        open_artifacts("s3://bucket/x", tmp_path)


def store_finding(folder: Path) -> Finding:
    (folder / "tidemill.toml").write_text('project = "mill"')
    (found,) = [finding for finding in diagnose(folder) if finding.what == "artifacts store"]
    return found


@pytest.mark.service
def test_the_doctor_tells_server_and_credentials_and_no_secret(
    bucket: str, s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEMILL_ARTIFACTS", f"s3://{bucket}/mill")
    found = store_finding(tmp_path)
    assert (found.state, found.configured) == ("ok", f"s3://{bucket}/mill")
    assert found.detail == f"answers at {s3_endpoint}; credentials from AWS_ACCESS_KEY_ID"
    monkeypatch.setenv("TIDEMILL_ARTIFACTS", "s3://no-such-bucket-here")
    found = store_finding(tmp_path)
    assert (found.state, "no bucket" in found.detail, "geheim77" in repr(found)) == ("attention", True, False)

"""What S3 answers, in Tidemill's words."""

from __future__ import annotations

import pytest

from tidemill.core.errors import NotFound, PermissionDenied, TidemillError, Unavailable
from tidemill.stores.s3 import Place, explained


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ('Could not connect to the endpoint URL: "http://127.0.0.1:40357/mill/t/_delta_log/0.json"', Unavailable),
        ('Could not connect to the endpoint URL: "http://127.0.0.1:403/mill/NoSuchBucket/Forbidden"', Unavailable),
        ("Client error with status 403 Forbidden: <Error><Code>AccessDenied</Code></Error>", PermissionDenied),
        ("An error occurred (InvalidAccessKeyId) when calling the PutObject operation", PermissionDenied),
        ("An error occurred (403) when calling the HeadObject operation", PermissionDenied),
        ("An error occurred (NoSuchBucket) when calling the ListObjectsV2 operation", NotFound),
        ("", Unavailable),
    ],
)
def test_errors_are_told_apart_by_what_the_server_says(said: str, kind: type[TidemillError]) -> None:
    found = explained(Place("mill", "prod"), OSError(said))
    assert type(found) is kind
    assert "mill" in str(found)

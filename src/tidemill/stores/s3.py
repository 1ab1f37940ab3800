"""Object stores that speak S3: where they are, and what they answer in Tidemill's words.

Credentials are those every S3 program uses: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`,
`AWS_PROFILE`, or a role of the machine. `AWS_ENDPOINT_URL` names another server than Amazon's.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tidemill.core.errors import InvalidArgument, NotFound, PermissionDenied, TidemillError, Unavailable

EXPECTED = "s3://BUCKET/PREFIX"
_HINT = "Check AWS_ENDPOINT_URL and the credentials in the environment; `tidemill doctor` tries it again"
_DENIED = re.compile(r"\b(AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|Forbidden|ExpiredToken|403)\b")
_ADDRESS = re.compile(r"\b\w+://\S+")


@dataclass(frozen=True)
class Place:
    """A prefix in a bucket."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.path}"

    @property
    def path(self) -> str:
        """Bucket and prefix, without a slash at the end."""
        return f"{self.bucket}/{self.prefix}".rstrip("/")


def parse_place(url: str) -> Place:
    """Read `s3://BUCKET/PREFIX`.

    Raises:
        InvalidArgument: It is something else, or holds credentials.

    Example:
        >>> parse_place("s3://mill/prod/").path
        'mill/prod'
    """
    parts = urlsplit(url)
    if "@" in parts.netloc:
        # It is not repeated: it holds a password.
        raise InvalidArgument("the URL of the S3 store holds credentials", expected=EXPECTED,
                              hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment")  # fmt: skip
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
        raise InvalidArgument(f"{url!r} is no place in S3", expected=EXPECTED)
    return Place(parts.netloc, parts.path.strip("/"))


def is_installed() -> bool:
    """Whether the packages are there that speak S3."""
    return importlib.util.find_spec("s3fs") is not None


def endpoint(environ: Mapping[str, str] = os.environ) -> str:
    """The server the environment names.

    Example:
        >>> endpoint({"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"})
        'http://127.0.0.1:9000'
    """
    return environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or "Amazon S3"


def credentials(environ: Mapping[str, str] = os.environ) -> str:
    """Where credentials come from, in words; never what they are.

    Example:
        >>> credentials({"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "x"})
        'AWS_ACCESS_KEY_ID'
    """
    names = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE")
    return next((name for name in names if environ.get(name)), "the AWS configuration of this user or machine")


@contextmanager
def s3_errors(place: Place) -> Iterator[None]:
    """Within the block, what a library under a store raises about S3 becomes an error of Tidemill."""
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except TidemillError:
        raise
    except (OSError, BotoCoreError) as error:
        raise explained(place, error) from error


def explained(place: Place, error: BaseException) -> TidemillError:
    """What S3 answered, in Tidemill's words."""
    text = " ".join(str(error).split()) or type(error).__name__
    said = _ADDRESS.sub("", text)  # a port or a path may be 403, too
    if "NoSuchBucket" in said or "bucket does not exist" in said:
        return no_bucket(place)
    if isinstance(error, PermissionError) or _DENIED.search(said):
        return PermissionDenied(
            f"{place} may not be used: {text}", hint="Check the credentials and the bucket's policy"
        )
    return Unavailable(f"{place} cannot be reached: {text}", hint=_HINT)


def no_bucket(place: Place) -> NotFound:
    """The error of an absent bucket."""
    return NotFound(f"there is no bucket {place.bucket!r}", hint="Create it, or correct the URL of the store")


def bucket_answers(files: Any, place: Place) -> str:
    """Ask the server for the bucket; returns what to tell about it.

    Args:
        files: An s3fs file system.
        place: Bucket and prefix.

    Raises:
        NotFound: There is no such bucket.
        PermissionDenied: The credentials are refused.
        Unavailable: The server does not answer.
    """
    with s3_errors(place):
        if not files.exists(place.bucket):
            raise no_bucket(place)
    return f"answers at {endpoint()}; credentials from {credentials()}"

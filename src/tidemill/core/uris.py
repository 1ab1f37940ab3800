"""Addresses of things Tidemill keeps."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from tidemill.core.errors import InvalidArgument

_MODEL = re.compile(r"models:/(?P<name>[a-z0-9][a-z0-9_-]*)(?:@(?P<alias>[a-z0-9][a-z0-9_-]*)|/(?P<version>[1-9]\d*))")


_SECRET = re.compile(r"(?i)([?&;][^=&;]*(?:pass|secret|token|key|sig)[^=&;]*=)[^&;]+")
_ODD_PASSWORD = re.compile(r"(://[^:@/?#]*):.*@")


@dataclass(frozen=True)
class ModelUri:
    """A model by alias or by version; exactly one of them is set."""

    name: str
    alias: str | None = None
    version: int | None = None

    def __str__(self) -> str:
        return f"models:/{self.name}@{self.alias}" if self.alias else f"models:/{self.name}/{self.version}"


def parse_model_uri(text: str) -> ModelUri:
    """Read `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

    Raises:
        InvalidArgument: The text is neither.

    Example:
        >>> parse_model_uri("models:/late-flight@champion").alias
        'champion'
    """
    match = _MODEL.fullmatch(text)
    if match is None:
        raise InvalidArgument(f"{text!r} is not a model", expected="models:/NAME@ALIAS or models:/NAME/VERSION")
    version = match["version"]
    return ModelUri(match["name"], match["alias"], None if version is None else int(version))


def concealed(url: str) -> str:
    """A URL without its password and without secrets among its options.

    Example:
        >>> concealed("postgresql://anna:s3cret@db/mill?sslpassword=x")
        'postgresql://anna:***@db/mill?sslpassword=***'
    """
    shown = without_secret(url, url)
    # A password with an unquoted / ? or # is no password to a parser.
    return shown if ":***@" in shown else _ODD_PASSWORD.sub(r"\1:***@", shown)


def without_secret(text: str, url: str) -> str:
    """A text about a URL, such as an error's, without the password and secret options the URL holds.

    Example:
        >>> without_secret("no 's3cret' at db", "postgresql://anna:s3cret@db/mill")
        'no *** at db'
    """
    # A password may itself hold what ends it elsewhere, so the last @ counts.
    password = urlsplit(url).password
    for form in sorted({password or "", unquote(password or "")} - {""}, key=len, reverse=True):
        text = text.replace(f":{form}@", ":***@").replace(f"'{form}'", "***").replace(f'"{form}"', "***")
    return _SECRET.sub(r"\1***", text)

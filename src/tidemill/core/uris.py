"""Addresses of things Tidemill keeps."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tidemill.core.errors import InvalidArgument

_MODEL = re.compile(r"models:/(?P<name>[a-z0-9][a-z0-9_-]*)(?:@(?P<alias>[a-z0-9][a-z0-9_-]*)|/(?P<version>[1-9]\d*))")


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

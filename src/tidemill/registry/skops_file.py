"""skops files in one canonical form.

A skops file is a zip of a JSON tree and arrays, both named after memory addresses, with the time of writing in it. So two
dumps of one model differ. Here nodes are numbered in order, arrays are named after their content, and the time is fixed: the
same model gives the same bytes, and arrays that occur twice are kept once.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any

import msgspec

from tidemill.core.ids import digest_bytes

_SCHEMA = "schema.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can say


def canonical_skops(data: bytes) -> bytes:
    """Rewrite a skops file into its canonical form; what it loads as stays the same."""
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        files = {name: source.read(name) for name in source.namelist() if name != _SCHEMA}
        tree = msgspec.json.decode(source.read(_SCHEMA))
    names = {name: f"{digest_bytes(content)}{_suffix(name)}" for name, content in files.items()}
    _Renamer(names).visit(tree)
    renamed = {names[name]: content for name, content in files.items()}
    return _zip({**dict(sorted(renamed.items())), _SCHEMA: msgspec.json.encode(tree)})


def _suffix(name: str) -> str:
    return "." + name.rpartition(".")[2]


def _zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, content, compresslevel=6)
    return buffer.getvalue()


class _Renamer:
    """Replaces memory addresses in a tree, in place."""

    def __init__(self, files: dict[str, str]) -> None:
        self._files = files
        self._numbers: dict[Any, int] = {}
        self._count = 0

    def visit(self, node: Any) -> None:
        if isinstance(node, list):
            for item in node:
                self.visit(item)
        elif isinstance(node, dict):
            if "__id__" in node:
                node["__id__"] = self._number(node)
            if node.get("file") in self._files:
                node["file"] = self._files[node["file"]]
            for item in node.values():
                self.visit(item)

    def _number(self, node: dict[str, Any]) -> int:
        # Whether two equal plain values are one object depends on the interpreter's caches, not on the model.
        key = object() if node.get("__loader__") == "JsonNode" else node["__id__"]
        if key not in self._numbers:
            self._count += 1
            self._numbers[key] = self._count
        return self._numbers[key]

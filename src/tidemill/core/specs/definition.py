"""The base of all definitions, and how a module's definitions are found and named."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from tidemill.core.errors import AlreadyExists, InvalidArgument, unknown
from tidemill.core.ids import check_name, digest_text


class Definition:
    """Something a user defines and Tidemill applies. Named in the code or after its variable.

    Subclasses set `kind` and give `describe`: everything that makes two definitions differ, as plain JSON.
    """

    kind: ClassVar[str]
    _name: str | None = None

    @property
    def name(self) -> str:
        """Its name.

        Raises:
            InvalidArgument: It was neither given a name nor found under a variable of a module.
        """
        if self._name is None:
            raise InvalidArgument(
                f"a {self.kind.replace('_', ' ')} has no name yet",
                hint="Pass name=..., or assign it to a variable of a file listed in tidemill.toml",
            )
        return self._name

    def bind(self, name: str) -> None:
        """Give the name, once; a second, different name is an error."""
        check_name(name, f"name of a {self.kind.replace('_', ' ')}")
        if self._name not in (None, name):
            raise AlreadyExists(f"{self.kind} {self._name!r} is also assigned to the variable {name!r}")
        object.__setattr__(self, "_name", name)

    @property
    def is_named(self) -> bool:
        """Whether it has a name."""
        return self._name is not None

    def describe(self) -> dict[str, Any]:
        """Everything that makes this definition what it is, as plain JSON."""
        raise TypeError(f"{type(self).__name__} does not describe itself")

    def digest(self) -> str:
        """A digest of the description; equal definitions have equal digests."""
        return digest_text(self.kind, msgspec.json.encode(self.describe(), order="sorted").decode())


@dataclass(frozen=True)
class Definitions:
    """All definitions of a project, by kind and name."""

    items: Mapping[tuple[str, str], Definition]

    def of_kind(self, kind: str) -> dict[str, Any]:
        """The definitions of one kind by name."""
        return {name: item for (k, name), item in self.items.items() if k == kind}

    def get(self, kind: str, name: str) -> Any:
        """One definition.

        Raises:
            NotFound: There is none of that name; the message lists those that exist.
        """
        found = self.items.get((kind, name))
        if found is None:
            raise unknown(kind.replace("_", " "), name, self.of_kind(kind))
        return found


def collect(modules: Iterable[types.ModuleType]) -> Definitions:
    """Find the definitions of some modules and name them after their variables.

    Raises:
        AlreadyExists: Two different definitions of one kind share a name.
    """
    items: dict[tuple[str, str], Definition] = {}
    for module in modules:
        for variable, value in vars(module).items():
            if isinstance(value, Definition):
                if not value.is_named:
                    value.bind(variable)
                _add(items, value)
    return Definitions(items)


def _add(items: dict[tuple[str, str], Definition], value: Definition) -> None:
    key = (value.kind, value.name)
    other = items.setdefault(key, value)
    if other is not value and other.digest() != value.digest():
        raise AlreadyExists(f"two different definitions share the name {value.kind} {value.name!r}", hint="Rename one")

"""The catalog: every version of every applied definition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tidemill.core.errors import unknown
from tidemill.core.records.events import DefinitionVersion, Event
from tidemill.core.scope import Scope
from tidemill.core.specs.definition import Definition, Definitions
from tidemill.stores.metadata.protocol import MetadataStore, Reader, Writer
from tidemill.tracking.references import source_text, uses

KINDS = (
    "source", "feature_view", "on_demand", "feature_service", "label", "step", "pipeline", "graph", "monitor",
)  # fmt: skip
"""Kinds of definitions in the order they are applied: what is used comes before what uses it."""

Key = tuple[str, str]
"""Kind and name."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What applying does to one definition."""

    kind: str
    name: str
    action: str
    """`new`, `changed`, `same` or `removed`."""
    consumers: tuple[str, ...] = ()
    """What uses it, directly or not, as `KIND/NAME`."""

    @property
    def subject(self) -> str:
        """`KIND/NAME`."""
        return f"{self.kind}/{self.name}"


class Catalog:
    """Applied definitions of a project.

    Args:
        scope: Project, principal and clock.
        metadata: Where they are kept.
    """

    def __init__(self, scope: Scope, *, metadata: MetadataStore) -> None:
        self._scope = scope
        self._metadata = metadata

    def plan(self, definitions: Definitions) -> list[Change]:
        """What `apply` would do, without doing it: sources first, monitors last, removals at the end."""
        with self._metadata.read() as reader:
            return _changes(definitions, self._current(reader))

    def apply(self, definitions: Definitions) -> list[Change]:
        """Make these the project's definitions, in one transaction; what is the same stays as it is.

        Every definition that is new, changed or removed is an event `definition.applied`. Versions are never deleted.
        """
        written = {key: _Written(item) for key, item in definitions.items.items()}
        with self._metadata.write() as writer:
            current = self._current(writer)
            changes = _changes(definitions, current)
            for change in changes:
                key = (change.kind, change.name)
                if change.action != "same":
                    self._write(writer, change, written.get(key), current.get(key))
        return changes

    def _write(
        self, writer: Writer, change: Change, written: _Written | None, current: DefinitionVersion | None
    ) -> None:
        where = {"project": self._scope.project, "kind": change.kind, "name": change.name}
        writer.change(DefinitionVersion, {**where, "current": True}, current=False)
        stamp, number = self._scope.stamp(), 0 if current is None else current.version
        if written is not None:
            past = writer.find(DefinitionVersion, where, order=["-version"], limit=1)
            number = past[0].version + 1 if past else 1
            writer.add(DefinitionVersion(**stamp, kind=change.kind, name=change.name, version=number,
                                         digest=written.digest, body=written.body, source=written.source))  # fmt: skip
        facts = {"action": change.action, "version": number, "digest": None if written is None else written.digest,
                 "consumers": list(change.consumers)}  # fmt: skip
        writer.emit(Event(**stamp, kind="definition.applied", subject=change.subject, body=facts))

    def _current(self, reader: Reader) -> dict[Key, DefinitionVersion]:
        found = reader.find(DefinitionVersion, {"project": self._scope.project, "current": True})
        return {(one.kind, one.name): one for one in found}

    def current(self, kind: str | None = None) -> list[DefinitionVersion]:
        """The definitions in force, by kind and name.

        Args:
            kind: Only of this kind.
        """
        with self._metadata.read() as reader:
            found = self._current(reader)
        return [one for key, one in sorted(found.items(), key=lambda item: _rank(item[0])) if kind in (None, key[0])]

    def versions(self, kind: str, name: str) -> list[DefinitionVersion]:
        """All versions of a definition, newest first.

        Raises:
            NotFound: It was never applied; the message lists those of its kind.
        """
        where = {"project": self._scope.project, "kind": kind}
        with self._metadata.read() as reader:
            found = reader.find(DefinitionVersion, {**where, "name": name}, order=["-version"])
            if not found:
                known = {one.name for one in reader.find(DefinitionVersion, where)}
                raise unknown(kind.replace("_", " "), name, known)
        return found


class _Written:
    """A definition as it is kept; made before the transaction, since reading source code takes a while."""

    def __init__(self, definition: Definition) -> None:
        self.digest = definition.digest()
        self.body = definition.describe()
        self.source = source_text(definition)


def _changes(definitions: Definitions, current: Mapping[Key, DefinitionVersion]) -> list[Change]:
    consumers = consumers_of(definitions.items.values())
    kept = sorted(definitions.items, key=_rank)
    gone = sorted((key for key in current if key not in definitions.items), key=_rank, reverse=True)
    changes = [_change(key, definitions.items[key], current.get(key), consumers.get(key, ())) for key in kept]
    return [*changes, *(Change(kind=kind, name=name, action="removed") for kind, name in gone)]


def _change(key: Key, item: Definition, current: DefinitionVersion | None, consumers: Sequence[Key]) -> Change:
    action = "new" if current is None else ("same" if current.digest == item.digest() else "changed")
    subjects = tuple(f"{kind}/{name}" for kind, name in sorted(consumers, key=_rank))
    return Change(kind=key[0], name=key[1], action=action, consumers=subjects)


def consumers_of(definitions: Iterable[Definition]) -> dict[Key, list[Key]]:
    """For each definition that is used: all that use it, directly or through others."""
    direct: dict[Key, set[Key]] = {}
    for item in definitions:
        for used in uses(item):
            if used.is_named:
                direct.setdefault((used.kind, used.name), set()).add((item.kind, item.name))
    return {key: _reached(key, direct) for key in direct}


def _reached(key: Key, direct: Mapping[Key, set[Key]]) -> list[Key]:
    seen: set[Key] = set()
    queue = [key]
    while queue:
        fresh = direct.get(queue.pop(), set()) - seen
        seen |= fresh
        queue.extend(fresh)
    return sorted(seen - {key})


def _rank(key: Key) -> tuple[int, str, str]:
    kind, name = key
    return (KINDS.index(kind) if kind in KINDS else len(KINDS), kind, name)

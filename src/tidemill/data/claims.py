"""Whose a source is: its table has the source's name, and one home may hold several projects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tidemill.core.errors import AlreadyExists
from tidemill.core.records.data import Arrival
from tidemill.core.records.events import DefinitionVersion, Position
from tidemill.core.scope import Scope
from tidemill.stores.metadata.protocol import MetadataStore, Reader


@dataclass(frozen=True)
class Claims:
    """Keeps a project from writing into the table of another one's source.

    The first project that writes a source claims its name. In a home from before there were claims, those hold a name that
    brought rows under it, or applied a source of that name before anybody claims it.
    All calls about one source are made under the guard of its table.
    """

    scope: Scope
    metadata: MetadataStore
    _held: set[str] = field(default_factory=set)

    def claim(self, source: str, kept: Callable[[], bool]) -> None:
        """Claim a source, unless that was done before.

        Args:
            source: Its name.
            kept: Whether these stores keep rows under that name; if not, projects share their records only.

        Raises:
            AlreadyExists: The rows are another project's.
        """
        if source in self._held:
            return
        mine = Position(**self.scope.stamp(), consumer=f"writes/{source}", feed=self.scope.project, position=0)
        with self.metadata.read() as reader:
            claimed = reader.get(Position, consumer=mine.consumer, feed=mine.feed) is not None
            others = set() if claimed else self._others(reader, source)
        if others and kept():
            raise AlreadyExists(
                f"the rows of source {source!r} in this home are those of project {min(others)!r}",
                expected="a name that is no other project's source",
                hint="Name the source otherwise, or give this project a home= of its own",
            )
        if not claimed:
            with self.metadata.write() as writer:
                writer.put(mine)
        self._held.add(source)

    def _others(self, reader: Reader, source: str) -> set[str]:
        """The projects that keep this one from claiming a source."""
        own = {"project": self.scope.project}
        if reader.find(Arrival, {**own, "source": source}, limit=1):
            return set()
        claims = {one.feed for one in reader.find(Position, {"consumer": f"writes/{source}"})}
        if not claims and reader.find(DefinitionVersion, {**own, "kind": "source", "name": source}, limit=1):
            return set()
        return claims or {one.project for one in reader.find(Arrival, {"source": source})}

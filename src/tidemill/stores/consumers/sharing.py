"""Partitions divided among the processes of a group, for brokers that do not do it themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from tidemill.core.errors import InvalidData
from tidemill.stores.consumers.protocol import Checkpoint, earliest

LEASE = 10.0
"""Seconds for which a partition stays with a process that no longer says that it lives."""


class Claims(Protocol):
    """Where the processes of a group see each other. A claim ends by itself when its process stops renewing it."""

    def members(self) -> Sequence[str]:
        """All living processes, this one included, in an order that is the same for all; tells them of this one."""
        ...

    def take(self, partition: str) -> bool:
        """Claim a partition that nobody holds; whether it worked."""
        ...

    def keep(self, partition: str) -> bool:
        """Renew a claim; whether it was still held."""
        ...

    def give(self, partition: str) -> None:
        """End a claim, so that others may take the partition at once."""
        ...

    def leave(self) -> None:
        """Tell the others that this process is gone."""
        ...


class Sharing:
    """The partitions that are this process's, and the place in each.

    Every process orders the partitions and the living members alike and claims each n-th partition. What a member that
    came or went changes takes effect within a third of the lease; a claim makes sure that no two hold one meanwhile.

    Args:
        claims: Where the processes see each other.
        me: This process among the members.
        lease: Seconds for which a claim lasts.
        partitions: Looks for the partitions there are.
    """

    def __init__(self, claims: Claims, me: str, lease: float, partitions: Callable[[], Iterable[str]]) -> None:
        self._claims = claims
        self._me = me
        self._pause = lease / 3
        self._partitions = partitions
        self._checkpoint: Checkpoint = earliest
        self._due = time.monotonic()
        self.places: dict[str, str | None] = {}
        """The position of the last event read, by partition that is held; None: before the earliest."""

    @property
    def wait(self) -> float:
        """Seconds until `refresh` has something to do."""
        return max(self._due - time.monotonic(), 0.0)

    def seek(self, checkpoint: Checkpoint) -> None:
        """Go on after these positions, now and in partitions that come later."""
        self._checkpoint = checkpoint
        self.places = {partition: checkpoint(partition) for partition in self.places}

    def refresh(self) -> None:
        """Renew the claims, take partitions that became ours and give away those that did not stay; when it is time."""
        if self.wait > 0:
            return
        partitions = sorted(self._partitions())
        ours = share(partitions, self._claims.members(), self._me)
        for partition in list(self.places):
            if partition not in ours:
                del self.places[partition]
                self._claims.give(partition)
            elif not self._claims.keep(partition):
                del self.places[partition]  # it was late, and another one may have read on meanwhile
        for partition in ours:
            if partition not in self.places and self._claims.take(partition):
                self._begin(partition)
        self._due = time.monotonic() + self._pause

    def _begin(self, partition: str) -> None:
        try:
            self.places[partition] = self._checkpoint(partition)
        except BaseException:
            self._claims.give(partition)  # to be taken by the next look, of this process or another one
            raise

    def leave(self) -> None:
        """Give everything back."""
        for partition in self.places:
            self._claims.give(partition)
        self.places = {}
        self._claims.leave()


def share(partitions: Sequence[str], members: Sequence[str], me: str) -> list[str]:
    """The partitions that fall to one member.

    Args:
        partitions: All partitions, in an order that all members see alike.
        members: All members, in an order that they see alike.
        me: The member.

    Example:
        >>> share(["p0", "p1", "p2"], ["ann", "bob"], "ann")
        ['p0', 'p2']
    """
    if me not in members:
        return []
    return list(partitions[members.index(me) :: len(members)])


def made_anew(partition: str) -> InvalidData:
    """The error for a partition that ends before the position after which it should be read.

    Args:
        partition: The partition.
    """
    return InvalidData(
        f"the partition {partition!r} ends before the position up to which it was read: it was deleted and made anew",
        hint="To read the new one from its start, forget the old positions, or read as another group",
    )

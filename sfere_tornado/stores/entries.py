"""The entries of a store: by key and pattern, by the end of their lease, by idleness.

``ended`` in the methods below is the time when entries past their lease are still stored, because
removing all of them in one call would take too long. Readers then look at each entry that matches.
It is None otherwise, and in a store without leases: all that is stored is alive.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

from .base import Removal
from .index import EVERYTHING, GONE, Index, StoreEntry

if TYPE_CHECKING:
    from ..defaults import Source
    from ..keys import Key, Pattern
    from .base import Cause
    from .leases import Leases

__all__ = ("Entries",)

C = TypeVar("C")


class Entries(Generic[C]):
    """An index of entries, with leases or without.

    Args:
        leases: when entries end; None for never.
        evicting: whether the entry whose last sign of life is the oldest is asked for.
    """

    __slots__ = ("idle", "index", "leases")

    def __init__(self, leases: Leases[C] | None, *, evicting: bool) -> None:
        self.index: Index[C] = Index()
        self.leases: Leases[C] | None = leases
        #: Entries by their last sign of life, oldest first; None when the oldest is never evicted.
        self.idle: OrderedDict[StoreEntry[C], None] | None = OrderedDict() if evicting else None

    def __repr__(self) -> str:
        return f"<Entries: {self.index}, {self.leases}>"

    def add(self, key: Key, connection: C, first: StoreEntry[C] | None) -> None:
        """Add a connection under a key; ``first`` is an entry of the key, if there is one."""
        entry = self.index.add(key, connection, first)
        if self.idle is not None:
            self.idle[entry] = None
        if self.leases is not None:
            self.leases.begin(entry, first, self.index.size)

    def remove(self, entry: StoreEntry[C], cause: Cause, ended: float | None) -> Removal[C]:
        """Remove an entry; whatever removes it, the cause of one past its lease is ``expired``."""
        if ended is not None and entry.ends <= ended:
            cause = "expired"
        remaining = self.index.remove(entry)
        if self.idle is not None:
            del self.idle[entry]
        removal = Removal(entry.key, entry.connection, cause, remaining)
        # The heap of leases may keep the entry for a while; the connection must not stay with it.
        entry.ends = GONE
        del entry.connection
        return removal

    def renew(self, entries: list[StoreEntry[C]], source: Source | None) -> None:
        """Record a sign of life; storing again, source None, always counts as one."""
        if self.leases is not None:
            if source is not None and source not in self.leases.renewed_by:
                return
            self.leases.renew(entries)
        if self.idle is not None:
            for entry in entries:
                self.idle.move_to_end(entry)

    def alive(self, pattern: Key | Pattern, ended: float | None) -> list[StoreEntry[C]]:
        """Return the entries that match and are not past their lease."""
        entries = self.index.entries(pattern)
        return list(entries) if ended is None else [each for each in entries if each.ends > ended]

    def alive_of(self, connection: object, ended: float | None) -> list[StoreEntry[C]]:
        """Return the entries of a connection that are not past their lease, oldest first."""
        entries = self.index.entries_of(connection)
        return entries if ended is None else [each for each in entries if each.ends > ended]

    def members(self, pattern: Key | Pattern, ended: float | None) -> dict[int, C]:
        """Return the living connections that match, by identity; the caller must not change it."""
        if ended is None:
            return self.index.members(pattern)
        return {entry.ident: entry.connection for entry in self.alive(pattern, ended)}

    def size(self, ended: float | None) -> int:
        """Return how many entries are not past their lease."""
        return self.index.size if ended is None else len(self.alive(EVERYTHING, ended))

"""Connections by pattern, at the cost of what matches, whatever else is stored.

How it works. A pattern binds some of the three parts of a key: eight masks. For each mask a dict
leads from the bound parts to the group of connections whose keys have them. Finding is one look-up,
and listing copies a dict's values. A group of one is the connection itself: the four masks that
bind the id have mostly such groups, and a dict for each would cost more memory than all else here.
The groups of a mask are made on the first look-up with that mask, at the cost of one look at
everything. An application uses two or three of the eight, mostly before connections come.

Groups are keyed by ``id(connection)``: connections need no hash, and equal ones are not confused. A
connection that is in a group under two keys is there once. How often it is there beyond that, which
is mostly never, is counted apart.

Not here: time, bounds and callbacks. Not thread-safe.
"""

from __future__ import annotations

from itertools import count
from math import inf
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from ..keys import ANY, Key, Pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ("EVERYTHING", "GONE", "StoreEntry", "Group", "Index")

#: The pattern that matches every key.
EVERYTHING: Final = Pattern(ANY, (ANY, ANY))

#: The end of the lease of an entry that has been removed.
GONE: Final = -inf

#: Deletions in a group, beyond its size, before it is copied. A dict keeps the places of deleted
#: items and walks over them, so the ten left of ten thousand would cost ten thousand.
_SPARSE: Final = 32

#: The number of the mask that binds all parts, that is of whole keys.
_EXACT: Final = 7

C = TypeVar("C")


class StoreEntry(Generic[C]):
    """One connection under one key, with its lease.

    Args:
        key: the key.
        connection: the connection.
        order: the place of the key among all keys; shared by the entries of one key.
    """

    __slots__ = ("connection", "ends", "ident", "key", "order", "ttl")

    def __init__(self, key: Key, connection: C, order: int) -> None:
        self.key: Key = key
        self.connection: C = connection
        self.order: int = order
        self.ident: int = id(connection)
        #: When its lease ends, on the store's timer; without leases, never.
        self.ends: float = inf
        #: Seconds for which a sign of life renews the lease; None when nothing does.
        self.ttl: float | None = None

    def __repr__(self) -> str:
        return f"<StoreEntry {self.key} until {self.ends}>"


class Group(dict[int, C]):
    """Two or more connections that share the bound parts of a mask, in order of coming."""

    __slots__ = ("deleted",)

    def __init__(self, items: Iterable[tuple[int, C]] | Group[C] = ()) -> None:
        super().__init__(items)
        #: Deletions since the group was made.
        self.deleted: int = 0


class Index(Generic[C]):
    """Entries by key, by pattern and by connection."""

    __slots__ = ("_entries", "_groups", "_masks", "_numbers", "_repeats", "size")

    def __init__(self) -> None:
        #: Entries in it.
        self.size: int = 0
        self._groups: tuple[dict[Any, C | Group[C]], ...] = tuple({} for _ in range(8))
        # The masks whose groups are kept.
        self._masks: list[int] = [_EXACT]
        # By id(connection): its entry, or, when it has several keys, those by key.
        self._entries: dict[int, StoreEntry[C] | dict[Key, StoreEntry[C]]] = {}
        # How many times more than once a connection is in a group: by mask, bound parts and
        # id(connection).
        self._repeats: dict[tuple[int, Any, int], int] = {}
        self._numbers: Iterator[int] = count()

    def __repr__(self) -> str:
        return f"<Index of {len(self._entries)} connections under {self.key_count} keys>"

    @property
    def key_count(self) -> int:
        """How many keys have a connection."""
        return len(self._groups[_EXACT])

    @property
    def connection_count(self) -> int:
        """How many connections there are, each counted once."""
        return len(self._entries)

    def add(self, key: Key, connection: C, first: StoreEntry[C] | None) -> StoreEntry[C]:
        """Add a connection under a key that does not have it yet.

        Args:
            key: the key.
            connection: the connection.
            first: what :meth:`first_at` returned for the key. The caller needs it too, so it is
                looked up once.
        """
        entry = StoreEntry(key, connection, next(self._numbers) if first is None else first.order)
        ident = entry.ident
        bounds = _bounds(key)
        for mask in self._masks:
            groups, bound = self._groups[mask], bounds[mask]
            group = groups.get(bound)
            if group is None:
                groups[bound] = connection
            elif isinstance(group, Group) and ident not in group:
                group[ident] = connection
            else:
                self._join(mask, bound, group, connection)
        others = self._entries.get(ident)
        if others is None:
            self._entries[ident] = entry
        elif isinstance(others, StoreEntry):
            self._entries[ident] = {others.key: others, key: entry}
        else:
            others[key] = entry
        self.size += 1
        return entry

    def remove(self, entry: StoreEntry[C]) -> int:
        """Remove an entry; return how many connections its key still has."""
        ident = entry.ident
        remaining = 0
        bounds = _bounds(entry.key)
        for mask in self._masks:
            bound = bounds[mask]
            if self._repeats and self._was_repeat(mask, bound, ident):
                continue
            groups = self._groups[mask]
            group = groups[bound]
            if not isinstance(group, Group):
                del groups[bound]
                continue
            del group[ident]
            group.deleted += 1
            if mask == _EXACT:
                remaining = len(group)
            if len(group) == 1:
                groups[bound] = next(iter(group.values()))
            elif group.deleted > len(group) + _SPARSE:
                groups[bound] = Group(group)
        others = self._entries[ident]
        if isinstance(others, StoreEntry):
            del self._entries[ident]
        else:
            del others[entry.key]
            if len(others) == 1:
                self._entries[ident] = next(iter(others.values()))
        self.size -= 1
        return remaining

    def members(self, pattern: Key | Pattern) -> dict[int, C]:
        """Return the connections that match, by identity; the caller must not change the dict."""
        # As _mask, and _bounds of the one mask: this is what each broadcast asks.
        scope, inner = pattern
        category, item_id = inner
        if scope is ANY:
            if item_id is ANY:
                mask, bound = (0, None) if category is ANY else (2, category)
            else:
                mask, bound = (4, item_id) if category is ANY else (6, inner)
        elif item_id is ANY:
            mask, bound = (1, scope) if category is ANY else (3, (scope, category))
        else:
            mask, bound = (5, (scope, item_id)) if category is ANY else (7, pattern)
        return self._members(mask, bound)

    def entries(self, pattern: Key | Pattern) -> Iterator[StoreEntry[C]]:
        """Return the entries that match, in order of their connections."""
        mask = _mask(pattern)
        bound = _bounds(pattern)[mask]
        for ident in self._members(mask, bound):
            entry = self._entries[ident]
            if isinstance(entry, StoreEntry):
                yield entry
            else:
                # A connection with several keys is in the group because of at least one of them.
                yield from (each for each in entry.values() if _bounds(each.key)[mask] == bound)

    def entries_of(self, connection: object) -> list[StoreEntry[C]]:
        """Return all entries of a connection, oldest first."""
        entries = self._entries.get(id(connection))
        if isinstance(entries, StoreEntry):
            return [entries]
        return [] if entries is None else list(entries.values())

    def entry(self, key: Key, connection: object) -> StoreEntry[C] | None:
        """Return the entry of a connection under a key, if there is one."""
        entry = self._entries.get(id(connection))
        if isinstance(entry, StoreEntry):
            return entry if entry.key == key else None
        return None if entry is None else entry.get(key)

    def first_at(self, key: Key) -> StoreEntry[C] | None:
        """Return one entry of a key, the oldest of those that are left."""
        group = self._groups[_EXACT].get(key)
        if group is None:
            return None
        entry = self._entries[next(iter(group)) if isinstance(group, Group) else id(group)]
        return entry if isinstance(entry, StoreEntry) else entry[key]

    def _members(self, mask: int, bound: Any) -> dict[int, C]:
        if mask not in self._masks:
            self._make(mask)
        group = self._groups[mask].get(bound)
        if group is None:
            return {}
        return group if isinstance(group, Group) else {id(group): group}

    def _make(self, mask: int) -> None:
        """Make the groups of a mask on its first look-up."""
        self._masks.append(mask)
        groups = self._groups[mask]
        for entries in self._entries.values():
            for entry in (entries,) if isinstance(entries, StoreEntry) else entries.values():
                bound = _bounds(entry.key)[mask]
                group = groups.get(bound)
                if group is None:
                    groups[bound] = entry.connection
                else:
                    self._join(mask, bound, group, entry.connection)

    def _join(self, mask: int, bound: Any, group: C | Group[C], connection: C) -> None:
        """Add a connection to a group that has others, or itself already."""
        ident = id(connection)
        if group is connection or (isinstance(group, Group) and ident in group):
            self._repeats[mask, bound, ident] = self._repeats.get((mask, bound, ident), 0) + 1
        elif isinstance(group, Group):
            group[ident] = connection
        else:
            self._groups[mask][bound] = Group(((id(group), group), (ident, connection)))

    def _was_repeat(self, mask: int, bound: Any, ident: int) -> bool:
        times = self._repeats.pop((mask, bound, ident), 0)
        if times > 1:
            self._repeats[mask, bound, ident] = times - 1
        return times > 0


def _mask(pattern: Key | Pattern) -> int:
    scope, (category, item_id) = pattern
    return (scope is not ANY) + 2 * (category is not ANY) + 4 * (item_id is not ANY)


def _bounds(pattern: Key | Pattern) -> tuple[Any, ...]:
    """Return the parts that each of the eight masks binds, by the mask's number."""
    # One call for all masks: a function for each would be called once per mask and connection.
    scope, inner = pattern
    category, item_id = inner
    return (
        None,
        scope,
        category,
        (scope, category),
        item_id,
        (scope, item_id),
        inner,
        pattern,
    )

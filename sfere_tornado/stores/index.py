"""Connections by pattern, at the cost of what matches, whatever else is stored.

How it works. A pattern binds some of the three parts of a key: eight masks. For each mask there is a dict from the
bound parts to the group of connections whose keys have them, so that finding is one look-up and listing is copying a
dict's values. A group of one is the connection itself: the four masks that bind the id have mostly such groups, and a
dict for each would cost more than everything else here. A mask's groups are made when somebody first asks for it, at the
cost of one look at everything: an application asks for two or three of the eight, mostly before anybody has come.

Groups are keyed by ``id(connection)``: connections need no hash, equal ones are not confused, and one that is in a
group under two keys is there once; how often it is there beyond that, which is mostly never, is counted aside.

Not here: time, bounds and callbacks. Not thread-safe.
"""

from __future__ import annotations

from itertools import count
from math import inf
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from ..keys import ANY, Key, Pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ("EVERYTHING", "GONE", "Entry", "Group", "Index")

#: The pattern that matches every key.
EVERYTHING: Final = Pattern(ANY, (ANY, ANY))

#: The end of the lease of an entry that has been removed.
GONE: Final = -inf

#: Deletions, beyond its size, that a group bears before it is copied: a dict keeps the places of deleted items and
#: walks over them, so the ten that are left of ten thousand would cost ten thousand.
_SPARSE: Final = 32

#: The number of the mask that binds all parts, that is of whole keys.
_EXACT: Final = 7

#: The parts that a mask binds, by its number.
_BOUND: Final[tuple[Callable[[Key | Pattern], Any], ...]] = (
    lambda key: None,
    lambda key: key[0],
    lambda key: key[1][0],
    lambda key: (key[0], key[1][0]),
    lambda key: key[1][1],
    lambda key: (key[0], key[1][1]),
    lambda key: key[1],
    lambda key: key,
)

C = TypeVar("C")


class Entry(Generic[C]):
    """One connection under one key, with its lease.

    Args:
        key: the key.
        connection: the connection.
        order: the place of the key among all keys; shared by the entries of one key.
    """

    __slots__ = ("connection", "ends", "ident", "key", "order", "ttl")

    def __init__(self, key: Key, connection: C, order: int) -> None:
        self.key = key
        self.connection = connection
        self.order = order
        self.ident = id(connection)
        #: When its lease ends, on the store's timer.
        self.ends = inf
        #: Seconds for which a sign of life renews the lease; None when nothing does.
        self.ttl: float | None = None

    def __repr__(self) -> str:
        return f"<Entry {self.key} until {self.ends}>"


class Group(dict[int, C]):
    """Two or more connections that share the bound parts of a mask, by identity, in order of coming."""

    __slots__ = ("deleted",)

    def __init__(self, items: Iterable[tuple[int, C]] | Group[C] = ()) -> None:
        super().__init__(items)
        #: Deletions since the group was made.
        self.deleted = 0


class Index(Generic[C]):
    """Entries by key, by pattern and by connection."""

    __slots__ = ("_groups", "_held", "_masks", "_numbers", "_repeats", "size")

    def __init__(self) -> None:
        #: Entries in it.
        self.size = 0
        self._groups: tuple[dict[Any, C | Group[C]], ...] = tuple({} for _ in range(8))
        # The masks whose groups are kept.
        self._masks: list[int] = [_EXACT]
        # By id(connection): its entry, or, when it has several keys, those by key.
        self._held: dict[int, Entry[C] | dict[Key, Entry[C]]] = {}
        # How many times more than once a connection is in a group: by mask, bound parts and id(connection).
        self._repeats: dict[tuple[int, Any, int], int] = {}
        self._numbers = count()

    def __repr__(self) -> str:
        return f"<Index of {len(self._held)} connections under {self.key_count} keys>"

    @property
    def key_count(self) -> int:
        """How many keys hold a connection."""
        return len(self._groups[_EXACT])

    @property
    def connection_count(self) -> int:
        """How many connections there are, each counted once."""
        return len(self._held)

    def add(self, key: Key, connection: C) -> Entry[C]:
        """Add a connection under a key that does not have it yet."""
        first = self.first_at(key)
        entry = Entry(key, connection, next(self._numbers) if first is None else first.order)
        ident = entry.ident
        for mask in self._masks:
            self._put(mask, _BOUND[mask](key), connection)
        held = self._held.get(ident)
        if held is None:
            self._held[ident] = entry
        elif isinstance(held, Entry):
            self._held[ident] = {held.key: held, key: entry}
        else:
            held[key] = entry
        self.size += 1
        return entry

    def remove(self, entry: Entry[C]) -> int:
        """Remove an entry; returns how many connections its key still has."""
        ident = entry.ident
        remaining = 0
        for mask in self._masks:
            bound = _BOUND[mask](entry.key)
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
        held = self._held[ident]
        if isinstance(held, Entry):
            del self._held[ident]
        else:
            del held[entry.key]
            if len(held) == 1:
                self._held[ident] = next(iter(held.values()))
        self.size -= 1
        return remaining

    def members(self, pattern: Key | Pattern) -> dict[int, C]:
        """Return the connections that match, by identity; the caller must not change the dict."""
        mask = _mask(pattern)
        if mask not in self._masks:
            self._make(mask)
        group = self._groups[mask].get(_BOUND[mask](pattern))
        if group is None:
            return {}
        return group if isinstance(group, Group) else {id(group): group}

    def entries(self, pattern: Key | Pattern) -> Iterator[Entry[C]]:
        """Return the entries that match, in order of their connections."""
        mask = _mask(pattern)
        bound = _BOUND[mask](pattern)
        for ident in self.members(pattern):
            held = self._held[ident]
            if isinstance(held, Entry):
                yield held
            else:
                # A connection with several keys is in the group because of at least one of them.
                yield from (entry for entry in held.values() if _BOUND[mask](entry.key) == bound)

    def entry(self, key: Key, connection: object) -> Entry[C] | None:
        """Return the entry of a connection under a key, if there is one."""
        held = self._held.get(id(connection))
        if isinstance(held, Entry):
            return held if held.key == key else None
        return None if held is None else held.get(key)

    def entries_of(self, connection: object) -> list[Entry[C]]:
        """Return all entries of a connection, oldest first."""
        held = self._held.get(id(connection))
        if isinstance(held, Entry):
            return [held]
        return [] if held is None else list(held.values())

    def first_at(self, key: Key) -> Entry[C] | None:
        """Return one entry of a key, the oldest of those that are left."""
        return next(self.entries(key), None)

    def _make(self, mask: int) -> None:
        """Make the groups of a mask that nobody has asked for until now."""
        self._masks.append(mask)
        for held in self._held.values():
            for entry in (held,) if isinstance(held, Entry) else held.values():
                self._put(mask, _BOUND[mask](entry.key), entry.connection)

    def _put(self, mask: int, bound: Any, connection: C) -> None:
        groups = self._groups[mask]
        ident = id(connection)
        there = groups.get(bound)
        if there is None:
            groups[bound] = connection
        elif there is connection or (isinstance(there, Group) and ident in there):
            self._repeats[mask, bound, ident] = self._repeats.get((mask, bound, ident), 0) + 1
        elif isinstance(there, Group):
            there[ident] = connection
        else:
            groups[bound] = Group(((id(there), there), (ident, connection)))

    def _was_repeat(self, mask: int, bound: Any, ident: int) -> bool:
        times = self._repeats.pop((mask, bound, ident), 0)
        if times > 1:
            self._repeats[mask, bound, ident] = times - 1
        return times > 0


def _mask(pattern: Key | Pattern) -> int:
    scope, (category, item_id) = pattern
    return (scope is not ANY) + 2 * (category is not ANY) + 4 * (item_id is not ANY)

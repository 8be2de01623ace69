"""A store in memory from which nobody is taken for being quiet.

How it works. Entries live in an :class:`~.index.Index`; each public method is one :class:`~.turn.Turn`. When a full
store evicts, the entries also stand in the order of their last sign of life. Entries have the end of a lease, which
never comes here: a subclass that adds leases overrides the methods from :meth:`MemoryStore._put` on.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeVar

from ..defaults import MAXSIZE, OnFull, SameKey, Source
from ..errors import KeyShapeError, KeyTakenError, StoreError, StoreFullError
from ..keys import Key, Pattern, as_key, as_pattern
from .base import (
    MAX_KEYS_PER_CONNECTION,
    CategoryRules,
    Cause,
    Removal,
    Store,
    one_of,
)
from .index import EVERYTHING, GONE, Index
from .turn import MAX_CALLBACKS_IN_A_ROW, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .index import Entry

__all__ = ("MemoryStore",)

C = TypeVar("C")


class MemoryStore(Store[C]):
    """Connections that stay until they are removed.

    Args:
        same_key: what a second connection under a held key does: ``join`` (all of the key are reached), ``replace``
            (the newest wins, the others leave) or ``refuse``.
        maxsize: connections under keys that it takes, 1 or more.
        on_full: what it does at ``maxsize``: ``refuse`` a newcomer, or ``evict`` the one that has been stored and asked
            for longest ago.
        categories: what is different for the keys of a category.
        on_evict: see :class:`~.base.Store`; may also be set as an attribute, like ``on_removal``.

    Raises:
        ValueError: for a setting outside its range.
    """

    def __init__(
        self,
        *,
        same_key: SameKey = "join",
        maxsize: int = MAXSIZE,
        on_full: OnFull = "refuse",
        categories: Mapping[Any, CategoryRules] | None = None,
        on_evict: Callable[[Key, C, Cause], object] | None = None,
    ) -> None:
        if isinstance(maxsize, bool) or not isinstance(maxsize, int) or maxsize < 1:
            raise ValueError(f"maxsize is a whole number from 1, not {maxsize!r}")
        self.maxsize = maxsize
        self.same_key: SameKey = one_of(same_key, SameKey, "same_key")
        self.on_full: OnFull = one_of(on_full, OnFull, "on_full")
        self.on_removal: Callable[[Removal[C]], object] | None = None
        self.on_evict = on_evict
        self._same_key = self._read_categories(categories or {})
        self._index: Index[C] = Index()
        # Whatever its size, all that it holds may leave in one call.
        self._turn = Turn(type(self).__name__, max(MAX_CALLBACKS_IN_A_ROW, 2 * maxsize))
        # Entries by their last sign of life, oldest first; kept only where somebody will ask for the oldest.
        self._idle: OrderedDict[Entry[C], None] | None = (
            OrderedDict() if on_full == "evict" else None
        )

    def __repr__(self) -> str:
        index = self._index
        return (
            f"<{type(self).__name__}: {index.connection_count} connections under {index.key_count} keys, "
            f"{self._settings()}>"
        )

    def __len__(self) -> int:
        with self._turn:
            return self._size(self._catch_up())

    def __contains__(self, key: object) -> bool:
        return bool(self.peek(key))

    def put(self, key: object, connection: C) -> list[Removal[C]]:
        """Store a connection under a key; see :meth:`.Store.put`."""
        wanted = as_key(key)
        if connection is None:
            raise StoreError("there is no connection to store, only None", wanted)
        with self._turn:
            return self._put(wanted, connection)

    def get(self, key: object) -> tuple[C, ...]:
        """Return the connections of a key because its client asked; see :meth:`.Store.get`."""
        wanted = as_key(key)
        with self._turn:
            now = self._catch_up()
            found = [entry for entry in self._index.entries(wanted) if entry.ends > now]
            for entry in found:
                self._renew(entry, now, "request")
            return tuple([entry.connection for entry in found])

    def peek(self, key: object) -> tuple[C, ...]:
        """Return the connections of a key without renewing anything."""
        wanted = as_key(key)
        with self._turn:
            return tuple(self._members(wanted, self._catch_up()).values())

    def renew(self, connection: object) -> bool:
        """Take note that a connection itself gave a sign of life; see :meth:`.Store.renew`."""
        with self._turn:
            now = self._catch_up()
            found = [entry for entry in self._index.entries_of(connection) if entry.ends > now]
            for entry in found:
                self._renew(entry, now, "ack")
            return bool(found)

    def purge(self, key: object) -> list[Removal[C]]:
        """Remove all connections of a key; see :meth:`.Store.purge`."""
        wanted = as_key(key)
        with self._turn:
            now = self._catch_up()
            return [
                self._remove(entry, "explicit", now) for entry in list(self._index.entries(wanted))
            ]

    def purge_connection(self, connection: object) -> list[Removal[C]]:
        """Remove a connection from all its keys; see :meth:`.Store.purge_connection`."""
        with self._turn:
            now = self._catch_up()
            removed = []
            for entry in self._index.entries_of(connection):
                removed.append(self._remove(entry, "explicit", now))  # noqa: PERF401  # each close comes here, and a comprehension is a call
            return removed

    def clear(self) -> list[Removal[C]]:
        """Remove everything, cause ``explicit``."""
        with self._turn:
            now = self._catch_up()
            return [
                self._remove(entry, "explicit", now)
                for entry in list(self._index.entries(EVERYTHING))
            ]

    def keys(self, pattern: object | None = None) -> list[Key]:
        """Return the held keys that match a pattern, or all; see :meth:`.Store.keys`."""
        wanted = EVERYTHING if pattern is None else as_pattern(pattern)
        with self._turn:
            now = self._catch_up()
            found = {
                entry.order: entry.key for entry in self._index.entries(wanted) if entry.ends > now
            }
        return [found[order] for order in sorted(found)]

    def keys_of(self, connection: object) -> tuple[Key, ...]:
        """Return the keys that a connection is stored under, oldest first."""
        with self._turn:
            now = self._catch_up()
            return tuple(
                [entry.key for entry in self._index.entries_of(connection) if entry.ends > now]
            )

    def connections(self, pattern: object, exclude: object = ()) -> list[C]:
        """Return the connections whose key matches, each once; see :meth:`.Store.connections`."""
        wanted = as_pattern(pattern)
        left_out = _patterns(exclude)
        with self._turn:
            now = self._catch_up()
            found = self._members(wanted, now)
            if left_out:
                found = found.copy()
                for each in left_out:
                    # The intersection of two dicts' keys walks over the smaller one only.
                    for ident in found.keys() & self._members(each, now).keys():
                        del found[ident]
            return list(found.values())

    def count(self, pattern: object | None = None) -> int:
        """Return how many connections match a pattern, or are stored at all; see :meth:`.Store.count`."""
        wanted = EVERYTHING if pattern is None else as_pattern(pattern)
        with self._turn:
            return len(self._members(wanted, self._catch_up()))

    def same_key_of(self, category: object) -> SameKey:
        """Return what a second connection under a held key of a category does."""
        return self._same_key.get(category, self.same_key)

    def expire(self) -> list[Removal[C]]:
        """Remove nothing: nothing here has a lease."""
        with self._turn:
            return []

    def next_expiry(self) -> float | None:
        """Return None: nothing here has a lease."""
        return None

    def _put(self, key: Key, connection: C) -> list[Removal[C]]:
        index = self._index
        now = self._catch_up()
        known = index.entry(key, connection)
        if known is not None:
            self._restore(known, now)
            return []
        if len(index.entries_of(connection)) >= MAX_KEYS_PER_CONNECTION:
            raise StoreError(
                f"the connection has {MAX_KEYS_PER_CONNECTION} keys already, which is the limit; purge one first",
                key,
            )
        same_key = self.same_key_of(key.category)
        first = index.first_at(key)
        if first is not None and same_key == "refuse":
            raise KeyTakenError(key)
        leaving = list(index.entries(key)) if same_key == "replace" else []
        if self._idle is None and index.size - len(leaving) >= self.maxsize:
            raise StoreFullError(key, self.maxsize)
        # The newcomer enters before others leave, so that each removal knows that its key is still held.
        self._enter(index.add(key, connection), first, now)
        removed = [self._remove(entry, "replaced", now) for entry in leaving]
        while self._idle is not None and index.size > self.maxsize:
            removed.append(self._remove(next(iter(self._idle)), "size", now))
        return removed

    def _members(self, pattern: Key | Pattern, now: float) -> dict[int, C]:
        """Return the connections that match, by identity; the caller must not change the dict."""
        return self._index.members(pattern)

    def _size(self, now: float) -> int:
        return self._index.size

    def _remove(self, entry: Entry[C], cause: Cause, now: float) -> Removal[C]:
        if entry.ends <= now:
            # Whoever found it, its lease had ended before.
            cause = "expired"
        remaining = self._index.remove(entry)
        if self._idle is not None:
            del self._idle[entry]
        removal = Removal(entry.key, entry.connection, cause, remaining)
        # A lease may keep the entry for a while; the connection must not stay with it.
        entry.ends = GONE
        del entry.connection
        if self.on_removal is not None:
            self._turn.call_after(self.on_removal, removal)
        if self.on_evict is not None and (remaining == 0 or cause == "replaced"):
            self._turn.call_after(self.on_evict, removal.key, removal.connection, cause)
        return removal

    def _catch_up(self) -> float:
        """Begin a call: return the time, having removed some of what is past its lease."""
        return 0.0

    def _enter(self, entry: Entry[C], first: Entry[C] | None, now: float) -> None:
        """Take note of a new entry; ``first`` is one that held the key before it."""
        if self._idle is not None:
            self._idle[entry] = None

    def _restore(self, entry: Entry[C], now: float) -> None:
        """Take note that a connection was stored again under a key it has."""
        if self._idle is not None:
            self._idle.move_to_end(entry)

    def _renew(self, entry: Entry[C], now: float, source: Source) -> None:
        """Take note of a sign of life."""
        if self._idle is not None:
            self._idle.move_to_end(entry)

    def _read_categories(self, categories: Mapping[Any, CategoryRules]) -> dict[Any, SameKey]:
        """Check the rules of categories and return those about a same key."""
        for category, rules in categories.items():
            if not isinstance(rules, CategoryRules):
                raise ValueError(  # noqa: TRY004  # a setting, like the others
                    f"the rules of category {category!r} are CategoryRules(...), not {rules!r}"
                )
            if rules.same_key is not None:
                one_of(rules.same_key, SameKey, f"same_key of category {category!r}")
            self._read_lease(f"of category {category!r}", rules)
        return {
            category: rules.same_key
            for category, rules in categories.items()
            if rules.same_key is not None
        }

    def _read_lease(self, whose: str, rules: CategoryRules) -> None:
        if rules.ttl is not None or rules.expiry is not None:
            raise ValueError(
                f"ttl and expiry {whose} need an expiring store; a memory store has no leases"
            )

    def _settings(self) -> str:
        return f"{self.same_key}, maxsize {self.maxsize}, {self.on_full}"


def _patterns(exclude: object) -> tuple[Key | Pattern, ...]:
    if isinstance(exclude, (Key, Pattern)):
        return (as_pattern(exclude),)
    if not isinstance(exclude, (tuple, list, set, frozenset)):
        raise KeyShapeError("exclude takes a set or list of keys, or one Pattern", exclude)
    return tuple([as_key(key) for key in exclude])

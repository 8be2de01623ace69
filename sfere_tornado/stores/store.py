"""The store in memory, with leases or without.

How it works. Each public method removes a slice of what has ended, does its work, then
runs the callbacks it caused (:mod:`sfere_tornado.callbacks`); an empty queue costs no call.
``ended`` is explained in :mod:`.entries`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar

from ..callbacks import MAX_CALLBACKS_IN_A_ROW, Callbacks
from ..defaults import MAXSIZE, OnFull, SameKey
from ..errors import KeyTakenError, StoreError, StoreFullError
from ..keys import NO_KEYS, Key, Pattern, as_exclusion, as_key, as_pattern
from .base import MAX_KEYS_PER_CONNECTION, CategoryRules, Cause, Removal, Store, one_of
from .entries import Entries
from .index import EVERYTHING
from .leases import EXPIRE_SLICE
from .same_key import SameKeyRules

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from .index import StoreEntry
    from .leases import Leases

__all__ = ("IndexedStore",)

C = TypeVar("C")

_logger = logging.getLogger("sfere_tornado.stores")


class IndexedStore(Store[C]):
    """Connections by key, in memory.

    Args:
        leases: when entries end; None for never.
        same_key: what a second connection under a key does: ``join`` (all of the key are reached),
            ``replace`` (the newest wins, the others leave) or ``refuse``.
        maxsize: connections under keys that it takes, 1 or more.
        on_full: what it does at ``maxsize``: ``refuse`` a newcomer, or ``evict`` the entry whose
            last sign of life is the oldest.
        categories: what is different for the keys of a category.
        on_evict: see :class:`~.base.Store`; may also be set as an attribute, like the others.

    Raises:
        ValueError: for a setting outside its range.
    """

    def __init__(
        self,
        leases: Leases[C] | None = None,
        *,
        same_key: SameKey = "join",
        maxsize: int = MAXSIZE,
        on_full: OnFull = "refuse",
        categories: Mapping[Any, CategoryRules] | None = None,
        on_evict: Callable[[Key, C, Cause], object] | None = None,
    ) -> None:
        if isinstance(maxsize, bool) or not isinstance(maxsize, int) or maxsize < 1:
            raise ValueError(f"maxsize is a whole number from 1, not {maxsize!r}")
        self.maxsize: int = maxsize
        self.on_full: OnFull = one_of(on_full, OnFull, "on_full")
        self.on_put: Callable[[Key, C], object] | None = None
        self.on_removal: Callable[[Removal[C]], object] | None = None
        self.on_evict: Callable[[Key, C, Cause], object] | None = on_evict
        self._rules: SameKeyRules = SameKeyRules(same_key, categories)
        self._entries: Entries[C] = Entries(leases, evicting=on_full == "evict")
        # Whatever its size, all that is stored may leave in one call.
        self._callbacks: Callbacks = Callbacks(
            type(self).__name__, _logger, max(MAX_CALLBACKS_IN_A_ROW, 2 * maxsize)
        )

    def __repr__(self) -> str:
        index, leases = self._entries.index, self._entries.leases
        lease = "" if leases is None else f"{leases.expiry} leases of {leases.ttl:g} s, "
        return (
            f"<{type(self).__name__}: {index.connection_count} connections under "
            f"{index.key_count} keys, {lease}{self.same_key}, maxsize {self.maxsize}, "
            f"{self.on_full}>"
        )

    def __len__(self) -> int:
        return self._entries.size(self._catch_up())

    def __contains__(self, key: object) -> bool:
        return bool(self.peek(key))

    @property
    def same_key(self) -> SameKey:
        """What a second connection under a key does in categories without a rule of their own."""
        return self._rules.default

    def put(self, key: object, connection: C) -> list[Removal[C]]:
        """Store a connection under a key; see :meth:`.Store.put`."""
        wanted = key if type(key) is Key else as_key(key)
        if connection is None:
            raise StoreError("there is no connection to store, only None", wanted)
        try:
            return self._put(wanted, connection)
        finally:
            # Also when it was refused: leases that ended were removed before.
            if self._callbacks.waiting:
                self._callbacks.run()

    def leaving(self, key: object, newcomer: object) -> list[C]:
        """Return the connections that a put would replace; see :meth:`.Store.leaving`."""
        wanted = key if type(key) is Key else as_key(key)
        if not self._rules.replaces(wanted[1][0]):
            return []
        connections = self.peek(wanted)
        return [] if any(each is newcomer for each in connections) else list(connections)

    def get(self, key: object) -> tuple[C, ...]:
        """Return the connections of a key because its client asked; see :meth:`.Store.get`."""
        wanted = key if type(key) is Key else as_key(key)
        entries = self._entries.alive(wanted, self._catch_up())
        self._entries.renew(entries, "request")
        return tuple([entry.connection for entry in entries])

    def peek(self, key: object) -> tuple[C, ...]:
        """Return the connections of a key without renewing them."""
        wanted = key if type(key) is Key else as_key(key)
        return tuple(self._entries.members(wanted, self._catch_up()).values())

    def renew(self, connection: object) -> bool:
        """Record that a connection itself gave a sign of life; see :meth:`.Store.renew`."""
        entries = self._entries.alive_of(connection, self._catch_up())
        self._entries.renew(entries, "ack")
        return bool(entries)

    def purge(self, key: object) -> list[Removal[C]]:
        """Remove all connections of a key; see :meth:`.Store.purge`."""
        return self._purge(key if type(key) is Key else as_key(key))

    def purge_connection(self, connection: object) -> list[Removal[C]]:
        """Remove a connection from all its keys; see :meth:`.Store.purge_connection`."""
        ended = self._catch_up()
        removals = []
        for entry in self._entries.index.entries_of(connection):
            removals.append(self._remove(entry, "explicit", ended))  # noqa: PERF401  # each close comes here, and a comprehension is a call
        if self._callbacks.waiting:
            self._callbacks.run()
        return removals

    def clear(self) -> list[Removal[C]]:
        """Remove everything, cause ``explicit``."""
        return self._purge(EVERYTHING)

    def keys(self, pattern: object | None = None) -> list[Key]:
        """Return the keys with a connection that match a pattern; see :meth:`.Store.keys`."""
        wanted = EVERYTHING if pattern is None else as_pattern(pattern)
        entries = self._entries.alive(wanted, self._catch_up())
        keys = {entry.order: entry.key for entry in entries}
        return [keys[order] for order in sorted(keys)]

    def keys_of(self, connection: object) -> tuple[Key, ...]:
        """Return the keys that a connection is stored under, oldest first."""
        entries = self._entries.alive_of(connection, self._catch_up())
        return tuple([entry.key for entry in entries])

    def connections(self, pattern: object, exclude: object = ()) -> list[C]:
        """Return the connections whose key matches, each once; see :meth:`.Store.connections`."""
        wanted = pattern if type(pattern) is Pattern else as_pattern(pattern)
        excluded: Pattern | Collection[Key] = (
            () if exclude == () or exclude == NO_KEYS else as_exclusion(exclude)
        )
        ended, entries = self._catch_up(), self._entries
        # The first without a step in between: each broadcast asks.
        members = entries.index.members(wanted) if ended is None else entries.members(wanted, ended)
        if excluded:
            members = members.copy()
            for each in (excluded,) if isinstance(excluded, Pattern) else excluded:
                # The intersection of two dicts' keys walks over the smaller one only.
                for ident in members.keys() & entries.members(each, ended).keys():
                    del members[ident]
        return list(members.values())

    def count(self, pattern: object | None = None) -> int:
        """Return how many connections match a pattern, or are stored; see :meth:`.Store.count`."""
        wanted = EVERYTHING if pattern is None else as_pattern(pattern)
        return len(self._entries.members(wanted, self._catch_up()))

    def expire(self, limit: int = EXPIRE_SLICE) -> list[Removal[C]]:
        """Remove what is past its lease; without leases, nothing.

        Args:
            limit: leases to look at, and so the most that is removed. In a callback it is what the
                call that caused the callback has left of its own limit, if that is less.

        Returns:
            What was removed, in the order in which the leases ended.
        """
        leases = self._entries.leases
        removals: list[Removal[C]] = []
        if leases is not None:
            leases.due()
            if not self._callbacks.running:
                leases.budget = limit
            removals = [
                self._remove(entry, "expired", None)
                for entry in leases.take(min(limit, leases.budget))
            ]
        if self._callbacks.waiting:
            self._callbacks.run()
        return removals

    def next_expiry(self) -> float | None:
        """Return the time at which :meth:`expire` should be called next.

        Returns:
            On the leases' clock: never later than the next lease ends; earlier when that lease was
            renewed, and expiring then finds nothing. The present or before it when something is
            left to do now. None when nothing has a lease.
        """
        leases = self._entries.leases
        if leases is None:
            return None
        if self._callbacks.waiting and not self._callbacks.running:
            now = leases.timer()
            self._callbacks.run()
            return now
        return leases.next_end(self._entries.index.size)

    def _put(self, key: Key, connection: C) -> list[Removal[C]]:
        index = self._entries.index
        ended = self._catch_up()
        if ended is not None:
            ended = self._make_way(key, ended)
        own = index.entries_of(connection)
        for entry in own:
            if entry.key == key:
                self._entries.renew([entry], None)
                return []
        first = index.first_at(key)
        leaving = self._check(key, len(own), first)
        # The newcomer enters before others leave, so that each removal knows that its key still
        # has a connection.
        self._entries.add(key, connection, first)
        if self.on_put is not None:
            self._callbacks.add(self.on_put, key, connection)
        removals: list[Removal[C]] = []
        for entry in leaving:
            removals.append(self._remove(entry, "replaced", ended))  # noqa: PERF401  # each newcomer comes here, and a comprehension is a call
        idle = self._entries.idle
        while idle is not None and index.size > self.maxsize:
            removals.append(self._remove(next(iter(idle)), "size", ended))
        return removals

    def _check(self, key: Key, keys: int, first: StoreEntry[C] | None) -> Collection[StoreEntry[C]]:
        """Check that a newcomer may have a key; return the entries that it replaces.

        Args:
            key: the key.
            keys: keys that the newcomer has.
            first: an entry of the key, if there is one.
        """
        if keys >= MAX_KEYS_PER_CONNECTION:
            raise StoreError(
                f"the connection already has {MAX_KEYS_PER_CONNECTION} keys, which is the limit; "
                "purge one of them first",
                key,
            )
        leaving: Collection[StoreEntry[C]] = ()
        if first is not None:
            if self._rules.refuses(key[1][0]):
                raise KeyTakenError(key)
            if self._rules.replaces(key[1][0]):
                leaving = list(self._entries.index.entries(key))
        if self._entries.idle is None and self._entries.index.size - len(leaving) >= self.maxsize:
            raise StoreFullError(key, self.maxsize)
        return leaving

    def _purge(self, pattern: Key | Pattern) -> list[Removal[C]]:
        ended = self._catch_up()
        entries = list(self._entries.index.entries(pattern))
        removals = [self._remove(entry, "explicit", ended) for entry in entries]
        if self._callbacks.waiting:
            self._callbacks.run()
        return removals

    def _remove(self, entry: StoreEntry[C], cause: Cause, ended: float | None) -> Removal[C]:
        """Remove an entry and queue its callbacks."""
        removal, waiting = self._entries.remove(entry, cause, ended), self._callbacks.waiting
        if self.on_removal is not None:
            # As Callbacks.add, twice for each stream that ends.
            waiting.append((self.on_removal, (removal,)))
        if self.on_evict is not None and (removal.remaining == 0 or removal.cause == "replaced"):
            waiting.append((self.on_evict, (removal.key, removal.connection, removal.cause)))
        return removal

    def _catch_up(self) -> float | None:
        """Begin a call: remove a slice of what is past its lease, run callbacks; return ``ended``.

        The callbacks of leases run before the call does its own work, which then sees all that
        they did.
        """
        leases = self._entries.leases
        due = leases is not None and leases.due()
        if leases is not None and due:
            # A callback's calls share the slice of the call that caused it. With a slice each,
            # 4,000 leases that end together would all be removed in the first call.
            if not self._callbacks.running:
                leases.budget = leases.slice
            for entry in leases.take(leases.budget):
                self._remove(entry, "expired", None)
        if self._callbacks.waiting:
            self._callbacks.run()
            # They may have taken time, and leases may have ended in it.
            due = leases is not None and leases.due()
        return leases.now if leases is not None and due and leases.behind else None

    def _make_way(self, key: Key, ended: float) -> float | None:
        """Remove ended connections that would refuse a new one: of its key, of a full store.

        Returns:
            ``ended``, or None when nothing ended is left.
        """
        leases = self._entries.leases
        for entry in list(self._entries.index.entries(key)):
            if entry.ends <= ended:
                self._remove(entry, "expired", None)
        if leases is None or self._entries.index.size < self.maxsize:
            return ended
        # One for one: a callback that stores again must not empty the store beyond the slice.
        first = leases.take_one()
        if first is None:
            return None
        self._remove(first, "expired", None)
        return ended

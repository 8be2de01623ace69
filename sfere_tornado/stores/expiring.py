"""A store whose connections leave when nothing has been heard of them for too long.

How it works. Each entry knows when its lease ends. A heap of ends tells which to look at next. A sign of life only
moves the entry's own end: its place in the heap stays, and is put right when it comes up, so that renewing costs next
to nothing and the heap has one place for each entry.

Laws:

- **Time is an argument.** ``timer`` is monotonic: a step of the wall clock must not expire anybody.
- **Past its lease is gone,** for every reader and at once, also before anybody has removed it.
- **Leaving takes slices.** No call removes more than :data:`EXPIRE_SLICE`; when more is due, readers look at each entry
  that matches, and :meth:`ExpiringStore.next_expiry` says "now".
"""

from __future__ import annotations

import time
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..defaults import MAXSIZE, TTL, Expiry, OnFull, SameKey, Source
from .base import CategoryRules, Cause, Removal, one_of
from .index import EVERYTHING, GONE
from .memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from ..keys import Key, Pattern
    from .index import Entry

__all__ = ("EXPIRE_SLICE", "ExpiringStore")

#: Leases looked at by one call, 250: with a stream to be closed for each, some milliseconds. A hundred thousand at once
#: would hold up the event loop, and with it everybody's messages, for a second.
EXPIRE_SLICE: Final = 250

#: Places of removed entries, beyond one for each that is left, that the heap bears before they are cleared out.
_DEAD: Final = 64

C = TypeVar("C")


class ExpiringStore(MemoryStore[C]):
    """Connections on a lease.

    Args:
        ttl: seconds a lease lasts.
        expiry: ``sliding``, counted from the last sign of life of each connection; or ``fixed``, counted from the first
            storing of the key, whoever is stored under it afterwards, until nobody holds it.
        timer: the clock, in seconds, monotonic.
        renewed_by: which signs of life count: ``request`` (the client asked: :meth:`get`), ``ack`` (its side answered:
            :meth:`renew`).
        same_key: see :class:`MemoryStore`, also for what follows.
        maxsize: connections under keys that it takes.
        on_full: ``refuse`` or ``evict``.
        categories: what is different for the keys of a category, here also ``ttl`` and ``expiry``.
        on_evict: see :class:`~.base.Store`.

    Raises:
        ValueError: for a setting outside its range.
    """

    def __init__(
        self,
        ttl: float = TTL,
        *,
        expiry: Expiry = "sliding",
        timer: Callable[[], float] = time.monotonic,
        renewed_by: Collection[Source] = frozenset({"request", "ack"}),
        same_key: SameKey = "join",
        maxsize: int = MAXSIZE,
        on_full: OnFull = "refuse",
        categories: Mapping[Any, CategoryRules] | None = None,
        on_evict: Callable[[Key, C, Cause], object] | None = None,
    ) -> None:
        self.ttl = _seconds(ttl, "ttl")
        self.expiry: Expiry = one_of(expiry, Expiry, "expiry")
        if isinstance(renewed_by, str):
            raise ValueError(f"renewed_by is a set of words, such as {{{renewed_by!r}}}")  # noqa: TRY004  # a setting, like the others
        self.renewed_by: frozenset[Source] = frozenset(
            one_of(each, Source, "renewed_by") for each in renewed_by
        )
        self.timer = timer
        # Per category where it differs: seconds, and whether signs of life renew.
        self._leases = {
            category: (
                self.ttl if rules.ttl is None else rules.ttl,
                (rules.expiry or self.expiry) == "sliding",
            )
            for category, rules in (categories or {}).items()
            if isinstance(rules, CategoryRules)
        }
        self._lease = (self.ttl, self.expiry == "sliding")
        self._heap: list[tuple[float, int, Entry[C]]] = []
        # Whether entries past their lease may still be stored, because removing all at once would take too long.
        self._late = False
        # Entries are not compared; of two equal ends, the one pushed first comes first.
        self._pushes = count()
        super().__init__(
            same_key=same_key,
            maxsize=maxsize,
            on_full=on_full,
            categories=categories,
            on_evict=on_evict,
        )

    def expire(self, limit: int = EXPIRE_SLICE) -> list[Removal[C]]:
        """Remove what is past its lease.

        Args:
            limit: leases to look at, and so the most that is removed.

        Returns:
            What was removed, in the order in which the leases ended.
        """
        with self._turn:
            return self._expire(self.timer(), limit)

    def next_expiry(self) -> float | None:
        """Return the time at which :meth:`expire` should be called next.

        Returns:
            On ``timer``'s scale: never later than the next lease ends; earlier when that lease was renewed, and
            expiring then finds nothing. The present or before it when something is left to be done at once. None when
            nothing has a lease.
        """
        with self._turn:
            if self._turn.behind:
                return self.timer()
            self._clear_out()
            heap = self._heap
            while heap and heap[0][2].ends == GONE:
                heappop(heap)
            return heap[0][0] if heap else None

    def _expire(self, now: float, limit: int) -> list[Removal[C]]:
        heap = self._heap
        removed: list[Removal[C]] = []
        for _ in range(limit):
            if not heap or heap[0][0] > now:
                break
            entry = heap[0][2]
            if entry.ends > heap[0][0]:
                heapreplace(heap, (entry.ends, next(self._pushes), entry))
                continue
            heappop(heap)
            if entry.ends != GONE:
                removed.append(self._remove(entry, "expired", now))
        self._late = bool(heap) and heap[0][0] <= now
        return removed

    def _catch_up(self) -> float:
        now = self.timer()
        if self._late or (self._heap and self._heap[0][0] <= now):
            self._expire(now, EXPIRE_SLICE)
        return now

    def _put(self, key: Key, connection: C) -> list[Removal[C]]:
        now = self._catch_up()
        if self._late:
            # What has ended must not stand in a newcomer's way: neither hold its key nor take its place.
            for entry in list(self._index.entries(key)):
                if entry.ends <= now:
                    self._remove(entry, "expired", now)
            while self._late and self._index.size >= self.maxsize:
                now = self._catch_up()
        return super()._put(key, connection)

    def _members(self, pattern: Key | Pattern, now: float) -> dict[int, C]:
        if not self._late:
            return super()._members(pattern, now)
        return {
            entry.ident: entry.connection
            for entry in self._index.entries(pattern)
            if entry.ends > now
        }

    def _size(self, now: float) -> int:
        return (
            sum(entry.ends > now for entry in self._index.entries(EVERYTHING))
            if self._late
            else super()._size(now)
        )

    def _enter(self, entry: Entry[C], first: Entry[C] | None, now: float) -> None:
        super()._enter(entry, first, now)
        ttl, sliding = self._leases.get(entry.key.category, self._lease)
        entry.ttl = ttl if sliding else None
        entry.ends = now + ttl if sliding or first is None else first.ends
        heappush(self._heap, (entry.ends, next(self._pushes), entry))
        self._clear_out()

    def _restore(self, entry: Entry[C], now: float) -> None:
        super()._restore(entry, now)
        if entry.ttl is not None:
            entry.ends = now + entry.ttl

    def _renew(self, entry: Entry[C], now: float, source: Source) -> None:
        if source in self.renewed_by:
            self._restore(entry, now)

    def _clear_out(self) -> None:
        """Clear the places of removed entries out of the heap, when they are more than those of the others."""
        # Not done on removing: ten thousand may leave at once, and what is left of them here is small.
        if len(self._heap) > 2 * self._index.size + _DEAD:
            self._heap[:] = [place for place in self._heap if place[2].ends != GONE]
            heapify(self._heap)

    def _read_lease(self, whose: str, rules: CategoryRules) -> None:
        if rules.ttl is not None:
            _seconds(rules.ttl, f"ttl {whose}")
        if rules.expiry is not None:
            one_of(rules.expiry, Expiry, f"expiry {whose}")

    def _settings(self) -> str:
        return f"{self.expiry} leases of {self.ttl:g} s, {super()._settings()}"


def _seconds(value: object, what: str) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not isfinite(value)
        or value <= 0
    ):
        raise ValueError(f"{what} is a number of seconds above 0, not {value!r}")
    return float(value)

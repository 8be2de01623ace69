"""Leases: when a stored connection is taken for gone.

How it works. Each entry knows when its lease ends. A heap of ends says which entry to look at
next. A sign of life moves only the entry's own end. Its place in the heap stays, and is corrected
when it comes up, so renewing costs next to nothing and the heap has one place for each entry.

Laws:

- **Time is an argument.** ``timer`` is monotonic: a step of the wall clock must not end leases.
- **Leaving takes slices.** One call of the store, with all the callbacks it causes, looks at
  :data:`EXPIRE_SLICE` leases at most. A thousand callbacks that each removed a slice more would
  block the event loop for as long as no slices at all.
"""

from __future__ import annotations

import time
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from ..defaults import TTL, Expiry, Source
from .base import CategoryRules, check_categories, one_of
from .index import GONE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from .index import StoreEntry

__all__ = ("EXPIRE_SLICE", "Leases")

#: Leases looked at by one call, 250: with a stream to be closed for each, some milliseconds. A
#: hundred thousand in one call would block the event loop for a second.
EXPIRE_SLICE: Final = 250

#: Places of removed entries in the heap, beyond one for each entry left, before it is rebuilt.
_DEAD: Final = 64

C = TypeVar("C")


class Leases(Generic[C]):
    """The leases of one store's entries.

    Args:
        ttl: seconds a lease lasts.
        expiry: ``sliding``, counted from the last sign of life; ``fixed``, counted from the first
            storing of the key until it has no connection left.
        timer: the clock, in seconds, monotonic.
        renewed_by: the signs of life that renew: ``request``, ``ack``.
        categories: what is different for the keys of a category.

    Raises:
        ValueError: for a setting outside its range.
    """

    __slots__ = (
        "_heap",
        "_pushes",
        "_rule",
        "_rules",
        "budget",
        "expiry",
        "now",
        "renewed_by",
        "slice",
        "timer",
        "ttl",
    )

    def __init__(
        self,
        ttl: float = TTL,
        *,
        expiry: Expiry = "sliding",
        timer: Callable[[], float] = time.monotonic,
        renewed_by: Collection[Source] = frozenset({"request", "ack"}),
        categories: Mapping[Any, CategoryRules] | None = None,
    ) -> None:
        self.ttl: float = _seconds(ttl, "ttl")
        self.expiry: Expiry = one_of(expiry, Expiry, "expiry")
        if isinstance(renewed_by, str):
            raise ValueError(f"renewed_by is a set of words, such as {{{renewed_by!r}}}")  # noqa: TRY004  # a setting, like the others
        self.renewed_by: frozenset[Source] = frozenset(
            one_of(each, Source, "renewed_by") for each in renewed_by
        )
        self.timer: Callable[[], float] = timer
        #: The time that :meth:`due` read last: a call of the store reads the clock once.
        self.now: float = 0.0
        #: Leases that one call looks at.
        self.slice: int = EXPIRE_SLICE
        #: Leases that the present call may still look at, with its callbacks.
        self.budget: int = self.slice
        # Per category where it differs: seconds, and whether signs of life renew.
        self._rules: dict[Any, tuple[float, bool]] = {
            category: (
                self.ttl if rules.ttl is None else rules.ttl,
                (rules.expiry or self.expiry) == "sliding",
            )
            for category, rules in check_categories(categories).items()
        }
        self._rule: tuple[float, bool] = (self.ttl, self.expiry == "sliding")
        self._heap: list[tuple[float, int, StoreEntry[C]]] = []
        # Entries are not compared: of two equal ends, the one pushed first comes first.
        self._pushes: Iterator[int] = count()

    def __repr__(self) -> str:
        return f"<Leases: {self.expiry} leases of {self.ttl:g} s, {len(self._heap)} in the heap>"

    def due(self) -> bool:
        """Read the clock; return whether :meth:`take` has something to look at."""
        self.now = self.timer()
        return bool(self._heap) and self._heap[0][0] <= self.now

    @property
    def behind(self) -> bool:
        """Whether entries past their lease may still be stored, after :meth:`due` and takes."""
        return bool(self._heap) and self._heap[0][0] <= self.now

    def take(self, limit: int) -> list[StoreEntry[C]]:
        """Take the entries whose lease has ended out of the heap, in the order of the ends.

        Args:
            limit: leases to look at, and so the most that is returned.
        """
        ended: list[StoreEntry[C]] = []
        looks = 0
        while looks < limit and self._heap and self._heap[0][0] <= self.now:
            looks += 1
            entry = self._look()
            if entry is not None:
                ended.append(entry)
        self.budget -= looks
        return ended

    def take_one(self) -> StoreEntry[C] | None:
        """Take the next entry whose lease has ended, however many renewed ones come before it."""
        while self._heap and self._heap[0][0] <= self.now:
            entry = self._look()
            if entry is not None:
                return entry
        return None

    def begin(self, entry: StoreEntry[C], first: StoreEntry[C] | None, size: int) -> None:
        """Begin the lease of a new entry.

        Args:
            entry: the entry.
            first: an entry that had the key before it; a fixed lease ends with that one's.
            size: entries in the store.
        """
        ttl, sliding = self._rules.get(entry.key[1][0], self._rule) if self._rules else self._rule
        entry.ttl = ttl if sliding else None
        entry.ends = self.now + ttl if sliding or first is None else first.ends
        heappush(self._heap, (entry.ends, next(self._pushes), entry))
        # Not cleared on removing: ten thousand may leave in one call, and what stays of them is
        # small.
        if len(self._heap) > 2 * size + _DEAD:
            self._clear_out()

    def renew(self, entries: Iterable[StoreEntry[C]]) -> None:
        """Begin sliding leases again; fixed ones go on."""
        for entry in entries:
            if entry.ttl is not None:
                entry.ends = self.now + entry.ttl

    def next_end(self, size: int) -> float | None:
        """Return the end of the first lease in the heap, which is never later than the next end."""
        heap = self._heap
        if len(heap) > 2 * size + _DEAD:
            self._clear_out()
        while heap and heap[0][2].ends == GONE:
            heappop(heap)
        return heap[0][0] if heap else None

    def _look(self) -> StoreEntry[C] | None:
        """Correct or take the first place of the heap; return its entry when its lease ended."""
        heap = self._heap
        entry = heap[0][2]
        if entry.ends > heap[0][0]:
            heapreplace(heap, (entry.ends, next(self._pushes), entry))
            return None
        heappop(heap)
        return None if entry.ends == GONE else entry

    def _clear_out(self) -> None:
        """Rebuild the heap without the places of removed entries."""
        self._heap[:] = [place for place in self._heap if place[2].ends != GONE]
        heapify(self._heap)


def _seconds(value: object, what: str) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not isfinite(value)
        or value <= 0
    ):
        raise ValueError(f"{what} is a number of seconds above 0, not {value!r}")
    return float(value)

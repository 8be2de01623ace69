"""Closed streams that may come back, by the end of their wait.

How it works. Each wait is an entry of a heap. An entry is never searched for: when a wait stops,
its entry becomes stale and stays. Stale entries are skipped at the top, and the heap is rebuilt
without them when they are more than half of it.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .states import Stream

__all__ = ("Waits",)

#: Stale entries that the heap keeps in addition to one for each wait, 64: a small heap is not
#: rebuilt at every second stop.
_STALE: Final = 64


class Waits:
    """The ends of waits."""

    __slots__ = ("_heap", "_numbers", "_stale")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Stream]] = []
        # Orders equal ends by age, so that streams are never compared.
        self._numbers = count()
        self._stale = 0

    def __repr__(self) -> str:
        return f"<{len(self)} Waits>"

    def __len__(self) -> int:
        return len(self._heap) - self._stale

    def begin(self, stream: Stream, ends: float) -> None:
        """Wait for a stream until a time, in seconds on the timer of presence."""
        stream.ends, stream.wait = ends, next(self._numbers)
        heappush(self._heap, (ends, stream.wait, stream))

    def stop(self, stream: Stream) -> None:
        """Stop waiting for a stream."""
        stream.wait = None
        self._stale += 1
        if self._stale > len(self) + _STALE:
            self._heap = [entry for entry in self._heap if entry[2].wait == entry[1]]
            heapify(self._heap)
            self._stale = 0

    def first(self) -> Stream | None:
        """Return the stream whose wait ends next, or None."""
        heap = self._heap
        while heap and heap[0][2].wait != heap[0][1]:
            heappop(heap)
            self._stale -= 1
        return heap[0][2] if heap else None

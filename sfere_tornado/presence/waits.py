"""Closed streams that are waited for, by the end of the wait.

How it works. A heap has a place for each wait. A stream that is no longer waited for, or for another time, leaves its
place where it is; such stale places are passed over, and cleared out when they become more than half of all.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .states import Stream

__all__ = ("Waits",)

#: Stale places, beyond one for each wait, that the heap bears.
_STALE: Final = 64


class Waits:
    """The ends of waits."""

    __slots__ = ("_heap", "_numbers", "_stale")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Stream]] = []
        # Of two equal ends the first one comes first; streams are not compared.
        self._numbers = count()
        self._stale = 0

    def __repr__(self) -> str:
        return f"<{len(self)} Waits>"

    def __len__(self) -> int:
        return len(self._heap) - self._stale

    def begin(self, stream: Stream, ends: float) -> None:
        """Wait for a stream until a time, on the room's timer."""
        stream.ends, stream.place = ends, next(self._numbers)
        heappush(self._heap, (ends, stream.place, stream))

    def stop(self, stream: Stream) -> None:
        """Wait for a stream no longer."""
        stream.place = None
        self._stale += 1
        if self._stale > len(self) + _STALE:
            self._heap = [place for place in self._heap if place[2].place == place[1]]
            heapify(self._heap)
            self._stale = 0

    def first(self) -> Stream | None:
        """Return the stream whose wait ends next, if there is any."""
        heap = self._heap
        while heap and heap[0][2].place != heap[0][1]:
            heappop(heap)
            self._stale -= 1
        return heap[0][2] if heap else None

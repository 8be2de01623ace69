"""How late an event loop is."""

from __future__ import annotations

import asyncio
from typing import Final

__all__ = ("Lateness", "hundredth")

#: Seconds between two measurements.
LOOK: Final = 0.002


class Lateness:
    """Records, until it is stopped, by how many seconds a timer of the loop is late."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._set()

    def stop(self) -> None:
        self._timer.cancel()

    def _set(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + LOOK
        self._timer = loop.call_at(self._due, self._ring)

    def _ring(self) -> None:
        self.seconds.append(asyncio.get_running_loop().time() - self._due)
        self._set()


def hundredth(seconds: list[float]) -> float:
    """Return the seconds within which 99 % of something happen."""
    return sorted(seconds)[len(seconds) * 99 // 100]

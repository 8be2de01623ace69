"""The clock of leases: it stands still while the process does.

A process can be stopped for a while: by a debugger, a full disk, the host of a virtual machine, or a hook that blocks. Nobody's
sign of life can be seen meanwhile; were that time counted, all leases would end together on waking, with everybody still there.

How it works. A hub reads the clock on every tick at least. A longer time than that between two readings, by the event loop's
clock, is time in which the process stood still.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("LeaseClock",)


class LeaseClock:
    """Returns seconds when called, like the timer that it is made from, less those in which the process stood still.

    Args:
        timer: monotonic.
    """

    def __init__(self, timer: Callable[[], float]) -> None:
        self._timer = timer
        self._loop_time: Callable[[], float] | None = None
        self._tick = 0.0
        self._last_read = self._last_time = 0.0
        #: Seconds so far that were not counted.
        self.stood_still: float = 0.0

    def __repr__(self) -> str:
        return f"<LeaseClock: stood still for {self.stood_still:g} s>"

    def __call__(self) -> float:
        """Return the present time."""
        time = self._timer()
        if self._loop_time is not None:
            now = self._loop_time()
            # A timer of its own, such as a test's, may have stood still with the process, and needs no mending then.
            gap = min(now - self._last_read, time - self._last_time)
            self._last_read, self._last_time = now, time
            # Twice: a tick that is merely late is nothing. What cannot have been awake without a reading is left out.
            if gap > 2 * self._tick:
                self.stood_still += gap - self._tick
        return time - self.stood_still

    def watch(self, loop_time: Callable[[], float], tick: float) -> None:
        """Take note of standing still from now on.

        Args:
            loop_time: the event loop's clock.
            tick: seconds after which the clock is read at the latest.
        """
        self._loop_time, self._tick = loop_time, tick
        self._last_read, self._last_time = loop_time(), self._timer()

    def rest(self) -> None:
        """Take note of nothing any more: nobody promises to read the clock."""
        self._loop_time = None

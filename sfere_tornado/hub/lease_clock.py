"""The clock of leases and graces: it stands still while the process does.

A debugger, a full disk, the host of a virtual machine, or a hook that blocks the event loop can
stop a process. During that time no sign of life is read. If the time were counted, leases would end
and reloads would be announced as departures, while the signs of life wait in the sockets.

How it works. The hub's alarm is always set for the next end of a lease or grace. While the alarm is
overdue, the clock stands at the time for which it was set, so nothing ends for any reader before
the alarm has rung. An alarm that rings late is first set again, for ``LATE_DELAY`` seconds later
(see ``hub.alarm``), so that what came in is read. The whole delay is then left out of the clock's
time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("LATE", "LeaseClock")

#: Seconds of delay after which the event loop counts as blocked, 0.25: a busy loop is less late.
LATE: Final = 0.25

#: Seconds before the alarm's time at which the clock stands still, 0.001. What ends at the alarm's
#: time has then not ended for any reader, although two clocks are not read in the same instant.
_BEFORE: Final = 1e-3


class LeaseClock:
    """Returns seconds when called: those of a timer, less those in which the process stood still.

    Args:
        timer: monotonic.
    """

    def __init__(self, timer: Callable[[], float]) -> None:
        self._timer = timer
        self._loop_time: Callable[[], float] | None = None
        # When the alarm is due, by the event loop's clock and by the timer.
        self._due = self._due_time = 0.0
        #: Seconds so far that were not counted.
        self.stood_still: float = 0.0

    def __repr__(self) -> str:
        return f"<LeaseClock: stood still for {self.stood_still:g} s>"

    def __call__(self) -> float:
        """Return the present time."""
        time = self._timer()
        if self._loop_time is not None:
            over = self._over(time)
            if over > 0:
                time -= over
        return time - self.stood_still

    def starts(self) -> float:
        """Return the present time for what begins now: a short delay of the alarm has passed.

        Such a delay will be counted when the alarm rings. What began meanwhile would end earlier by
        it: a reload within the grace would be announced as a departure.
        """
        time = self._timer()
        over = self._over(time)
        return time - (over if over > LATE else 0.0) - self.stood_still

    def _over(self, time: float) -> float:
        """Return the seconds by which the alarm is overdue; negative when it is not."""
        if self._loop_time is None:
            return 0.0
        # The smaller of the two: a separate timer, such as a test's, may have stood still with the
        # process, or may have been moved by hand.
        return min(self._loop_time() - self._due, time - self._due_time)

    def set_due(self, loop_time: Callable[[], float], when: float) -> None:
        """Record that the alarm is set: time counts until then, not further.

        Args:
            loop_time: the event loop's clock.
            when: on that clock.
        """
        now = loop_time()
        # Not before the present: the clock never goes backwards.
        self._due = max(now, when - _BEFORE)
        self._loop_time, self._due_time = loop_time, self._timer() + (self._due - now)

    def ring(self, *, late: bool) -> None:
        """Record that the alarm has rung; if late, never count the delay."""
        if late and self._loop_time is not None:
            self.stood_still += max(0.0, self._over(self._timer()))
        self._loop_time = None

    def rest(self) -> None:
        """Record that no alarm is set."""
        self._loop_time = None

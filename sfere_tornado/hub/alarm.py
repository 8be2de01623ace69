"""The hub's one timer: it rings when the next thing is due, and not before.

It uses the loop's monotonic clock. A step of the wall clock would make everything due, or nothing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from .lease_clock import LATE

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from .lease_clock import LeaseClock

__all__ = ("AFTER_FAILURE", "LATE_DELAY", "Alarm")

log: logging.Logger = logging.getLogger("sfere_tornado.hub")

#: Seconds until it rings again after a failure, 1: work may still be due, and a loop that only
#: fails, and logs that, serves no client.
AFTER_FAILURE: Final = 1.0

#: Seconds that an alarm which is late waits once more, 0.25: what waits in the sockets, such as the
#: beats and reloads of thousands of clients, is read and handled first.
LATE_DELAY: Final = 0.25


class Alarm:
    """Rings in an event loop.

    Args:
        loop: the running one.
        clock: stands still while the alarm is overdue.
        due_in: returns the seconds until the next thing is due; negative when it is overdue.
        ring: does what is due. An exception in it is logged, and the alarm is set again, for
            a second later or more.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: LeaseClock,
        due_in: Callable[[], float],
        ring: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._due_in = due_in
        self._do_ring = ring
        self._handle: asyncio.TimerHandle | None = None
        # After a failure: a call that sets it must not make it ring earlier.
        self._not_before = 0.0
        self._catching_up = False
        self._stopped = False

    def __repr__(self) -> str:
        state = "stopped" if self._stopped else "set" if self._handle else "not set"
        return f"<Alarm {state}>"

    def set(self) -> None:
        """Set the alarm for what is due next; called whenever that may be earlier than before."""
        if self._catching_up:
            return
        now = self._loop.time()
        when = max(self._not_before, now + max(0.0, self._due_in()))
        if self._handle is not None:
            if self._handle.when() <= when:
                return
            self._handle.cancel()
        self._handle = self._loop.call_at(when, self._ring)
        self._clock.set_due(self._loop.time, when)

    def stop(self) -> None:
        """Never ring again."""
        self._stopped = True
        if self._handle is not None:
            self._handle.cancel()

    def _ring(self) -> None:
        handle, self._handle = self._handle, None
        now = self._loop.time()
        late = self._catching_up or (handle is not None and now - handle.when() > LATE)
        if late and not self._catching_up:
            self._catching_up = True
            self._handle = self._loop.call_at(now + LATE_DELAY, self._ring)
            return
        self._catching_up = False
        self._clock.ring(late=late)
        try:
            self._do_ring()
        except Exception:
            log.exception("the hub's tick failed; the next one comes all the same")
            self._not_before = self._loop.time() + AFTER_FAILURE
        if not self._stopped:
            self.set()

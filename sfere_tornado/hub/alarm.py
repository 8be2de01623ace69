"""The hub's one timer: it rings when the next thing is due, and not before.

It asks the loop's monotonic clock, never the wall clock: a step of that would ring for everybody, or for nobody.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ("AFTER_FAILURE", "Alarm")

log: logging.Logger = logging.getLogger("sfere_tornado.hub")

#: Seconds until it rings again after a failure, 1: what is due may still be due, and a loop that does nothing but fail, and
#: write that into the log, serves nobody.
AFTER_FAILURE: Final = 1.0


class Alarm:
    """Rings in an event loop.

    Args:
        loop: the running one.
        due_in: returns the seconds until the next thing is due; negative when it is overdue.
        ring: does what is due; an exception in it is logged, and the alarm is set again, for a while later.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        due_in: Callable[[], float],
        ring: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._due_in = due_in
        self._do_ring = ring
        self._handle: asyncio.TimerHandle | None = None
        # After a failure: whoever sets it then must not make it ring at once.
        self._not_before = 0.0
        self._stopped = False

    def __repr__(self) -> str:
        return f"<Alarm {'stopped' if self._stopped else 'set' if self._handle else 'not set'}>"

    def set(self) -> None:
        """Set it for what is due next; called again whenever that may have come nearer."""
        now = self._loop.time()
        when = max(self._not_before, now + max(0.0, self._due_in()))
        if self._handle is not None:
            if self._handle.when() <= when:
                return
            self._handle.cancel()
        self._handle = self._loop.call_at(when, self._ring)

    def stop(self) -> None:
        """Never ring again."""
        self._stopped = True
        if self._handle is not None:
            self._handle.cancel()

    def _ring(self) -> None:
        self._handle = None
        try:
            self._do_ring()
        except Exception:
            log.exception("the hub's tick failed; the next one comes all the same")
            self._not_before = self._loop.time() + AFTER_FAILURE
        if not self._stopped:
            self.set()

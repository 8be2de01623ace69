"""What a hub does on its timer: it checks streams, ends leases, announces departures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .alarm import Alarm
from .lease_clock import LeaseClock

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ..presence.feed import PresenceFeed
    from ..stores import Store
    from ..streams.connection import Connection
    from .watch import Watch

__all__ = ("GRACE_TICK", "Ticks")

#: Seconds between two rings, at most, while presence waits for a member, 1. Of the time in which
#: the process stands still no more than this counts. Most graces are only a few times as long.
GRACE_TICK: Final = 1.0


class Ticks:
    """The hub's clocks, and its one timer.

    Args:
        timer: the hub's clock, in seconds, monotonic.
    """

    __slots__ = ("_alarm", "_feed", "_loop", "_next_look", "_store", "_watch", "leases", "time")

    def __init__(self, timer: Callable[[], float]) -> None:
        #: The clock of lifetimes and rights, in seconds.
        self.time: Callable[[], float] = timer
        #: The clock of leases and graces, which stands still while the process does.
        self.leases: LeaseClock = LeaseClock(timer)
        self._next_look = 0.0
        self._alarm: Alarm | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"<Ticks {self._alarm!r}>"

    def look_after(self, store: Store[Connection], watch: Watch, feed: PresenceFeed | None) -> None:
        """Set what is due by time, once: leases, open streams, members that may come back."""
        self._store = store
        self._watch = watch
        self._feed = feed

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ring in an event loop from now on."""
        self._loop = loop
        self._next_look = self.time() + self._watch.tick_seconds
        self._alarm = Alarm(loop, self.leases, self.due_in, self.tick)
        self._alarm.set()

    def stop(self) -> None:
        """Stop ringing."""
        if self._alarm is not None:
            self._alarm.stop()
        self._alarm = self._loop = None
        self.leases.rest()

    def set_alarm(self) -> None:
        """Set the alarm again, because something may be due earlier than it was."""
        if self._alarm is not None:
            self._alarm.set()

    def tick(self) -> None:
        """Do what is due by the hub's clock; its own timer calls this."""
        if self.time() >= self._next_look:
            self._next_look = self.time() + self._watch.tick_seconds
            self._watch.begin()
            self._go_on_watching()
        self._store.expire()
        if self._feed is not None:
            self._feed.expire()

    def due_in(self) -> float:
        """Return the seconds until the next thing is due; negative when it is overdue."""
        leases = self.leases()
        due = [self._next_look - self.time()]
        lease = self._store.next_expiry()
        if lease is not None:
            due.append(lease - leases)
        if self._feed is not None:
            due.append(self._feed.announcer.due - leases)
            wait = self._feed.roster.next_expiry()
            if wait is not None:
                due.append(min(wait - leases, GRACE_TICK))
        return min(due)

    def _go_on_watching(self) -> None:
        while self._watch.go_on():
            if self._loop is not None:
                self._loop.call_soon(self._go_on_watching)
                return

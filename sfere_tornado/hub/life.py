"""A hub's life: it meets an event loop, ticks, drains and stops.

Law: **nothing is bound to an event loop before** :meth:`Life.start`, which the first stream calls: a hub may be made at
import, and before a fork.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Final

from ..errors import HubError
from .alarm import Alarm
from .draining import TIMEOUT, WINDOW, drain, run_until_signal, stop
from .lease_clock import LeaseClock
from .release import Release
from .threads import Calls

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ..config import HubConfig
    from ..dispatch import Dispatcher
    from ..presence import Presence
    from ..presence.feed import PresenceFeed
    from ..stores import Store
    from ..streams.connection import Connection
    from ..streams.writer import Writer
    from .departures import Departures
    from .streams import Streams
    from .watch import Watch

__all__ = ("GRACE_TICK", "Life")

#: Seconds between two readings of the clock of leases, at most, while presence waits for somebody, 1: of the time in which
#: the process stood still no more than this counts, and most graces are only a few times as long.
GRACE_TICK: Final = 1.0


class Life:
    """What a hub does by itself, in time.

    Args:
        config: the hub's settings.
        timer: the hub's clock.
    """

    # What the hub has, and its life needs.
    system: dict[str, Any]
    store: Store[Connection]
    dispatcher: Dispatcher
    presence: Presence | None
    _feed: PresenceFeed | None
    writer: Writer
    watch: Watch
    streams: Streams
    departures: Departures

    def __init__(self, config: HubConfig, timer: Callable[[], float]) -> None:
        self.config = config
        #: The clock of lifetimes and rights, in seconds.
        self.time = timer
        #: The clock of leases, which stands still while the process does.
        self.leases: LeaseClock = LeaseClock(timer)
        #: Dispatches under way, and other work that a stop waits for.
        self.tasks: set[asyncio.Task[None]] = set()
        #: Servers that :meth:`Hub.listen` has started.
        self.servers: list[Any] = []
        #: Whether the hub is being drained: newcomers are sent away for a while.
        self.draining: bool = False
        #: Whether it will be drained in a moment: it serves as ever, and is not ready.
        self.lame_duck: bool = False
        self._next_look = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        # The last loop it ran in: there it stays stopped, for a late request must not start it again.
        self._last_loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._alarm: Alarm | None = None
        self._release: Release | None = None
        self._calls = Calls()

    @property
    def ready(self) -> bool:
        """Whether new streams shall be sent here, for the readiness probe of a load balancer."""
        return not (self.draining or self.lame_duck)

    def start(self) -> None:
        """Meet the running event loop: from now on heartbeats are sent and leases end; a second call changes nothing.

        The first stream that is opened calls it. Call it yourself to use :meth:`dispatch_threadsafe` before that, and in
        each process after a fork.

        Raises:
            HubError: when no event loop runs here, or the hub is running in another one.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise HubError(
                "hub.start() needs a running event loop; call it in a coroutine or callback"
            ) from None
        if loop is self._loop:
            return
        if self._loop is not None and not self._loop.is_closed():
            raise HubError(
                "the hub is running in another event loop; one process and one loop have one hub"
            )
        self._loop = self._last_loop = loop
        self._thread = threading.get_ident()
        self.draining = self.lame_duck = False
        self.writer.meet(loop.call_soon, loop.create_future)
        self.departures.close = self.config.store.close_on_evict
        self._next_look = self.time() + self.watch.tick_seconds
        self.leases.watch(loop.time, self.watch.tick_seconds)
        self._alarm = Alarm(loop, self._due_in, self.tick)
        self._alarm.set()
        self._release = Release(loop)
        self._calls.meet(loop)

    def welcome(self) -> bool:
        """Start for a first stream, if need be; returns whether new streams are welcome in the running loop."""
        if self.draining and asyncio.get_running_loop() is self._last_loop:
            return False
        self.start()
        return True

    async def stop(self) -> None:
        """Cut every stream at once, with reason ``shutdown``, and wait for dispatches that are under way.

        A dispatch that awaits it is not waited for: it would wait for itself.
        """
        await stop(self)

    def leave_loop(self) -> None:
        """Be as before :meth:`start`: nothing is bound to an event loop any more."""
        self._calls.meet(None)
        if self._alarm is not None:
            self._alarm.stop()
            self._alarm = None
        if self._release is not None:
            self._release.flush()
            self._release = None
        self.leases.rest()
        self.writer.meet(None)
        self._loop = None
        self._thread = 0

    async def drain(
        self,
        *,
        window: float = WINDOW,
        timeout: float = TIMEOUT,  # noqa: ASYNC109  # bounds several waits
        farewell: Any = None,
        lame_duck: float = 0.0,
    ) -> None:
        """Stop gracefully: newcomers are sent away, streams told farewell and cut over a window, then everything ends.

        A dispatch that awaits it is not waited for: it would wait for itself.

        Args:
            window: seconds over which streams are cut, and over which their clients are told to come back; 0 is at once.
            timeout: seconds after which the drain is over, whatever hooks and dispatches do; it bounds all the others.
            farewell: effects for every open stream, such as ``send("restarting", event="notice")``.
            lame_duck: seconds before all that in which :attr:`ready` is False, and newcomers are served all the same: so
                long a load balancer goes on sending them until it has asked.
        """
        await drain(self, window=window, timeout=timeout, farewell=farewell, lame_duck=lame_duck)

    async def run_until_signal(
        self,
        *,
        window: float = WINDOW,
        timeout: float = TIMEOUT,  # noqa: ASYNC109  # bounds several waits
        farewell: Any = None,
        lame_duck: float = 0.0,
    ) -> None:
        """Wait for SIGINT or SIGTERM, then :meth:`drain`; a second signal ends the process at once, with exit code 0.

        Half a second after the time-out the process is ended in any case, also when a hook never gives the event loop back;
        unless the drain has ended by then and left nothing behind: what the application does afterwards has its own time.
        For the main thread.
        """
        self.start()
        await run_until_signal(
            self, window=window, timeout=timeout, farewell=farewell, lame_duck=lame_duck
        )

    def begin_draining(self) -> None:
        """Stop accepting, and let go of every stored connection; the streams stay open until they are cut.

        The store is emptied first: a farewell that ``on_evict`` broadcasts meets nobody, instead of everybody's farewell
        going to everybody who is about to be cut too.
        """
        self.draining = True
        if self._release is not None:
            self._release.flush()
        # Also of a hub that was never started: a request that comes now must not start it.
        self._last_loop = self._loop or asyncio.get_running_loop()
        self.departures.close = False
        for server in self.servers:
            server.stop()
        self.store.clear()

    def tick(self) -> None:
        """Do what is due by the hub's clock: look after streams, end leases. The hub's own timer calls it."""
        if self.time() >= self._next_look:
            self._next_look = self.time() + self.watch.tick_seconds
            self.watch.begin()
            self._go_on_watching()
        self.store.expire()
        if self._feed is not None:
            self._feed.expire()

    # -- for the web room

    def let_go(self, end_request: Callable[[], object]) -> None:
        """Let the handler of a stream go whose socket has closed: call what ends its request, now or soon."""
        if self._release is None or self.draining:
            end_request()
        else:
            self._release.let_go(end_request)

    def set_alarm(self) -> None:
        """Take note that something may be due earlier than it was."""
        if self._alarm is not None:
            self._alarm.set()

    def _due_in(self) -> float:
        leases = self.leases()
        due = [self._next_look - self.time()]
        lease = self.store.next_expiry()
        if lease is not None:
            due.append(lease - leases)
        wait = None if self.presence is None else self.presence.next_expiry()
        if wait is not None:
            due.append(min(wait - leases, GRACE_TICK))
        if self._loop is not None:
            # The alarm is set for this: so often the clock will be read.
            tick = self.watch.tick_seconds
            self.leases.watch(self._loop.time, tick if wait is None else min(tick, GRACE_TICK))
        return min(due)

    def _go_on_watching(self) -> None:
        while self.watch.go_on():
            if self._loop is not None:
                self._loop.call_soon(self._go_on_watching)
                return

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine as a task that a stop waits for."""
        task = asyncio.get_running_loop().create_task(coroutine)
        # The loop itself keeps tasks only weakly.
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

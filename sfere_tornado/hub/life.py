"""A hub's life in an event loop: start, tasks, stop.

Law: **nothing is bound to an event loop before** :meth:`Life.start`, which the first stream calls.
A hub may be made at import, and before a fork.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

from ..errors import HubError
from .release import Release
from .threads import Calls

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ..streams.writer import Writer
    from .departures import Departures
    from .ticks import Ticks

__all__ = ("Life", "Running", "warn_of_others")

log: logging.Logger = logging.getLogger("sfere_tornado.hub")


class Running:
    """What belongs to the event loop of a hub; made at its start, dropped at its stop.

    Args:
        loop: the running one.
    """

    __slots__ = ("loop", "release", "thread")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: asyncio.AbstractEventLoop = loop
        self.thread: int = threading.get_ident()
        self.release: Release = Release(loop)

    def __repr__(self) -> str:
        return f"<Running in {self.loop!r}, {self.release!r}>"


class Life:
    """Start, tasks and stop of a hub.

    Args:
        ticks: the clocks and the timer.
        writer: gathers what is delivered in a turn of the loop.
        departures: closes the streams of connections that leave the store.
    """

    __slots__ = (
        "_departures",
        "_last_loop",
        "_ticks",
        "_writer",
        "calls",
        "draining",
        "lame_duck",
        "running",
        "servers",
        "set_alarm",
        "tasks",
    )

    def __init__(self, ticks: Ticks, writer: Writer, departures: Departures) -> None:
        self._ticks = ticks
        #: Sets the alarm again, because something may be due earlier than it was.
        self.set_alarm: Callable[[], None] = ticks.set_alarm
        self._writer = writer
        self._departures = departures
        #: The event loop it runs in; None before the start and after the stop.
        self.running: Running | None = None
        # The last loop it ran in. It stays stopped there: a late request must not start it.
        self._last_loop: asyncio.AbstractEventLoop | None = None
        #: Calls from other threads.
        self.calls: Calls = Calls()
        #: Dispatches under way, and other work that a stop waits for.
        self.tasks: set[asyncio.Task[None]] = set()
        #: Servers that were started for the hub; a drain stops them.
        self.servers: list[Any] = []
        #: Whether new clients are sent away, because the hub drains.
        self.draining: bool = False
        #: Whether it will drain in a moment: it serves and is not ready.
        self.lame_duck: bool = False

    def __repr__(self) -> str:
        return f"<Life {self.state}: {len(self.tasks)} tasks>"

    @property
    def state(self) -> str:
        """What the hub does: ``new``, ``running`` or ``draining``."""
        return "new" if self.running is None else "draining" if self.draining else "running"

    def start(self) -> None:
        """Bind to the running event loop; a second call changes nothing.

        Raises:
            HubError: when no event loop runs here, or the hub runs in another one.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise HubError(
                "hub.start() needs a running event loop; call it in a coroutine or callback"
            ) from None
        running = self.running
        if running is not None:
            if loop is running.loop:
                return
            if not running.loop.is_closed():
                raise HubError(
                    "the hub is running in another event loop; one process and one loop have one hub"
                )
        self.running = Running(loop)
        self._last_loop = loop
        self.draining = self.lame_duck = False
        self._writer.meet(loop.call_soon, loop.create_future)
        self._departures.resume()
        self._ticks.start(loop)
        self.calls.meet(loop)
        if _was_forked():
            warn_of_others()

    def welcome(self) -> bool:
        """Start for a first stream; return whether new streams are admitted in the running loop."""
        if self.draining and asyncio.get_running_loop() is self._last_loop:
            return False
        self.start()
        return True

    def check_thread(self) -> None:
        """Check that the caller is in the thread of the event loop.

        Raises:
            HubError: when it is in another one.
        """
        running = self.running
        if running is not None and threading.get_ident() != running.thread:
            raise HubError(
                "dispatch was called from another thread than the event loop's; use "
                "dispatch_threadsafe"
            )

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine as a task that a stop waits for."""
        task = asyncio.get_running_loop().create_task(coroutine)
        # The loop itself keeps tasks only weakly.
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def let_go(self, end_request: Callable[[], object]) -> None:
        """End the request of a stream whose socket has closed, in this call or soon."""
        if self.running is None or self.draining:
            end_request()
        else:
            self.running.release.let_go(end_request)

    def begin_draining(self) -> None:
        """Stop accepting, and empty the store; the streams stay open until they are cut.

        The store is emptied first, so that a farewell which ``on_evict`` broadcasts reaches no
        connection. Otherwise each of ten thousand farewells goes to all that are about to be cut.
        """
        self.draining = True
        if self.running is not None:
            self.running.release.flush()
        # Also for a hub that was never started: a request that comes now must not start it.
        self._last_loop = asyncio.get_running_loop() if self.running is None else self.running.loop
        for server in self.servers:
            server.stop()
        self._departures.let_all_go()

    def leave_loop(self) -> None:
        """Return to the state before :meth:`start`: nothing is bound to an event loop."""
        self.calls.meet(None)
        self._ticks.stop()
        if self.running is not None:
            self.running.release.flush()
        self._writer.meet(None)
        self.running = None


def warn_of_others() -> None:
    """Log that other processes have streams of the same application, which are not reached."""
    log.warning(
        "this process is one of several that serve the application: a broadcast, presence and the "
        "history reach the streams of this process only; send the clients that belong together to "
        "one process, or send to all processes yourself (guide: Ten thousand streams)"
    )


def _was_forked() -> bool:
    """Return whether Tornado has forked this process as one of several."""
    # Not imported: a hub works without Tornado, and then nothing of it has forked the process.
    process = sys.modules.get("tornado.process")
    return process is not None and process.task_id() is not None

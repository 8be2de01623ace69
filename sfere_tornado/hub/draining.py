"""Drain and stop a hub: send clients the farewell, then cut them over a window.

The order:

1. Readiness is false, perhaps for some seconds before everything else.
2. The hub stops accepting. It empties the store, so that no farewell of one stream goes to others.
3. It sends the application's farewell, and to each stream its own reconnection time.
4. It cuts the streams at an even pace, then ends what is left.

Law: **the end comes in time**, whatever hooks, tasks and threads do. The time-out bounds all of it,
and a second signal does not wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ..streams.fanout import Fanout
from ..wire.event_stream import retry
from .watchdog import GRACE, Watchdog, end_process

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ..dispatch import Effects
    from ..streams.writer import Writer
    from .life import Life
    from .streams import Streams

__all__ = ("CUTS_PER_SECOND", "STOP_TIMEOUT", "TIMEOUT", "WINDOW", "Drain", "Draining")

log: logging.Logger = logging.getLogger("sfere_tornado.hub")

#: Seconds over which streams are cut and told to come back, 10: ten thousand clients come back at
#: a thousand a second.
WINDOW: Final = 10.0

#: Seconds after which a drain is over in any case, 25. Kubernetes kills 30 s after it has asked;
#: the application needs some of these to close its own things.
TIMEOUT: Final = 25.0

#: Steps of cuts a second, 20: fine enough for a window of some seconds.
CUTS_PER_SECOND: Final = 20

#: Seconds that :func:`stop` waits for dispatches under way, 5, before it cancels them.
STOP_TIMEOUT: Final = 5.0

#: Signals that ask a process to end: the terminal's, and that of process managers.
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """How a hub is drained; see :meth:`.Hub.drain`."""

    #: Seconds over which streams are cut, and over which their clients are told to come back.
    window: float = WINDOW
    #: Seconds after which the drain is over, whatever hooks and dispatches do.
    timeout: float = TIMEOUT
    #: Effects for every open stream.
    farewell: Effects = None
    #: Seconds before all that in which the hub serves and is not ready.
    lame_duck: float = 0.0


class Draining:
    """Drains and stops one hub.

    Args:
        life: the hub's.
        streams: its open streams.
        writer: writes to them.
        say: dispatches effects to a fan-out.
        retry: the reconnection time of clients, in seconds.
    """

    __slots__ = ("_life", "_retry", "_say", "_streams", "_writer")

    def __init__(
        self,
        life: Life,
        streams: Streams,
        writer: Writer,
        say: Callable[[Effects, Fanout], object],
        retry: float,
    ) -> None:
        self._life = life
        self._streams = streams
        self._writer = writer
        self._say = say
        self._retry = retry

    async def stop(self, timeout: float = STOP_TIMEOUT) -> None:  # noqa: ASYNC109  # bounds several waits
        """Cut every stream, and end the dispatches under way; see :meth:`.Hub.stop`."""
        try:
            self._life.begin_draining()
            self._cut()
            await self._end_tasks(timeout)
        finally:
            self._life.leave_loop()

    async def drain(self, drain: Drain) -> bool:
        """Stop gracefully; see :meth:`.Hub.drain`.

        Returns:
            Whether everything has ended. False when a dispatch, or a hook of a stream's handler,
            was left behind.
        """
        life, loop = self._life, asyncio.get_running_loop()
        deadline = loop.time() + drain.timeout
        openers: set[asyncio.Task[Any]] = set()
        try:
            if drain.lame_duck > 0:
                life.lame_duck = True
                await asyncio.sleep(min(drain.lame_duck, drain.timeout))
            life.begin_draining()
            # Flushed before, so that the deliveries of this fan-out are those of the farewell only.
            self._writer.flush()
            fanout = Fanout(list(self._streams), self._writer)
            openers.update(self._streams.openers())
            if drain.farewell is not None:
                self._say(drain.farewell, fanout)
            await self._cut_over(fanout, max(0.0, min(drain.window, deadline - loop.time())))
        finally:
            if not life.draining:
                life.begin_draining()
            try:
                self._cut()
                await self._end_tasks(deadline - loop.time())
                for server in life.servers:
                    # It swallows cancellation. So it runs in its own task, which is left behind
                    # when it takes too long.
                    closing = asyncio.ensure_future(server.close_all_connections())
                    await asyncio.wait({closing}, timeout=max(0.0, deadline - loop.time()))
                # Cuts a stream that was still opening when all were cut.
                self._cut()
                ended = await self._end_tasks(0.0)
            finally:
                life.leave_loop()
        return ended and await _have_ended(openers, deadline - loop.time())

    async def run_until_signal(self, drain: Drain) -> None:
        """Wait for SIGINT or SIGTERM, then drain; see :meth:`.Hub.run_until_signal`."""
        loop = asyncio.get_running_loop()
        asked = asyncio.Event()
        drained = asyncio.Event()
        watchdog = Watchdog(
            drain.timeout + GRACE,
            at_work=lambda: drained.is_set() and _is_at_work(loop),
            is_over=loop.is_closed,
            report=partial(_report_rest, loop),
        )

        def on_signal(number: int, frame: object) -> None:
            # Not add_signal_handler: this handler also runs while a hook blocks the loop.
            if watchdog.started:
                end_process()
            else:
                watchdog.start()
                loop.call_soon_threadsafe(asked.set)

        before = {number: signal.getsignal(number) for number in _SIGNALS}
        for number in _SIGNALS:
            with suppress(NotImplementedError):  # on Windows a signal wakes the loop by itself
                # Wakes the loop, whichever thread got the signal.
                loop.add_signal_handler(number, asked.set)
            signal.signal(number, on_signal)
        try:
            await asked.wait()
        except asyncio.CancelledError:
            if not watchdog.started:
                watchdog.dismiss()
                for number, handler in before.items():
                    with suppress(NotImplementedError):  # as above
                        loop.remove_signal_handler(number)
                    signal.signal(number, handler)
            raise
        if await self.drain(drain):
            # The application may close its own things now. The watchdog still runs, because a task
            # or a thread could keep the process from ending after that.
            drained.set()

    def _cut(self) -> None:
        # One flush for all, instead of a search for the deliveries of each connection.
        self._writer.flush()
        for connection in list(self._streams):
            connection.close(reason="shutdown")

    async def _cut_over(self, fanout: Fanout, window: float) -> None:
        """Tell every stream when to come back, and cut them at an even pace."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        # Jittered over the window too: otherwise the cuts of one step come back together.
        waits = {
            connection: retry(round((self._retry + random.uniform(0, window)) * 1000))  # noqa: S311  # no secret
            for connection in random.sample(fanout.connections, len(fanout))
        }
        for connection, wait in waits.items():
            connection.deliver(wait)
        streams = list(waits)
        steps = max(1, round(window * CUTS_PER_SECOND))
        for step in range(steps):
            self._writer.flush()
            for connection in streams[step::steps]:
                # A stream whose greeting is not written has got neither; the others have both.
                missed = b"" if connection.state.live else _joined(fanout, waits[connection])
                connection.close(reason="shutdown", last_words=missed)
            if not len(self._streams):
                return
            await asyncio.sleep(max(0.0, began + (step + 1) * window / steps - loop.time()))

    def _others(self) -> set[asyncio.Task[None]]:
        """Return the dispatches under way, without the one that called this, if any."""
        return {task for task in self._life.tasks if task is not asyncio.current_task()}

    async def _end_tasks(self, seconds: float) -> bool:
        """Wait for dispatches under way, then cancel them; return whether they have ended."""
        if self._others():
            await asyncio.wait(self._others(), timeout=max(0.0, seconds))
        for task in self._others():
            task.cancel()
        ended = await _have_ended(self._others(), GRACE)
        if not ended:
            log.warning(
                "%d dispatches did not end in time and are left behind", len(self._others())
            )
            self._life.tasks.difference_update(self._others())
        return ended


def _joined(fanout: Fanout, wait: bytes) -> bytes:
    """Return the farewell, as far as it has been sent, and a stream's reconnection time."""
    sent = [payload for delivery in fanout.deliveries for payload in delivery.payloads]
    # With a single stream, both may be in one delivery.
    return b"".join([*(payload for payload in sent if payload is not wait), wait])


async def _have_ended(tasks: Collection[asyncio.Task[Any]], seconds: float) -> bool:
    """Return whether tasks have ended, or end within half a second."""
    if tasks:
        await asyncio.wait(tasks, timeout=max(0.0, min(seconds, GRACE)))
    return all(task.done() for task in tasks)


def _is_at_work(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether a task runs that was not cancelled; called in the watchdog's thread.

    When the application's main coroutine has returned, ``asyncio.run`` cancels every other task,
    then waits for the threads of the default executor in a task of its own.
    """
    return any(
        not task.done()
        and not task.cancelling()
        and getattr(task.get_coro(), "__name__", "") != "shutdown_default_executor"
        for task in asyncio.all_tasks(loop)
    )


def _report_rest(loop: asyncio.AbstractEventLoop) -> None:
    """Log what keeps the process from ending; called in the thread of the watchdog."""
    threads = [
        thread.name
        for thread in threading.enumerate()
        if not thread.daemon and thread is not threading.main_thread()
    ]
    tasks = [repr(task.get_coro()) for task in asyncio.all_tasks(loop) if not task.done()]
    log.warning(
        "the process is ended now, because its time is over; tasks left: %s; threads left: %s",
        ", ".join(tasks[:10]) or "none",
        ", ".join(threads[:10]) or "none",
    )

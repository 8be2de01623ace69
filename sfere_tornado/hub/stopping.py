"""The end of a process: streams are told farewell and cut over a window, and come back elsewhere, not all at once.

The order: stop accepting; readiness false; let go of the store, so that nobody's farewell goes to those who are about to be
cut too; the application's farewell; a reconnection time of its own for each stream; the cuts, paced; then whatever is left.

Law: **the end comes in time**, whatever hooks do: the time-out bounds all of it, and a second signal does not even wait for
that.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ..event_stream import retry
from ..fanout import Fanout

if TYPE_CHECKING:
    from .life import Life

__all__ = ("CUTS_PER_SECOND", "TIMEOUT", "WINDOW", "drain", "run_until_signal")

log = logging.getLogger("sfere_tornado.hub")

#: Seconds over which streams are cut and told to come back, 10: ten thousand clients come back at a thousand a second.
WINDOW: Final = 10.0

#: Seconds after which a stopping process ends in any case, 30: the grace that process managers commonly give.
TIMEOUT: Final = 30.0

#: Cuts follow each other in steps of a twentieth of a second: fine enough for a window of some seconds.
CUTS_PER_SECOND: Final = 20

#: Seconds of its own that the watchdog gives a loop that is just ending.
_WATCHDOG_GRACE: Final = 0.5


async def drain(hub: Life, *, window: float, timeout: float, farewell: Any) -> None:  # noqa: ASYNC109  # bounds several waits
    """Stop gracefully; see :meth:`Life.drain`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    hub.begin_draining()
    try:
        if farewell is not None:
            hub.dispatcher.dispatch(farewell, system={**hub.system, "sse": Fanout(list(hub.streams), hub.writer)})
        await _cut_over(hub, min(window, timeout), loop.time())
    finally:
        _cut(hub)
        await _end_tasks(hub, deadline - loop.time())
        for server in hub.servers:
            # It swallows cancellation, so it is a task of its own that is left behind when it takes too long.
            closing = asyncio.ensure_future(server.close_all_connections())
            await asyncio.wait({closing}, timeout=max(0.0, deadline - loop.time()))
        # Who was about to open a stream when everybody was cut has opened it meanwhile.
        _cut(hub)
        await _end_tasks(hub, 0.0)
        hub.leave_loop()


def _cut(hub: Life) -> None:
    for connection in list(hub.streams):
        connection.close(reason="shutdown")


async def _cut_over(hub: Life, window: float, began: float) -> None:
    """Tell every stream when to come back, and cut them at an even pace."""
    streams = list(hub.streams)
    random.shuffle(streams)
    base = hub.config.stream.retry
    for connection in streams:
        # Jittered over the window once more: the cuts of one step would otherwise come back together.
        connection.deliver(retry(round((base + random.uniform(0, window)) * 1000)))  # noqa: S311  # no secret
    hub.writer.flush()
    steps = max(1, round(window * CUTS_PER_SECOND))
    loop = asyncio.get_running_loop()
    for step in range(steps):
        for connection in streams[step::steps]:
            connection.close(reason="shutdown")
        if not hub.streams:
            return
        await asyncio.sleep(max(0.0, began + (step + 1) * window / steps - loop.time()))


async def _end_tasks(hub: Life, seconds: float) -> None:
    """Give dispatches under way some time, then cancel them; what ignores that is left behind, and said so."""
    if hub.tasks:
        await asyncio.wait(set(hub.tasks), timeout=max(0.0, seconds))
    for task in list(hub.tasks):
        task.cancel()
    if hub.tasks:
        await asyncio.wait(set(hub.tasks), timeout=_WATCHDOG_GRACE)
    if hub.tasks:
        log.warning("%d dispatches did not end in time and are left behind", len(hub.tasks))
        hub.tasks.clear()


async def run_until_signal(hub: Life, *, window: float, timeout: float, farewell: Any) -> None:  # noqa: ASYNC109  # as above
    """Wait for SIGINT or SIGTERM, then drain; see :meth:`Life.run_until_signal`."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    watchdog = _Watchdog(timeout + _WATCHDOG_GRACE)

    def on_signal(number: int, frame: object) -> None:
        # Not the loop's own kind of handler: this one runs also while a hook does not give the loop back.
        if watchdog.loose:
            end_process()
        else:
            watchdog.let_loose()
            loop.call_soon_threadsafe(asked.set)

    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # on Windows a signal wakes the loop by itself
            # Wakes the loop, whichever thread has got the signal.
            loop.add_signal_handler(number, asked.set)
        signal.signal(number, on_signal)
    await asked.wait()
    await drain(hub, window=window, timeout=timeout, farewell=farewell)


class _Watchdog:
    """Ends the process some time after it was let loose; only another thread can, when a hook never returns.

    The thread is there before it is needed, and waits for a bare lock: a signal's handler may have interrupted whoever holds
    the lock that starting a thread takes.

    Args:
        seconds: how much time.
    """

    def __init__(self, seconds: float) -> None:
        self.loose = False
        self._seconds = seconds
        self._leash = threading.Lock()
        self._leash.acquire()
        threading.Thread(target=self._wait, name="sfere_tornado watchdog", daemon=True).start()

    def __repr__(self) -> str:
        return f"<_Watchdog {'loose' if self.loose else 'on its leash'}>"

    def let_loose(self) -> None:
        self.loose = True
        self._leash.release()

    def _wait(self) -> None:
        self._leash.acquire()
        time.sleep(self._seconds)
        end_process()


def end_process() -> NoReturn:
    """End the process at once, with exit code 0, without asking anybody."""
    with suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)

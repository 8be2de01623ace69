"""The end of a process: streams are told farewell and cut over a window, and come back elsewhere, not all at once.

The order: readiness false, perhaps for a while before all the rest; stop accepting; let go of the store, so that nobody's
farewell goes to those who are about to be cut too; the application's farewell; a reconnection time of its own for each
stream; the cuts, paced; then whatever is left.

Law: **the end comes in time**, whatever hooks do: the time-out bounds all of it, and a second signal does not even wait for
that.
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from ..streams.fanout import Fanout
from ..wire.event_stream import retry
from .watchdog import GRACE, Watchdog, end_process

if TYPE_CHECKING:
    from collections.abc import Collection

    from .life import Life

__all__ = ("CUTS_PER_SECOND", "TIMEOUT", "WINDOW", "drain", "run_until_signal", "stop")

log: logging.Logger = logging.getLogger("sfere_tornado.hub")

#: Seconds over which streams are cut and told to come back, 10: ten thousand clients come back at a thousand a second.
WINDOW: Final = 10.0

#: Seconds after which a drain is over in any case, 25: Kubernetes kills 30 s after it has asked, and the application needs
#: some of these for what it closes itself.
TIMEOUT: Final = 25.0

#: Cuts follow each other in steps of a twentieth of a second: fine enough for a window of some seconds.
CUTS_PER_SECOND: Final = 20

#: What asks a process to end: the terminal's, and everybody else's.
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


async def stop(hub: Life) -> None:
    """Cut everybody at once; see :meth:`Life.stop`."""
    try:
        hub.begin_draining()
        _cut(hub)
        while _others(hub):
            await asyncio.wait(_others(hub))
    finally:
        hub.leave_loop()


async def drain(
    hub: Life,
    *,
    window: float,
    timeout: float,  # noqa: ASYNC109  # bounds several waits
    farewell: Any,
    lame_duck: float,
) -> bool:
    """Stop gracefully; see :meth:`Life.drain`.

    Returns:
        Whether everything has ended. False when a dispatch, or a hook of a stream's handler, was left behind.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    openers: set[asyncio.Task[Any]] = set()
    try:
        if lame_duck > 0:
            hub.lame_duck = True
            await asyncio.sleep(min(lame_duck, timeout))
        hub.begin_draining()
        # What was sent before is a delivery of its own: that of the farewell is looked at.
        hub.writer.flush()
        everybody = Fanout(list(hub.streams), hub.writer)
        openers.update(hub.streams.openers())
        if farewell is not None:
            hub.dispatcher.dispatch(farewell, system={**hub.system, "sse": everybody})
        await _cut_over(hub, everybody, max(0.0, min(window, deadline - loop.time())))
    finally:
        if not hub.draining:
            hub.begin_draining()
        try:
            _cut(hub)
            await _end_tasks(hub, deadline - loop.time())
            for server in hub.servers:
                # It swallows cancellation, so it is a task of its own that is left behind when it takes too long.
                closing = asyncio.ensure_future(server.close_all_connections())
                await asyncio.wait({closing}, timeout=max(0.0, deadline - loop.time()))
            # Who was about to open a stream when everybody was cut has opened it meanwhile.
            _cut(hub)
            ended = await _end_tasks(hub, 0.0)
        finally:
            hub.leave_loop()
    return ended and await _have_ended(openers, deadline - loop.time())


def _cut(hub: Life) -> None:
    # Once for all, instead of looking for each one's last words.
    hub.writer.flush()
    for connection in list(hub.streams):
        connection.close(reason="shutdown")


async def _cut_over(hub: Life, everybody: Fanout, window: float) -> None:
    """Tell every stream when to come back, and cut them at an even pace."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    base = hub.config.stream.retry
    # Jittered over the window once more: the cuts of one step would otherwise come back together.
    waits = {
        connection: retry(round((base + random.uniform(0, window)) * 1000))  # noqa: S311  # no secret
        for connection in random.sample(everybody.connections, len(everybody))
    }
    for connection, wait in waits.items():
        connection.deliver(wait)
    streams = list(waits)
    steps = max(1, round(window * CUTS_PER_SECOND))
    for step in range(steps):
        hub.writer.flush()
        for connection in streams[step::steps]:
            # Whose greeting has not come to its end has got neither; the others have both.
            missed = b"" if connection.live else _joined(everybody, waits[connection])
            connection.close(reason="shutdown", last_words=missed)
        if not hub.streams:
            return
        await asyncio.sleep(max(0.0, began + (step + 1) * window / steps - loop.time()))


def _joined(everybody: Fanout, wait: bytes) -> bytes:
    """Return the farewell, as far as it has been said, and a stream's reconnection time."""
    said = [payload for delivery in everybody.deliveries for payload in delivery.payloads]
    # Where there is only one stream both may be in one delivery.
    return b"".join([*(payload for payload in said if payload is not wait), wait])


def _others(hub: Life) -> set[asyncio.Task[None]]:
    """Return what is under way, but for the dispatch that asks for the end, if one does."""
    return {task for task in hub.tasks if task is not asyncio.current_task()}


async def _end_tasks(hub: Life, seconds: float) -> bool:
    """Give dispatches under way some time, then cancel them; what ignores that is left behind: said so, and returned."""
    if _others(hub):
        await asyncio.wait(_others(hub), timeout=max(0.0, seconds))
    for task in _others(hub):
        task.cancel()
    ended = await _have_ended(_others(hub), GRACE)
    if not ended:
        log.warning("%d dispatches did not end in time and are left behind", len(_others(hub)))
        hub.tasks.difference_update(_others(hub))
    return ended


async def _have_ended(tasks: Collection[asyncio.Task[Any]], seconds: float) -> bool:
    """Tell whether tasks have ended, or do so in a moment."""
    if tasks:
        await asyncio.wait(tasks, timeout=max(0.0, min(seconds, GRACE)))
    return all(task.done() for task in tasks)


async def run_until_signal(
    hub: Life,
    *,
    window: float,
    timeout: float,  # noqa: ASYNC109  # bounds several waits
    farewell: Any,
    lame_duck: float,
) -> None:
    """Wait for SIGINT or SIGTERM, then drain; see :meth:`Life.run_until_signal`."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    watchdog = Watchdog(timeout + GRACE)

    def on_signal(number: int, frame: object) -> None:
        # Not the loop's own kind of handler: this one runs also while a hook does not give the loop back.
        if watchdog.loose:
            end_process()
        else:
            watchdog.let_loose()
            loop.call_soon_threadsafe(asked.set)

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        with suppress(NotImplementedError):  # on Windows a signal wakes the loop by itself
            # Wakes the loop, whichever thread has got the signal.
            loop.add_signal_handler(number, asked.set)
        signal.signal(number, on_signal)
    try:
        await asked.wait()
    except asyncio.CancelledError:
        if not watchdog.loose:
            watchdog.dismiss()
            for number, handler in before.items():
                with suppress(NotImplementedError):  # as above
                    loop.remove_signal_handler(number)
                signal.signal(number, handler)
        raise
    if await drain(hub, window=window, timeout=timeout, farewell=farewell, lame_duck=lame_duck):
        # What the application closes now is its own affair; a second signal still ends the process at once.
        watchdog.call_off()

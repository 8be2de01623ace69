"""End the process when nothing else does.

``asyncio.run`` and the interpreter do not end while a hook blocks the event loop, a task ignores
its cancellation or a thread goes on.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("GRACE", "Watchdog", "end_process")

#: Seconds in which cancelled tasks must end, 0.5: they end in some turns of the loop, or never.
GRACE: Final = 0.5

#: Seconds between two checks whether the application has finished its work after the drain, 0.05.
_LOOK: Final = 0.05


class Watchdog:
    """Ends the process some time after it was started; only another thread can.

    The thread is made before it is needed, and waits for a bare lock: a signal handler may have
    interrupted code that holds the lock which starting a thread takes.

    Args:
        seconds: from the start to the end of the process.
        at_work: returns whether the application still works after the drain, in its own time.
        is_over: returns whether the event loop is closed.
        report: called in the watchdog's thread before the end, to log what is left.
    """

    def __init__(
        self,
        seconds: float,
        *,
        at_work: Callable[[], bool] = lambda: False,
        is_over: Callable[[], bool] = lambda: False,
        report: Callable[[], object] = lambda: None,
    ) -> None:
        #: Whether it was started.
        self.started: bool = False
        self._seconds = seconds
        self._at_work = at_work
        self._is_over = is_over
        self._report = report
        self._start = threading.Lock()
        self._start.acquire()
        self._cancelled = threading.Lock()
        self._cancelled.acquire()
        threading.Thread(target=self._wait, name="sfere_tornado watchdog", daemon=True).start()

    def __repr__(self) -> str:
        return f"<Watchdog {'started' if self.started else 'not started'}>"

    def start(self) -> None:
        """Start the time; safe in a signal handler, once."""
        self.started = True
        self._start.release()

    def dismiss(self) -> None:
        """End the thread of a watchdog that was not started."""
        self._cancelled.release()
        self._start.release()

    def _wait(self) -> None:
        self._start.acquire()
        if self._cancelled.acquire(timeout=self._seconds):
            return
        if self._at_work():
            while self._at_work():
                time.sleep(_LOOK)
            time.sleep(GRACE)
        if self._is_over():
            # The loop has ended, and the program may run without it. At the program's end, a thread
            # that is not a daemon would keep the process alive.
            threading.main_thread().join()
            time.sleep(GRACE)
            if not _threads_left():
                return
        with suppress(Exception):
            self._report()
        end_process()


def _threads_left() -> list[threading.Thread]:
    """Return the threads that the interpreter waits for when it ends."""
    main = threading.main_thread()
    return [each for each in threading.enumerate() if not each.daemon and each is not main]


def end_process() -> NoReturn:
    """End the process with exit code 0, without waiting for threads, tasks or exit handlers."""
    with suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)

"""The end of the process, for when nothing else ends it: a hook that never gives the event loop back, or is left behind."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import Final, NoReturn

__all__ = ("GRACE", "Watchdog", "end_process")

#: Seconds of its own that a loop gets that is just ending, half a one: what was cancelled ends in some turns, or never.
GRACE: Final = 0.5


class Watchdog:
    """Ends the process some time after it was let loose, unless it is called off; only another thread can.

    The thread is there before it is needed, and waits for a bare lock: a signal's handler may have interrupted whoever holds
    the lock that starting a thread takes.

    Args:
        seconds: how much time.
    """

    def __init__(self, seconds: float) -> None:
        #: Whether it was let loose; calling it off does not change that.
        self.loose: bool = False
        self._seconds = seconds
        self._leash = threading.Lock()
        self._leash.acquire()
        self._whistle = threading.Lock()
        self._whistle.acquire()
        threading.Thread(target=self._wait, name="sfere_tornado watchdog", daemon=True).start()

    def __repr__(self) -> str:
        return f"<Watchdog {'loose' if self.loose else 'on its leash'}>"

    def let_loose(self) -> None:
        """Let the time begin; safe in a signal's handler, once."""
        self.loose = True
        self._leash.release()

    def call_off(self) -> None:
        """Let the process live, once."""
        self._whistle.release()

    def dismiss(self) -> None:
        """End the thread of a watchdog that was never let loose."""
        self._whistle.release()
        self._leash.release()

    def _wait(self) -> None:
        self._leash.acquire()
        if not self._whistle.acquire(timeout=self._seconds):
            end_process()


def end_process() -> NoReturn:
    """End the process at once, with exit code 0, without asking anybody."""
    with suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)

"""One call of a store: its work under a lock, then the callbacks it caused, outside the lock.

A callback may use the store: whatever that causes is put at the end of the queue and worked off by the outermost call,
in order and without recursion. A store is meant to be used from the thread of its event loop; the lock (about 0.1 µs)
keeps it whole when another thread uses it all the same, whose callbacks may then run in either thread.

Law: **no callback is lost.** An exception in one is logged and the next is called. What interrupts the process
(KeyboardInterrupt, SystemExit) passes through, and what still waits is called by the next call of the store.
"""

from __future__ import annotations

import logging
from collections import deque
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("MAX_CALLBACKS_IN_A_ROW", "Turn")

#: Callbacks called in one go, 20,000: two for each connection of a full store of default size, which may all leave at
#: once. More than that is most likely a callback that puts and purges for ever, which must not hold the process up.
MAX_CALLBACKS_IN_A_ROW: Final = 20_000

_logger = logging.getLogger("sfere_tornado.stores")


class Turn:
    """A context manager around each call of a store.

    Args:
        name: what the store is called in log lines.
        limit: callbacks called in one go; what is beyond waits for the next call.
    """

    __slots__ = ("_limit", "_lock", "_name", "_running", "_waiting")

    def __init__(self, name: str, limit: int = MAX_CALLBACKS_IN_A_ROW) -> None:
        self._name = name
        self._limit = limit
        self._lock = RLock()
        self._waiting: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._running = False

    def __repr__(self) -> str:
        return f"<Turn of {self._name}, {len(self._waiting)} callbacks waiting>"

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exception: object) -> None:
        self._lock.release()
        if self._waiting:
            self._work_off()

    @property
    def behind(self) -> bool:
        """Whether callbacks wait that nobody is working off, so that they need another call of the store."""
        return bool(self._waiting) and not self._running

    def call_after(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Have a callback called after the present call, and after those that wait already."""
        self._waiting.append((callback, arguments))

    def _work_off(self) -> None:
        with self._lock:
            if self._running:
                return
            self._running = True
        called = 0
        try:
            while called < self._limit:
                with self._lock:
                    if not self._waiting:
                        # Said under the lock, or another thread could add one and believe that it will be called.
                        self._running = False
                        return
                    callback, arguments = self._waiting.popleft()
                called += 1
                try:
                    callback(*arguments)
                except Exception:
                    _logger.exception(
                        "%s: the callback %r failed; the others are called", self._name, callback
                    )
        except BaseException:
            self._running = False
            raise
        self._running = False
        if self._waiting:
            _logger.warning(
                "%s: %d callbacks were called in one go, and %d more wait for the next call of the store; "
                "does one put and purge for ever?",
                self._name,
                called,
                len(self._waiting),
            )

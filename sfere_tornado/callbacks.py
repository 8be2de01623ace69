"""A queue of callbacks, which are called in order and without recursion.

A call adds the callbacks it caused and runs the queue at its end. A callback may make such a call
itself: what that causes goes to the end of the queue, and the outermost run calls it. So a chain
of any length needs no stack, and every callback sees the state that the call left behind.

The queue belongs to the thread of its event loop. It has no lock.

Law: **no callback is lost, and none stops the others.** An exception in one is logged, also a
CancelledError, a GeneratorExit or a SystemExit, and the next is called. Only a KeyboardInterrupt
passes; what still waits then is called by the next run.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

__all__ = ("MAX_CALLBACKS_IN_A_ROW", "Callbacks", "call_guarded")

#: Callbacks called in one run, 20,000: two for each connection of a full store of default size,
#: which may all leave in one call. More is most likely a callback that causes itself, which must
#: not block the event loop.
MAX_CALLBACKS_IN_A_ROW: Final = 20_000


class Callbacks:
    """A first-in first-out queue of callbacks.

    Args:
        name: what owns the queue, in log lines.
        logger: where failures are logged.
        limit: callbacks called in one run; the rest waits for the next run.
    """

    __slots__ = ("_limit", "_logger", "_name", "running", "waiting")

    def __init__(
        self, name: str, logger: logging.Logger, limit: int = MAX_CALLBACKS_IN_A_ROW
    ) -> None:
        self._name: str = name
        self._logger: logging.Logger = logger
        self._limit: int = limit
        #: Callbacks with their arguments, oldest first. A caller that finds it empty need not
        #: call :meth:`run`, which saves a call on each journey.
        self.waiting: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        #: Whether a run is on the stack.
        self.running: bool = False

    def __repr__(self) -> str:
        return f"<Callbacks of {self._name}, {len(self.waiting)} waiting>"

    def add(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Add a callback after those that wait already."""
        self.waiting.append((callback, arguments))

    def run(self) -> None:
        """Call what waits, and what that causes; inside a callback, leave it to the outer run.

        Raises:
            KeyboardInterrupt: when a callback raises it; the rest waits for the next run.
        """
        if self.running:
            return
        self.running = True
        called = 0
        try:
            while self.waiting and called < self._limit:
                callback, arguments = self.waiting.popleft()
                called += 1
                call_guarded(self._logger, f"{self._name}: the callback", callback, *arguments)
        finally:
            self.running = False
        if self.waiting:
            self._logger.warning(
                "%s: %d callbacks were called in a row, and %d more wait for the next call; "
                "look for a callback that causes itself",
                self._name,
                called,
                len(self.waiting),
            )


def call_guarded(
    logger: logging.Logger, what: str, hook: Callable[..., object], *arguments: Any, **keywords: Any
) -> Any:
    """Call a plain hook of the application; log what it raises, and go on.

    A hook awaits nothing. So a CancelledError out of it is not the loop's cancellation of the
    present task, which is thrown where the task awaits, but the fault of the hook, like a
    GeneratorExit or a SystemExit. Passed on, it would keep the caller from ending the other
    streams.

    Args:
        logger: where the failure is logged.
        what: what the hook is, for the log line.
        hook: the hook.
        arguments: its arguments.
        keywords: its keyword arguments, which are not logged.

    Returns:
        What the hook returned; None when it failed.

    Raises:
        KeyboardInterrupt: when the hook, or a signal during it, raises that.
    """
    try:
        return hook(*arguments, **keywords)
    except KeyboardInterrupt:
        raise
    except BaseException:
        logger.exception("%s %r failed for %r; the others are called", what, hook, arguments)
        return None

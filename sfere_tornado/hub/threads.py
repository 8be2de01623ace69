"""Dispatches from other threads.

Law: **every call gets an answer**: the dispatch, or an error. A thread that waits for an answer
outlives the event loop, and the process would wait for the thread.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from threading import RLock
from typing import TYPE_CHECKING, Any

from ..errors import HubError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ..dispatch import Dispatched

__all__ = ("Calls",)


class Calls:
    """Dispatches that other threads have asked for and that have not begun."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[Future[Dispatched]] = set()
        # A signal handler may interrupt this thread and call too.
        self._lock = RLock()

    def __repr__(self) -> str:
        return f"<Calls: {len(self._waiting)} waiting>"

    def meet(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Take calls for an event loop; with None, refuse all that have not begun."""
        with self._lock:
            self._loop = loop
            refused, self._waiting = self._waiting, set()
        for answer in refused:
            # The caller may have cancelled it.
            if answer.set_running_or_notify_cancel():
                answer.set_exception(HubError("the hub was stopped before the dispatch had begun"))

    def soon(
        self,
        dispatch: Callable[[], Dispatched],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> Future[Dispatched]:
        """Dispatch in the loop's thread.

        Args:
            dispatch: dispatches.
            spawn: runs a coroutine as a task.

        Returns:
            A future of the finished dispatch.

        Raises:
            HubError: when there is no event loop.
        """
        answer: Future[Dispatched] = Future()

        def begin() -> None:
            with self._lock:
                if answer not in self._waiting:
                    return
                self._waiting.discard(answer)
            if not answer.set_running_or_notify_cancel():
                return
            try:
                dispatched = dispatch()
            except Exception as error:
                answer.set_exception(error)
            else:
                spawn(_tell_later(dispatched, answer))

        # A stop before this call refuses it here; a stop after it refuses it there.
        with self._lock:
            if self._loop is None:
                raise HubError(
                    "the hub has not been started; call hub.start() in the event loop first"
                )
            try:
                self._loop.call_soon_threadsafe(begin)
            except RuntimeError as error:
                raise HubError(
                    "the hub's event loop has been closed; call hub.start() in the next one first"
                ) from error
            self._waiting.add(answer)
        return answer


async def _tell_later(dispatched: Dispatched, answer: Future[Dispatched]) -> None:
    """Give a dispatch to another thread when everything in it is finished."""
    try:
        await dispatched
    except asyncio.CancelledError:
        # Without an answer, a thread that waits would wait for ever.
        answer.set_exception(
            HubError("the hub was stopped before the dispatch had come to its end")
        )
        raise
    except Exception as error:
        # A result that was still under way has failed.
        answer.set_exception(error)
    else:
        answer.set_result(dispatched)

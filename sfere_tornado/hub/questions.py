"""Ask the application whether clients may stay.

How it works. While a question is open, the stream is paused: events wait in its outbox. The answer
True writes them. False ends the stream and drops them, because the right was already in doubt when
they came. A hook that fails, or does not answer in time, has not answered: the stream stays, the
events are written, and the next heartbeat interval asks again.

Law: **a client has one question at a time**, also while a hook that was given up still runs.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ..streams.connection import Connection

    Revalidate: TypeAlias = Callable[
        [Connection], Coroutine[Any, Any, bool]
    ]  # returns whether the client may stay

__all__ = ("Questions",)

log: logging.Logger = logging.getLogger("sfere_tornado.hub")


class _Question:
    """One question: when it was asked, its task, and whether it is answered or given up."""

    __slots__ = ("asked_at", "closed", "task")

    def __init__(self, asked_at: float) -> None:
        self.asked_at = asked_at
        self.task: asyncio.Task[None] | None = None
        self.closed = asyncio.Event()


class Questions:
    """The questions whose hooks still run.

    Args:
        patience: seconds after which a question is given up.
        timer: the hub's clock.
        spawn: runs a coroutine as a task.
    """

    def __init__(
        self,
        patience: float,
        timer: Callable[[], float],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._patience = patience
        self._timer = timer
        self._spawn = spawn
        self._open: dict[Connection, _Question] = {}

    def __repr__(self) -> str:
        return f"<Questions: {len(self._open)} open>"

    def __contains__(self, connection: object) -> bool:
        return connection in self._open

    def ask(self, connection: Connection, revalidate: Revalidate) -> None:
        """Pause a stream, and ask whether its client may stay."""
        connection.pause()
        question = self._open[connection] = _Question(self._timer())
        question.task = self._spawn(self._ask(connection, revalidate, question))

    def give_up(self) -> None:
        """Close the questions that are too old and cancel their hooks; called on every tick."""
        latest = self._timer() - self._patience
        late = [
            (connection, question)
            for connection, question in self._open.items()
            if question.asked_at <= latest and not question.closed.is_set()
        ]
        for connection, question in late:
            if connection.reason is None:
                log.error(
                    "revalidate has not answered within %g s for %r, which stays open; it is asked again at the next "
                    "heartbeat, and stream.revalidate_timeout may be raised",
                    self._patience,
                    connection,
                )
            _close(connection, question)
            if question.task is None:
                # It has no task, so nothing else removes it.
                del self._open[connection]
            else:
                question.task.cancel()

    def drop(self, connection: Connection) -> None:
        """Cancel the hook of a client that has left."""
        question = self._open.get(connection)
        if question is None or question.closed.is_set():
            return
        _close(connection, question)
        if question.task is not None and question.task is not _current_task():
            question.task.cancel()

    async def closed(self, connection: Connection) -> None:
        """Wait until no question about a client is open, for code that writes past its outbox."""
        question = self._open.get(connection)
        if question is not None:
            await question.closed.wait()

    async def _ask(
        self, connection: Connection, revalidate: Revalidate, question: _Question
    ) -> None:
        try:
            if not await revalidate(connection):
                # Also when the answer comes too late.
                connection.close(reconnect=False, reason="revoked")
        except Exception:
            log.exception(
                "revalidate failed for %r, which stays open; it is asked again at the next heartbeat",
                connection,
            )
        finally:
            del self._open[connection]
            _close(connection, question)


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop runs, in a test
        return None


def _close(connection: Connection, question: _Question) -> None:
    if not question.closed.is_set():
        question.closed.set()
        connection.resume()

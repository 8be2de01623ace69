"""The load: a process of clients, controlled over a pipe."""

from __future__ import annotations

import asyncio
import multiprocessing
from typing import TYPE_CHECKING, Any, Final, Self

from .clients import run

if TYPE_CHECKING:
    from types import TracebackType

    from .clients import Arrivals

__all__ = ("PATIENCE", "Load", "LoadError")

#: Seconds after which the measurement has failed; none of them takes as long.
PATIENCE: Final = 120.0

#: The path of a stream, by the number of its client.
EVENTS: Final = "/events?n={n}"


class LoadError(RuntimeError):
    """The clients have not answered: an expected event has not come, or their process has ended."""


class Load:
    """Clients in a process of their own. Usable in ``with``; its end closes all of them."""

    def __init__(self) -> None:
        # Not forked: a fork would inherit the sockets of the server, if that is in this process.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=run, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.join()

    def expect(self, events: int) -> None:
        """Begin to count; :meth:`arrivals` returns when this number of events has come."""
        self._ask("expect", events=events)

    def arrivals(self) -> Arrivals:
        """Wait for the expected events, when the server is another process."""
        return self._answer()

    async def arrived(self) -> Arrivals:
        """Wait for the expected events, when the server is this process."""
        return await self._answer_in_turn()

    def open(self, port: int, count: int, *, path: str = EVENTS, first: int = 0) -> float:
        """Open this number of streams; return seconds."""
        return self._ask("open", port=port, count=count, path=path, first=first, authority=None)

    async def opened(
        self,
        port: int,
        count: int,
        *,
        path: str = EVENTS,
        first: int = 0,
        authority: str | None = None,
        headers: str = "",
    ) -> float:
        """Open this number of streams of a server in this process; return seconds."""
        how = {"path": path, "first": first, "authority": authority, "headers": headers}
        self._pipe.send(("open", {"port": port, "count": count, **how}))
        return await self._answer_in_turn()

    def leave(self, count: int) -> int:
        """Close the streams that were opened last; return the nanoseconds immediately before the
        first close.
        """
        return self._ask("leave", count=count)

    async def left(self, count: int) -> int:
        """Do as :meth:`leave`, when the server is this process."""
        self._pipe.send(("leave", {"count": count}))
        return await self._answer_in_turn()

    def swallow(self) -> None:
        """Read what comes from now on and discard it."""
        self._ask("swallow")

    def stall(self) -> None:
        """Stop reading."""
        self._ask("stall")

    def abandon(self) -> None:
        """Close streams that have stalled."""
        self._ask("abandon")

    def follow(self, *, on: bool = True) -> None:
        """Read without a pause, and record each event, until switched off; see :meth:`count`."""
        self._ask("follow", on=on)

    def bytes(self) -> int:
        """Return how many bytes have come."""
        return self._ask("bytes")

    def count(self) -> Arrivals | None:
        """Return what has arrived since the last call; None when nothing has."""
        return self._ask("count")

    def churn(self, port: int, count: int, *, path: str = EVENTS) -> float:
        """Open and close this number of streams in mixed ways; return seconds."""
        return self._ask("churn", port=port, count=count, path=path)

    def _ask(self, command: str, **arguments: Any) -> Any:
        self._pipe.send((command, arguments))
        return self._answer()

    def _answer(self) -> Any:
        if not self._pipe.poll(PATIENCE):
            raise LoadError(f"the clients have not answered for {PATIENCE:.0f} s")
        try:
            return self._pipe.recv()
        except EOFError:
            raise LoadError("the process of the clients has ended") from None

    async def _answer_in_turn(self) -> Any:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._pipe.fileno(), lambda: ready.done() or ready.set_result(None))
        try:
            await asyncio.wait_for(ready, PATIENCE)
        except TimeoutError:
            raise LoadError(f"the clients have not answered for {PATIENCE:.0f} s") from None
        finally:
            loop.remove_reader(self._pipe.fileno())
        return self._answer()

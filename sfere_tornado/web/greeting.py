"""What the application sends to a client while its stream is opening."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from ..streams.delivery import Delivery, Failure
from ..wire.event_stream import encode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from ..reasons import Reason
    from ..streams.connection import Connection
    from ..wire.event_stream import Event

__all__ = ("Greeting",)

#: Bytes of a greeting that are written in one call, 64 KiB.
_PIECE: Final = 64 * 1024


class Greeting:
    """The target of a dispatch that greets a client; its events come before all that waits.

    Args:
        connection: the stream that is opening.
    """

    __slots__ = ("_came", "_ending", "_payloads", "connection")

    def __init__(self, connection: Connection) -> None:
        self.connection: Connection = connection
        self._payloads: list[bytes] = []
        self._ending: tuple[bool, Reason] | None = None
        self._came: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<Greeting of {self.connection!r}, {len(self._payloads)} events>"

    @property
    def closed(self) -> bool:
        """Whether the stream has ended, or ends when what was sent before is written."""
        return self._ending is not None or self.connection.closed

    def send(self, event: Event) -> Delivery:
        """Encode one event and deliver it.

        Raises:
            EventTooLargeError: when the event is larger than the standard bound.
        """
        return self.deliver(encode(event))

    def deliver(self, payload: bytes, name: Hashable = None) -> Delivery:
        """Deliver ready bytes of the event stream; they are written before everything that waits.

        Args:
            payload: one encoded event, or several.
            name: as for :meth:`.Connection.deliver`; nothing that greets a client replaces
                anything.
        """
        delivery = Delivery([self.connection])
        delivery.finish()
        if self.closed:
            reason = self.connection.reason or (self._ending[1] if self._ending else "client")
            delivery.failures.append(Failure(self.connection.key, self.connection, reason))
        else:
            self._payloads.append(payload)
            self._wake()
        return delivery

    def close(self, *, reconnect: bool = True, reason: Reason = "server") -> None:
        """End the stream, after what was sent before; see :meth:`.Connection.close`."""
        if not self.closed:
            self._ending = reconnect, reason
            self._wake()

    async def write(self, write: Callable[[bytes], Awaitable[Any]]) -> None:
        """Write what was sent so far, 64 KiB a call; then end the stream, where asked to."""
        data, self._payloads = b"".join(self._payloads), []
        for begin in range(0, len(data), _PIECE):
            await write(data[begin : begin + _PIECE])
        if self._ending is not None:
            reconnect, reason = self._ending
            self.connection.close(reconnect=reconnect, reason=reason)

    async def write_until(
        self, done: asyncio.Future[Any], write: Callable[[bytes], Awaitable[Any]]
    ) -> None:
        """Write what is sent as it comes, until a future is done: text comes word by word."""
        while not done.done():
            self._came = asyncio.get_running_loop().create_future()
            if not self._payloads:
                await asyncio.wait({done, self._came}, return_when=asyncio.FIRST_COMPLETED)
            await self.write(write)

    def _wake(self) -> None:
        if self._came is not None and not self._came.done():
            self._came.set_result(None)

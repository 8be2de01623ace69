"""Many connections behind the interface of one.

An effect that sends does not know whether it has one connection before it or ten thousand: both have ``deliver``,
``send`` and ``close``. A fan-out encodes an event once and frames it once for each kind of framing.

Law: **a failing receiver never stops the others.** Those that did not take the bytes are gathered in the loop and ended
after it, so that whatever their end sets off (a farewell to the rest) meets a finished loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .connection import Connection, Delivery, Failure
from .event_stream import Event, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .connection import Reason

__all__ = ("Fanout",)


class Fanout:
    """A number of connections, reached together.

    Args:
        connections: the receivers; each gets the bytes once, in this order.
    """

    __slots__ = ("connections", "failures")

    def __init__(self, connections: Sequence[Connection]) -> None:
        self.connections = connections
        #: Every receiver that failed in this fan-out so far, by connection: one failing twice counts once.
        self.failures: dict[Connection, Failure] = {}

    def __repr__(self) -> str:
        return f"<Fanout of {len(self.connections)}, {len(self.failures)} failed>"

    def __len__(self) -> int:
        return len(self.connections)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self.connections)

    @property
    def closed(self) -> bool:
        """Whether no receiver is left."""
        return all(connection.closed for connection in self.connections)

    def send(self, event: Event) -> Delivery:
        """Encode one event and deliver it to all.

        Raises:
            EventTooLargeError: when the event is larger than the standard bound; nobody has got anything then.
        """
        return self.deliver(encode(event))

    def deliver(self, payload: bytes) -> Delivery:
        """Deliver ready bytes of the event stream, not yet framed, to all; returns how many took them."""
        failed: list[Connection] = []
        frame: Callable[[bytes], bytes] | None = None
        framed = payload
        for connection in self.connections:
            if connection.frame is not frame:
                frame = connection.frame
                framed = frame(payload)
            if not connection.offer(framed):
                failed.append(connection)
        return Delivery(len(self.connections) - len(failed), tuple(self._settle(connection) for connection in failed))

    def close(self, *, reconnect: bool = True, reason: Reason = "server") -> None:
        """End every stream; see :meth:`Connection.close`."""
        for connection in self.connections:
            connection.close(reconnect=reconnect, reason=reason)

    def _settle(self, connection: Connection) -> Failure:
        failure = Failure(connection.key, connection, connection.settle())
        return self.failures.setdefault(connection, failure)

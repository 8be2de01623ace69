"""What an effect sends to: a :class:`Target`, which is one connection or a fan-out of many.

An effect that sends does not know whether it has one connection or ten thousand. An event is
encoded once and framed once; a failing receiver never stops the others (see :mod:`.writer`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..wire.event_stream import Event, encode
from .writer import AT_ONCE, Writer

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from ..reasons import Reason
    from .connection import Connection
    from .delivery import Delivery, Failure

__all__ = ("Fanout", "Target")


class Target(Protocol):
    """**Protocol:** what an effect sends to.

    It is a :class:`.Connection`, a :class:`Fanout` of many, or the greeting of a stream that opens.
    """

    @property
    def closed(self) -> bool:
        """Whether no open stream is left."""

    def send(self, event: Event) -> Delivery:
        """Encode one event and deliver it."""

    def deliver(self, payload: bytes, name: Hashable = None) -> Delivery:
        """Deliver encoded events, not framed."""

    def close(self, *, reconnect: bool = True, reason: Reason = "server") -> None:
        """End the streams, after what was delivered before."""


class Fanout:
    """A number of connections, reached together.

    Args:
        connections: the receivers, in this order, each once; the sequence must not change
            afterwards.
        writer: writes what is delivered; by default at once.
    """

    __slots__ = ("connections", "deliveries", "writer")

    def __init__(
        self,
        connections: Sequence[Connection],
        writer: Writer = AT_ONCE,
    ) -> None:
        self.connections: Sequence[Connection] = connections
        self.writer: Writer = writer
        #: What was delivered to all of them so far.
        self.deliveries: list[Delivery] = []

    def __repr__(self) -> str:
        return f"<Fanout of {len(self.connections)}, {len(self.failures())} failed>"

    def __len__(self) -> int:
        return len(self.connections)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self.connections)

    @property
    def closed(self) -> bool:
        """Whether no receiver is left."""
        return all(connection.closed for connection in self.connections)

    def failures(self) -> tuple[Failure, ...]:
        """Return every receiver that failed so far, each once."""
        found: dict[Connection, Failure] = {}
        for delivery in self.deliveries:
            for failure in delivery.failures:
                found.setdefault(failure.connection, failure)
        return tuple(found.values())

    def send(self, event: Event) -> Delivery:
        """Encode one event and deliver it to all.

        Raises:
            EventTooLargeError: when the event is larger than the standard bound; it is not sent
                then.
        """
        return self.deliver(encode(event))

    def deliver(self, payload: bytes, name: Hashable = None) -> Delivery:
        """Deliver encoded events, not framed, to all; see :meth:`Connection.deliver`."""
        delivery = self.writer.deliver(self.connections, payload, name)
        if not self.deliveries or self.deliveries[-1] is not delivery:
            self.deliveries.append(delivery)
        return delivery

    def close(self, *, reconnect: bool = True, reason: Reason = "server") -> None:
        """End every stream, after what was delivered before; see :meth:`Connection.close`."""
        # Once for all, instead of looking for each one's last words.
        self.writer.flush()
        for connection in self.connections:
            connection.close(reconnect=reconnect, reason=reason)

"""What one client has been sent and its socket has not yet taken.

Events wait in the outbox, not framed, in the order of delivery. They leave joined. What the
transport is sending counts against the bound too: the memory of a client that does not read is what
waits and what is on its way.

Laws:

- **The bound is exact to the byte**, of what waits and of what is on its way.
- **The deliveries know what is lost.** An event that waits here keeps its delivery. If the stream
  ends before the socket takes the event, the delivery has failed for this client.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from .delivery import Delivery
    from .transport import Transport

__all__ = ("CATCH_UP", "Outbox")

#: Bytes that leave together when a client catches up, 64 KiB. A newer event can replace one that
#: waits, but not one that the transport has.
CATCH_UP: Final = 64 * 1024


class Outbox:
    """What waits for one client, and what its transport is sending.

    Args:
        limit: bytes that may wait.
        conflate: whether events of one name replace each other while they wait.
    """

    __slots__ = (
        "_sending",
        "_sending_size",
        "_waiting",
        "conflate",
        "drains",
        "limit",
        "size",
        "transport",
    )

    def __init__(self, limit: int, *, conflate: bool) -> None:
        self.limit: int = limit
        self.conflate: bool = conflate
        #: Bytes of both.
        self.size: int = 0
        #: How often the transport has sent all of what the socket did not take.
        self.drains: int = 0
        #: The way to the client; None before the stream opens and after its end.
        self.transport: Transport | None = None
        # Events by name, or by an object of their own.
        self._waiting: dict[Hashable, tuple[bytes, Delivery]] = {}
        self._sending: Sequence[Delivery] = ()
        self._sending_size = 0

    def __repr__(self) -> str:
        return f"<Outbox: {len(self._waiting)} events wait, {self.size} of {self.limit} bytes>"

    def __bool__(self) -> bool:
        """Whether events wait."""
        return bool(self._waiting)

    def keep(self, deliveries: Sequence[Delivery]) -> int | None:
        """Let the events of deliveries wait.

        Returns:
            How many events they replaced; None when they do not fit, and then none of them waits.
        """
        replaced = 0
        for delivery in deliveries:
            for payload, name in zip(delivery.payloads, delivery.names, strict=True):
                place = name if name is not None and self.conflate else object()
                # An event keeps its own place in the order; it does not take the place of the one
                # it replaces.
                older = self._waiting.pop(place, None)
                if older is not None:
                    self.size -= len(older[0])
                    replaced += 1
                if self.size + len(payload) > self.limit:
                    self._withdraw(deliveries)
                    return None
                self._waiting[place] = payload, delivery
                self.size += len(payload)
        return replaced

    def send(
        self,
        transport: Transport,
        framed: bytes,
        deliveries: Sequence[Delivery],
        drained: Callable[[], object],
    ) -> bool:
        """Give bytes to the transport, which is not busy.

        Args:
            transport: the way to the client.
            framed: the bytes.
            deliveries: whose events they are.
            drained: see :meth:`.Transport.write`.

        Returns:
            True when the socket has taken them.

        Raises:
            ConnectionError: when the way is closed.
        """
        if transport.write(framed, drained):
            return True
        self._sending, self._sending_size = deliveries, len(framed)
        self.size += len(framed)
        return False

    def send_next(
        self,
        transport: Transport,
        encode: Callable[[bytes], bytes],
        drained: Callable[[], object],
    ) -> bool:
        """Give the next waiting events to the transport, up to 64 KiB, at least one.

        Args:
            transport: the way to the client.
            encode: compresses and frames the joined events.
            drained: see :meth:`.Transport.write`.

        Returns:
            True when the socket has taken them.

        Raises:
            ConnectionError: when the way is closed.
        """
        payloads: list[bytes] = []
        deliveries: dict[Delivery, None] = {}
        size = 0
        for payload, delivery in self._waiting.values():
            if payloads and size + len(payload) > CATCH_UP:
                break
            payloads.append(payload)
            deliveries[delivery] = None
            size += len(payload)
        for place in tuple(islice(self._waiting, len(payloads))):
            del self._waiting[place]
        self.size -= size
        joined = payloads[0] if len(payloads) == 1 else b"".join(payloads)
        # Before the write: when it raises, they are lost, and :meth:`empty` returns them.
        self._sending = tuple(deliveries)
        if self.send(transport, encode(joined), self._sending, drained):
            self._sending = ()
            return True
        return False

    def sent(self) -> None:
        """Record that the transport has sent everything."""
        self.drains += bool(self._sending_size)
        self.size -= self._sending_size
        self._sending, self._sending_size = (), 0

    def empty(self) -> tuple[list[bytes], list[Delivery]]:
        """Take out everything.

        Returns:
            The events that waited; and the deliveries of which the socket has not taken all, those
            that the transport is sending included.
        """
        payloads = [payload for payload, _ in self._waiting.values()]
        deliveries = dict.fromkeys(self._sending)
        deliveries |= dict.fromkeys(delivery for _, delivery in self._waiting.values())
        self._waiting = {}
        self._sending, self._sending_size, self.size = (), 0, 0
        return payloads, list(deliveries)

    def _withdraw(self, deliveries: Sequence[Delivery]) -> None:
        """Take out events that waited for a moment: the writer reports their deliveries."""
        for place, (payload, delivery) in tuple(self._waiting.items()):
            if delivery in deliveries:
                del self._waiting[place]
                self.size -= len(payload)

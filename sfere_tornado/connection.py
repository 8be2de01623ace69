"""One open event stream to one client: its state, its outbox, its end.

What is not here: sockets and HTTP (a :class:`Transport` has them), keys and leases (the stores), and who is told of the
end (whoever built the connection passes ``on_end``).

How it works. A connection is *opening* until it is given its transport; what is delivered before that waits. Bytes go to
the transport at once while nothing waits; while the transport is busy they wait in the outbox, and leave joined when it
calls :meth:`Connection.drained`.

Laws:

- **There is one end.** Whatever ends a stream (the client, a bound, the server, an error) comes to :meth:`Connection.end`;
  the first to come decides the reason, ``on_end`` is called once, and later comers change nothing.
- **The end is known at once**, also while last bytes are still on their way: from then on nothing is accepted.
- **The outbox is bounded.** A client that does not read is cut, and may come back; it never costs more than ``max_outbox``.
- **Delivering raises nothing and ends nothing** inside a loop over many connections: :meth:`Connection.offer` says False,
  and :meth:`Connection.settle` draws the consequence after the loop.

Not thread-safe: a connection is used from the thread of its event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from .errors import ConnectionClosedError
from .event_stream import Event, encode, retry
from .framing import unframed

if TYPE_CHECKING:
    from collections.abc import Callable

    from .keys import Key

__all__ = ("AWAY_FOR_A_YEAR", "MAX_OUTBOX", "Connection", "Delivery", "Failure", "Reason", "Transport")

Reason: TypeAlias = Literal[
    "client", "timeout", "slow", "expired", "replaced", "revoked", "shutdown", "server", "error"
]  # why a connection closed, finer than a store's cause

#: Bytes that may wait for one client, 1 MiB: some thousand events, far beyond a short stall, and still small enough
#: that a thousand stalled clients fit in memory.
MAX_OUTBOX: Final = 1024 * 1024

#: The reconnection time, in milliseconds, that tells a client to stay away: the standard has no word for "never".
AWAY_FOR_A_YEAR: Final = 365 * 24 * 3600 * 1000


class Transport(Protocol):
    """**Protocol:** the bytes' way to one client, as a connection needs it."""

    #: Puts the protocol's frame around the bytes of an event; one function object for all streams framed alike.
    frame: Callable[[bytes], bytes]
    #: What a clean end writes last, such as the last chunk; may be empty.
    last_frame: bytes

    def closed(self) -> bool:
        """Tell whether the way is closed, by whichever side."""

    def write(self, data: bytes) -> bool:
        """Take framed bytes.

        Returns:
            True when all of them are on their way; False when the transport is busy with them, in which case it calls
            :meth:`Connection.drained` once they are gone, and must be given nothing more until then.

        Raises:
            ConnectionError: when the way is closed.
        """

    def finish(self, data: bytes) -> None:
        """Write last bytes after all that was taken, then close; never raises."""

    def abort(self) -> None:
        """Close now, without a last frame, so that the client comes back; never raises."""

    def acknowledged(self) -> int | None:
        """Return how many bytes the peer's kernel has acknowledged so far, or None where that cannot be known."""


class Failure(NamedTuple):
    """One receiver that an event did not reach: its key (None when it was never stored), the connection, the reason."""

    key: Key | None
    connection: Connection
    reason: Reason


class Delivery(NamedTuple):
    """What became of one event: how many connections took it, and which did not."""

    reached: int
    failures: tuple[Failure, ...] = ()


class Connection:
    """One open event stream.

    Args:
        on_end: called once, with the connection, when the stream has ended for whatever reason.
        remote: the client's address, for people to read.
        max_outbox: bytes that may wait for the client before it is cut with reason ``slow``.
    """

    __slots__ = (
        "__weakref__",
        "_failure",
        "_on_end",
        "_transport",
        "_waiting",
        "acknowledged",
        "data",
        "frame",
        "idle_ticks",
        "key",
        "max_outbox",
        "outbox",
        "reason",
        "remote",
    )

    def __init__(
        self,
        *,
        on_end: Callable[[Connection], object] | None = None,
        remote: str = "",
        max_outbox: int = MAX_OUTBOX,
    ) -> None:
        #: The key under which the connection was first stored, or None.
        self.key: Key | None = None
        #: Why the stream ended; None while it has not.
        self.reason: Reason | None = None
        #: Bytes accepted that the transport has not yet taken whole.
        self.outbox = 0
        #: For the application's own use, such as the user's record; the library never looks at it.
        self.data: Any = None
        #: The transport's framing; many connections share one function.
        self.frame: Callable[[bytes], bytes] = unframed
        #: Heartbeat ticks since something was last offered; kept here for the hub.
        self.idle_ticks = 0
        #: Bytes acknowledged when the hub last looked.
        self.acknowledged = 0
        self.remote = remote
        self.max_outbox = max_outbox
        self._on_end = on_end
        self._transport: Transport | None = None
        self._waiting: list[bytes] | None = []
        self._failure: Reason | None = None

    def __repr__(self) -> str:
        state = "opening" if self._transport is None and self.reason is None else self.reason or "open"
        return f"<Connection {state} key={self.key} remote={self.remote!r} outbox={self.outbox}>"

    @property
    def closed(self) -> bool:
        """Whether the stream has ended; asks the transport too, which may know before anybody was told."""
        return self.reason is not None or (self._transport is not None and self._transport.closed())

    @property
    def opening(self) -> bool:
        """Whether the stream waits for its transport; what is delivered meanwhile is kept and follows."""
        return self._transport is None and self.reason is None

    def open(self, transport: Transport) -> None:
        """Give the connection its transport, once; what was delivered while it was opening leaves now.

        Raises:
            ConnectionClosedError: when the connection has ended meanwhile.
        """
        if self.reason is not None:
            raise ConnectionClosedError(self.reason)
        self._transport = transport
        self.frame = transport.frame
        # What waited has no frame yet: the framing was unknown when it came.
        self._waiting = [transport.frame(payload) for payload in self._waiting or ()]
        self.drained()

    def send(self, event: Event) -> None:
        """Encode one event and deliver it to this client.

        Raises:
            ConnectionClosedError: when the stream has ended, also if it does so now.
            EventTooLargeError: when the event is larger than the standard bound.
        """
        if self.deliver(encode(event)).failures:
            raise ConnectionClosedError(self.reason)

    def deliver(self, payload: bytes) -> Delivery:
        """Deliver ready bytes of the event stream, not yet framed, and end the stream if it cannot take them."""
        if self.offer(self.frame(payload)):
            return Delivery(1)
        return Delivery(0, (Failure(self.key, self, self.settle()),))

    def offer(self, framed: bytes) -> bool:
        """Take framed bytes; on the way of every event to every connection, so it raises nothing and ends nothing.

        Returns:
            False when they were not taken; :meth:`settle` must be called then, outside of any loop over connections.
        """
        if self.reason is not None or self._failure is not None:
            return False
        self.idle_ticks = 0
        if self._waiting is None:
            try:
                if not self._transport.write(framed):  # type: ignore[union-attr]  # nothing waits: it is open
                    self._waiting = []
                    self.outbox = len(framed)
            except ConnectionError:
                self._failure = "client"
                return False
            return True
        if self.outbox + len(framed) > self.max_outbox:
            self._failure = "slow"
            return False
        self._waiting.append(framed)
        self.outbox += len(framed)
        return True

    def settle(self) -> Reason:
        """End the stream after an offer that was not taken; returns the reason for which it ended."""
        if self.reason is None:
            self.close(reason=self._failure or "error")
        return self.reason or "error"

    def drained(self) -> None:
        """Take note that the transport has taken everything; what waited meanwhile leaves joined."""
        waiting, self._waiting, self.outbox = self._waiting, None, 0
        if waiting and self.reason is None:
            idle_ticks = self.idle_ticks
            if not self.offer(waiting[0] if len(waiting) == 1 else b"".join(waiting)):
                self.settle()
            self.idle_ticks = idle_ticks

    def close(self, *, reconnect: bool = True, reason: Reason = "server") -> None:
        """End the stream from this side; a second call changes nothing.

        Args:
            reconnect: True cuts the stream, and every client comes back after its reconnection time. False tells the
                client to stay away for a year, then ends the response cleanly (WHATWG HTML 9.2.3: a browser returns
                after any end; only a reconnection time keeps it away).
            reason: why, for whoever is told of the end.
        """
        if self.reason is not None:
            return
        transport, waiting = self._transport, self._waiting
        self.end(reason)
        if transport is None:
            return
        if reconnect:
            transport.abort()
        else:
            farewell = transport.frame(retry(AWAY_FOR_A_YEAR)) + transport.last_frame
            transport.finish(b"".join([*(waiting or ()), farewell]))

    def end(self, reason: Reason) -> bool:
        """Record that the stream has ended and tell ``on_end``; returns False when it had ended already."""
        if self.reason is not None:
            return False
        self.reason = reason
        self._waiting = []
        self.outbox = 0
        callback, self._on_end = self._on_end, None
        if callback is not None:
            callback(self)
        return True

    def read_acknowledged(self) -> bool:
        """Look whether the peer's kernel has acknowledged anything since the last look: a sign of life."""
        seen = self._transport.acknowledged() if self._transport is not None and self.reason is None else None
        if seen is None or seen <= self.acknowledged:
            return False
        self.acknowledged = seen
        return True

"""One open event stream to one client: its state, its outbox, its end.

Sockets and HTTP belong to the :class:`~sfere_tornado.streams.transport.Transport`, keys and leases
to the stores, and the time of writing to the :class:`~sfere_tornado.streams.writer.Writer`. The
caller that makes a connection passes ``on_end``, which is told of the end.

How it works. :attr:`Connection.write` is the transport's direct way while nothing waits for the
client. The writer's loop calls it and nothing else. Events wait in the outbox while the connection
is opening or held, or while the transport is still sending. They leave joined when the transport
calls :meth:`Connection.drained`.

Laws:

- **There is one end.** The client, a bound, the server and an error all end a stream through
  :meth:`Connection.end`. The first call sets the reason and calls ``on_end``; later calls do
  nothing.
- **The end is known in the same call**, also while last bytes are being sent. Nothing is accepted
  from then on.
- **The outbox is bounded.** A client that does not read is cut at ``max_outbox`` bytes. It may come
  back.
- **A client whose rights have ended gets nothing more**, not even what waits: with reason
  ``revoked``, and when a held stream ends.
- **Inside a loop over connections, taking raises nothing and ends nothing.**
  :meth:`Connection.take` returns False, and the writer calls :meth:`Connection.settle` after the
  loop.

Not thread-safe: use a connection in the thread of its event loop.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..callbacks import call_guarded
from ..defaults import MAX_OUTBOX
from ..errors import ConnectionClosedError
from ..wire.compression import BEHIND, OPENING, PLAIN
from ..wire.event_stream import Event, encode, retry
from .delivery import Failure
from .writer import AT_ONCE, NOT_NOW, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence

    from ..keys import Key
    from ..reasons import Reason
    from .delivery import Delivery
    from .transport import KernelView, Transport

__all__ = ("AWAY", "CATCH_UP", "Connection", "Health")

log: logging.Logger = logging.getLogger("sfere_tornado.streams.connection")

#: The reconnection time, in milliseconds, that tells a client to stay away: 24.8 days. The standard
#: has no word for "never". A longer time overflows the timers of JavaScript, and such a client
#: comes back without any delay.
AWAY: Final = 2**31 - 1

#: Bytes that leave together when a client catches up, 64 KiB. A newer event can replace one that
#: waits, but not one that the transport has.
CATCH_UP: Final = 64 * 1024


class Health(NamedTuple):
    """How a stream is doing."""

    #: Bytes that wait for the client, and for how many of the hub's ticks nothing of them has gone.
    outbox: int
    stalled_ticks: int
    #: What the kernel knows; None on platforms that do not tell, and once the stream has ended.
    kernel: KernelView | None


def _not_now(framed: bytes) -> int:
    return NOT_NOW


class Connection:
    """One open event stream.

    Args:
        on_end: called once, with the connection, when the stream has ended for whatever reason; an
            exception in it is logged.
        remote: the client's address, for people to read.
        max_outbox: bytes that may wait for the client before it is cut with reason ``slow``.
        conflate: whether events of one name replace each other while they wait.
        writer: writes what is delivered; by default at once.
    """

    __slots__ = (
        "__weakref__",
        "_failure",
        "_on_end",
        "_on_way",
        "_transport",
        "_waiting",
        "_writer",
        "acknowledged",
        "conflate",
        "data",
        "ends_at",
        "expires_at",
        "held",
        "idle_ticks",
        "key",
        "live",
        "max_outbox",
        "outbox",
        "reason",
        "remote",
        "revalidate",
        "stalled_ticks",
        "step",
        "write",
    )

    def __init__(
        self,
        *,
        on_end: Callable[[Connection], object] | None = None,
        remote: str = "",
        max_outbox: int = MAX_OUTBOX,
        conflate: bool = False,
        writer: Writer = AT_ONCE,
    ) -> None:
        #: The key under which the connection was first stored, or None.
        self.key: Key | None = None
        #: Why the stream ended; None while it has not.
        self.reason: Reason | None = None
        #: Bytes accepted that the socket has not yet taken.
        self.outbox: int = 0
        #: For the application, such as the user's record; the library never reads it.
        self.data: Any = None
        #: For the writer: takes framed bytes, returns how many.
        self.write: Callable[[bytes], int] = _not_now
        #: For the writer: which compressed bytes the client can read.
        self.step: int = OPENING
        #: The hub's ticks since the last write, and since the waiting bytes last got fewer.
        self.idle_ticks: int = 0
        self.stalled_ticks: int = 0
        #: Bytes acknowledged when the hub last looked.
        self.acknowledged: int = 0
        #: When its lifetime ends, on the hub's clock. The stream is cut then; the client comes
        #: back.
        self.ends_at: float = inf
        #: When the client's rights end, on the hub's clock. The client is told to stay away then.
        #: The application sets it: ``connection.expires_at = hub.time() + seconds``.
        self.expires_at: float = inf
        #: Called at each heartbeat interval: may the client stay? None: not asked.
        self.revalidate: Callable[[Connection], Coroutine[Any, Any, bool]] | None = None
        #: Whether the first bytes, such as a replay, are written.
        self.live: bool = False
        #: Whether the client's rights are being checked, so that events wait.
        self.held: bool = False
        self.remote: str = remote
        self.max_outbox: int = max_outbox
        self.conflate: bool = conflate
        self._on_end = on_end
        self._writer = writer
        self._transport: Transport | None = None
        # Events that wait, not framed, by name or by an object of their own. None: nothing must
        # wait.
        self._waiting: dict[Hashable, bytes] | None = {}
        self._on_way = 0
        self._failure: Reason | None = None

    def __repr__(self) -> str:
        state = "opening" if self.opening else self.reason or "open"
        return f"<Connection {state} key={self.key} remote={self.remote!r} outbox={self.outbox}>"

    @property
    def closed(self) -> bool:
        """Whether the stream has ended. Asks the transport too, which may know it earlier."""
        return self.reason is not None or (self._transport is not None and self._transport.closed())

    @property
    def opening(self) -> bool:
        """Whether the stream waits for its transport. Events delivered until then wait."""
        return self._transport is None and self.reason is None

    def open(self, transport: Transport, *, compressed: bool = False, live: bool = True) -> None:
        """Give the connection its transport, once, and write what waits.

        Args:
            transport: the way to the client.
            compressed: whether the client got the header of a gzip stream.
            live: False makes all events wait until :meth:`go_live`; the opener writes others first.

        Raises:
            ConnectionClosedError: when the connection has ended.
            RuntimeError: when it has a transport already.
        """
        if self.reason is not None:
            raise ConnectionClosedError(self.reason)
        if self._transport is not None:
            raise RuntimeError(f"{self!r} has a transport already")
        self._transport = transport
        self.step = BEHIND if compressed else PLAIN
        if live:
            self.go_live()

    def go_live(self) -> None:
        """Write what waits, after the opener's own bytes; does nothing after the end."""
        if self.reason is None and self._transport is not None and self._transport.ready():
            self.drained()

    def hold(self) -> None:
        """Make all events wait in the outbox until :meth:`release`.

        For the time in which it is not known whether the client may have them.
        """
        self.held = True
        self.write = _not_now
        self._waiting = self._waiting or {}

    def release(self) -> None:
        """Write what was held, in order, unless the transport or the opener is still busy."""
        self.held = False
        if self.live and not self._on_way:
            self.drained()

    def send(self, event: Event) -> Delivery:
        """Encode one event and deliver it to this client.

        Raises:
            ConnectionClosedError: when the stream has ended, or ends in this call.
            EventTooLargeError: when the event is larger than the standard bound.
        """
        if self.reason is not None:
            raise ConnectionClosedError(self.reason)
        delivery = self.deliver(encode(event))
        if delivery.failures:
            raise ConnectionClosedError(self.reason)
        return delivery

    def deliver(self, payload: bytes, name: Hashable = None) -> Delivery:
        """Deliver ready bytes of the event stream, not framed.

        Args:
            payload: one encoded event, or several.
            name: replaces a waiting event of the same name, if the connection conflates.
        """
        return self._writer.deliver([self], payload, name)

    def take(
        self,
        payloads: Sequence[bytes],
        names: Sequence[Hashable],
        framed: bytes,
        outcome: int | OSError,
    ) -> bool:
        """Take what :attr:`write` did not take whole, for the writer.

        Args:
            payloads: the events, not framed.
            names: for each the name under which it may be replaced, or None.
            framed: all of them, as ``write`` was given them.
            outcome: what ``write`` returned or raised.

        Returns:
            False when they were not taken. Call :meth:`settle` then, after any loop over
            connections.
        """
        transport = self._transport
        if self.reason is not None or self._failure is not None:
            return False
        if self._waiting is not None or transport is None:
            return all(map(self._keep, payloads, names))
        if isinstance(outcome, OSError):
            return (
                self._hand_over(transport, framed)
                if transport.blocked(outcome)
                else self._fail("client")
            )
        if outcome == NOT_NOW:
            return self._hand_over(transport, transport.frame(self.alone(b"".join(payloads))))
        return self._hand_over(transport, framed[outcome:])

    def settle(self) -> Reason:
        """End a stream that did not take its events; return the reason of its end."""
        self.close(reason=self._failure or "error")
        return self.reason or "error"

    def drained(self) -> None:
        """Record that the transport has sent everything. Write the events that waited, joined."""
        transport = self._transport
        if self.reason is not None or self._failure is not None or transport is None:
            return
        self.outbox -= self._on_way
        self._on_way = self.stalled_ticks = 0
        self.live = True
        if self.held:
            return
        while self._waiting:
            if not self._hand_over(
                transport, transport.frame(self.alone(self._next_joined(self._waiting)))
            ):
                self.settle()
                return
            if self._on_way:
                return
        self._waiting = None
        self.write = transport.direct or _not_now

    def close(
        self, *, reconnect: bool = True, reason: Reason = "server", last_words: bytes = b""
    ) -> None:
        """End the stream from this side; a second call does nothing.

        Events that were delivered before are written first. Events that waited for a slow client
        are written only by a clean end. A client that is held or revoked gets none of them. A
        delivery of this turn lists in ``failures`` a client that did not get its events. An earlier
        one counts a client for which its events waited as reached, and in ``waited``.

        Args:
            reconnect: True cuts the stream: the client comes back after its reconnection time.
                False tells it to stay away, then ends cleanly (WHATWG HTML 9.2.3: a browser comes
                back after any end; a long reconnection time keeps it away).
            reason: the reason of the end; ``revoked`` says that the client's rights have ended.
            last_words: encoded events that a client gets before anything that waits, if it is cut
                before it is :attr:`live`.
        """
        if self.reason is not None:
            return
        transport, waiting, words = self._transport, self._waiting, b""
        handed: set[Delivery] = set()
        if transport is not None and not self.held and reason != "revoked":
            if not reconnect or waiting is None:
                # A client that missed something gets nothing later: it must come back for that.
                payloads = [*(waiting or {}).values()]
                if self._writer.pending and self._failure is None and not transport.closed():
                    pending, handed = self._writer.hand_out(self)
                    payloads += pending
                words = b"".join(payloads)
            elif not self.live and transport.ready():
                words = last_words
        for delivery in handed:
            # It is not done before the transport says what has become of these last events.
            delivery.add_jobs(1)
        self.end(reason)
        report = partial(self._report, handed, reason)
        if transport is not None and not reconnect:
            last = self.alone(words + retry(AWAY))
            transport.finish(transport.frame(last) + transport.last_frame, report)
        elif transport is not None:
            sent = True
            if words:
                with suppress(ConnectionError):
                    sent = transport.write(transport.frame(self.alone(words)))
            transport.abort()
            report(sent)

    def _report(self, handed: Iterable[Delivery], reason: Reason, sent: bool) -> None:
        """Complete deliveries whose events were the last of a stream."""
        for delivery in handed:
            if not sent:
                delivery.failures.append(Failure(self.key, self, reason))
            delivery.end_job()

    def end(self, reason: Reason) -> bool:
        """Record the end and call ``on_end``; return False if the stream had ended already."""
        if self.reason is not None:
            return False
        self.reason = reason
        self.write = _not_now
        self._waiting = {}
        self.outbox = self._on_way = 0
        callback, self._on_end = self._on_end, None
        if callback is not None:
            # The code that ends many streams must be able to end the others, and this socket.
            call_guarded(log, "on_end callback", callback, self)
        return True

    def health(self) -> Health:
        """Return how the stream is doing; asks the kernel, which costs a microsecond."""
        transport = self._transport if self.reason is None else None
        return Health(
            self.outbox, self.stalled_ticks, None if transport is None else transport.kernel()
        )

    def read_acknowledged(self) -> bool:
        """Return whether the peer's kernel has acknowledged bytes since the last call."""
        seen = (
            self._transport.acknowledged()
            if self._transport is not None and self.reason is None
            else None
        )
        if seen is None or seen <= self.acknowledged:
            return False
        self.acknowledged = seen
        return True

    def _keep(self, payload: bytes, name: Hashable) -> bool:
        """Let an event wait."""
        waiting = self._waiting
        if waiting is None:  # never so: only asked while something waits
            return False
        place = name if name is not None and self.conflate else object()
        # An event keeps its own place in the order; it does not take the place of the one it
        # replaces.
        replaced = waiting.pop(place, b"")
        if replaced and self.step > BEHIND:
            # Later compressed blocks must not refer to an event that this client never gets.
            self.step = BEHIND
        size = self.outbox - len(replaced) + len(payload)
        if size > self.max_outbox:
            return self._fail("slow")
        waiting[place] = payload
        self.outbox = size
        return True

    def alone(self, payload: bytes) -> bytes:
        """Return events as bytes that this client can read without any it got before."""
        compressor = self._writer.compressor
        if compressor is None or self.step == PLAIN:
            return payload
        return compressor.independent(payload)

    def _fail(self, reason: Reason) -> bool:
        """Record why the stream must be settled, and write nothing more; return False."""
        self._failure = reason
        self.write = _not_now
        return False

    def _hand_over(self, transport: Transport, framed: bytes) -> bool:
        """Give bytes to the transport; return False if it is closed."""
        if self._waiting is None:
            self._waiting = {}
            self.write = _not_now
        try:
            gone = transport.write(framed)
        except ConnectionError:
            return self._fail("client")
        if not gone:
            self._on_way = len(framed)
            self.outbox += len(framed)
        elif not self._waiting:
            self._waiting = None
            self.write = transport.direct or _not_now
        return True

    def _next_joined(self, waiting: dict[Hashable, bytes]) -> bytes:
        """Take the next waiting events, up to :data:`CATCH_UP` bytes, at least one."""
        payloads: list[bytes] = []
        size = 0
        for payload in waiting.values():
            if payloads and size + len(payload) > CATCH_UP:
                break
            payloads.append(payload)
            size += len(payload)
        for place in tuple(islice(waiting, len(payloads))):
            del waiting[place]
        self.outbox -= size
        return payloads[0] if len(payloads) == 1 else b"".join(payloads)

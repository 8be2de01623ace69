"""One open event stream to one client: its state and its end.

Sockets and HTTP belong to the :class:`~sfere_tornado.streams.transport.Transport`, keys and leases
to the stores, and the time of writing to the :class:`~sfere_tornado.streams.writer.Writer`. The
caller that makes a connection passes ``on_end``, which is told of the end.

How it works. :attr:`Connection.write` is the transport's direct way while the stream is *open*. The
writer's loop calls it and nothing else. In every other :class:`~.states.State` events wait in the
:class:`~.outbox.Outbox`. They leave joined when the state becomes *open* again. What leads from one
state to another is one table, :data:`~.states.TRANSITIONS`; ``Connection._move`` is the only
place that sets a state.

Laws:

- **There is one end.** The client, a bound, the server and an error all end a stream through
  :meth:`Connection.end`. The first call sets the reason and calls ``on_end``; later calls do
  nothing.
- **The end is known in the same call**, also while last bytes are being sent. Nothing is accepted
  from then on.
- **The outbox is bounded.** A client that does not read is cut at ``max_outbox`` bytes. It may come
  back.
- **A client whose rights have ended gets nothing more**, not even what waits: with reason
  ``revoked``, and when a paused stream ends.
- **Inside a loop over connections, taking raises nothing and ends nothing.**
  :meth:`Connection.take` returns False, and the writer calls :meth:`Connection.settle` after the
  loop.
- **What has ended is freed without the cyclic collector.** A connection that has ended has no
  transport, and a transport that is closed calls nothing any more.

Not thread-safe: use a connection in the thread of its event loop.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..callbacks import call_guarded
from ..defaults import MAX_OUTBOX
from ..errors import ConnectionClosedError
from ..wire.compression import BEHIND, OPENING, PLAIN
from ..wire.event_stream import Event, encode, retry
from .delivery import Failure, joined, report_last
from .jobs import NOT_NOW
from .outbox import Outbox
from .states import TRANSITIONS, Signal, State
from .writer import AT_ONCE, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from ..keys import Key
    from ..reasons import Reason
    from .delivery import Delivery
    from .transport import KernelView, Transport

__all__ = ("AWAY", "Connection", "Health")

log: logging.Logger = logging.getLogger("sfere_tornado.streams.connection")

#: The reconnection time, in milliseconds, that tells a client to stay away: 24.8 days. The standard
#: has no word for "never". A longer time overflows the timers of JavaScript, and such a client
#: comes back without any delay.
AWAY: Final = 2**31 - 1

#: The reasons of streams that did not take their events.
_REASONS: Final[Mapping[State, Reason]] = {State.FULL: "slow", State.GONE: "client"}


class Health(NamedTuple):
    """How a stream is doing."""

    #: Bytes that wait for the client.
    outbox: int
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
        "_on_end",
        "_outbox",
        "_writer",
        "data",
        "expires_at",
        "idle",
        "key",
        "reason",
        "remote",
        "state",
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
        #: The client's address.
        self.remote: str = remote
        #: For the application, such as the user's record; the library never reads it.
        self.data: Any = None
        #: When the client's rights end, on the hub's clock. The client is told to stay away then.
        #: The application sets it.
        self.expires_at: float = inf
        #: What it does with an event.
        self.state: State = State.OPENING
        #: Why the stream ended; None while it has not.
        self.reason: Reason | None = None
        #: For the writer: takes framed bytes, returns how many.
        self.write: Callable[[bytes], int] = _not_now
        #: For the writer: which compressed bytes the client can read.
        self.step: int = OPENING
        #: For the watch: whether nothing was written since it last looked.
        self.idle: bool = True
        self._outbox = Outbox(max_outbox, conflate=conflate)
        self._on_end = on_end
        self._writer = writer

    def __repr__(self) -> str:
        state = self.reason or self.state.value
        return f"<Connection {state} key={self.key} remote={self.remote!r} outbox={self.outbox}>"

    @property
    def outbox(self) -> int:
        """Bytes accepted that the socket has not yet taken."""
        return self._outbox.size

    @property
    def drains(self) -> int:
        """How often the transport has sent all of what the socket did not take."""
        return self._outbox.drains

    @property
    def closed(self) -> bool:
        """Whether the stream has ended. Asks the transport too, which may know it earlier."""
        transport = self._outbox.transport
        return self.reason is not None or (transport is not None and transport.closed())

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
        if not self._move(Signal.OPEN):
            raise RuntimeError(f"{self!r} has a transport already")
        self._outbox.transport = transport
        self.step = BEHIND if compressed else PLAIN
        if live:
            self.go_live()

    def go_live(self) -> None:
        """Write what waits, after the opener's own bytes; does nothing after the end."""
        transport = self._outbox.transport
        if transport is not None and transport.ready(self.drained):
            self.drained()

    def pause(self) -> None:
        """Make all events wait in the outbox until :meth:`resume`.

        For the time in which it is not known whether the client may have them.
        """
        self._move(Signal.PAUSE)

    def resume(self) -> None:
        """Write what waited, in order, unless the transport or the opener is still busy."""
        if self._move(Signal.RESUME):
            self._catch_up()

    def drained(self) -> None:
        """Record that the transport has sent everything. Write the events that waited, joined."""
        if self._move(Signal.DRAIN):
            self._outbox.sent()
            self._catch_up()

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

    def take(self, deliveries: Sequence[Delivery], framed: bytes, outcome: int | OSError) -> bool:
        """Take what :attr:`write` did not take whole, for the writer.

        Args:
            deliveries: whose events they are.
            framed: all of them, as ``write`` was given them.
            outcome: what ``write`` returned or raised.

        Returns:
            False when they were not taken. Call :meth:`settle` then, after any loop over
            connections.
        """
        if self.state is State.OPEN:
            waits = self._pass_on(deliveries, framed, outcome)
        elif self.state in (State.FULL, State.GONE, State.ENDED):
            return False
        else:
            waits = self._keep(deliveries)
        if waits:
            for delivery in deliveries:
                delivery.waited += 1
        return waits is not None

    def settle(self) -> Reason:
        """End a stream that did not take its events; return the reason of its end."""
        self.close(reason=_REASONS.get(self.state, "error"))
        return self.reason or "error"

    def close(
        self, *, reconnect: bool = True, reason: Reason = "server", last_words: bytes = b""
    ) -> None:
        """End the stream from this side; a second call does nothing.

        Events that were delivered before are written first. Events that waited for a slow client
        are written only by a clean end. A client that is paused or revoked gets none of them. A
        delivery lists in ``failures`` each client that did not get its events.

        Args:
            reconnect: True cuts the stream: the client comes back after its reconnection time.
                False tells it to stay away, then ends cleanly (WHATWG HTML 9.2.3: a browser comes
                back after any end; a long reconnection time keeps it away).
            reason: the reason of the end; ``revoked`` says that the client's rights have ended.
            last_words: encoded events that a client gets before anything that waits, if it is cut
                before its first bytes are written.
        """
        state, transport = self.state, self._outbox.transport
        if state is State.ENDED:
            return
        words = b""
        waited: list[Delivery] = []
        handed: set[Delivery] = set()
        if transport is None or state.paused or reason == "revoked":
            pass
        elif state is State.OPEN or (not reconnect and state in (State.GREETING, State.BUSY)):
            # A client that missed something gets nothing later: it must come back for that.
            payloads, waited = self._outbox.empty()
            if self._writer.pending and not transport.closed():
                pending, handed = self._writer.hand_out(self)
                payloads += pending
            words = b"".join(payloads)
        elif state is State.GREETING and transport.ready(self.drained):
            words = last_words
        self.end(reason)
        report = partial(report_last, Failure(self.key, self, reason), waited, handed)
        if transport is not None and not reconnect:
            last = self.alone(words + retry(AWAY))
            transport.finish(transport.frame(last) + transport.last_frame, report)
        elif transport is not None:
            sent = not words
            if words:
                with suppress(ConnectionError):
                    sent = transport.write(transport.frame(self.alone(words)), self.drained)
            transport.abort()
            report(sent)

    def end(self, reason: Reason) -> bool:
        """Record the end and call ``on_end``; return False if the stream had ended already."""
        if not self._move(Signal.END):
            return False
        self.reason = reason
        _, waited = self._outbox.empty()
        self._outbox.transport = None
        report_last(Failure(self.key, self, reason), waited, (), sent=False)
        callback, self._on_end = self._on_end, None
        if callback is not None:
            # The code that ends many streams must be able to end the others, and this socket.
            call_guarded(log, "on_end callback", callback, self)
        return True

    def alone(self, payload: bytes) -> bytes:
        """Return events as bytes that this client can read without any it got before."""
        compressor = self._writer.compressor
        if compressor is None or self.step == PLAIN:
            return payload
        return compressor.independent(payload)

    def acknowledged(self) -> int | None:
        """Return the bytes that the client's kernel has acknowledged; None where not known."""
        transport = self._outbox.transport
        return None if transport is None else transport.acknowledged()

    def health(self) -> Health:
        """Return how the stream is doing; asks the kernel, which costs a microsecond."""
        transport = self._outbox.transport
        return Health(self.outbox, None if transport is None else transport.kernel())

    def _move(self, signal: Signal) -> bool:
        """Change the state by the table; return False if the signal changes nothing."""
        state = TRANSITIONS.get((self.state, signal))
        if state is None:
            return False
        self.state = state
        self.write = _not_now
        return True

    def _catch_up(self) -> None:
        """Write what waits, if the state is open now, until the transport is busy."""
        outbox, transport = self._outbox, self._outbox.transport
        if self.state is not State.OPEN or transport is None:
            return
        while outbox:
            try:
                gone = outbox.send_next(transport, self._framed, self.drained)
            except ConnectionError:
                self._move(Signal.BREAK)
                self.settle()
                return
            if not gone:
                self._move(Signal.BLOCK)
                return
        self.write = transport.direct or _not_now

    def _pass_on(
        self, deliveries: Sequence[Delivery], framed: bytes, outcome: int | OSError
    ) -> bool | None:
        """Give the transport what the socket left over.

        Returns:
            True when it waits now, False when the socket took it, None when the client has gone.
        """
        transport = self._outbox.transport
        if transport is None or (isinstance(outcome, OSError) and not transport.blocked(outcome)):
            self._move(Signal.BREAK)
            return None
        if outcome == NOT_NOW:
            rest = self._framed(joined(deliveries))
        else:
            rest = framed if isinstance(outcome, OSError) else framed[outcome:]
        try:
            if self._outbox.send(transport, rest, deliveries, self.drained):
                return False
        except ConnectionError:
            self._move(Signal.BREAK)
            return None
        self._move(Signal.BLOCK)
        return True

    def _keep(self, deliveries: Sequence[Delivery]) -> bool | None:
        """Let events wait; return None if they do not fit."""
        replaced = self._outbox.keep(deliveries)
        if replaced is None:
            self._move(Signal.OVERFLOW)
            return None
        if replaced and self.step > BEHIND:
            # Later compressed blocks must not refer to an event that this client never gets.
            self.step = BEHIND
        return True

    def _framed(self, payload: bytes) -> bytes:
        transport = self._outbox.transport
        return b"" if transport is None else transport.frame(self.alone(payload))

"""A connection without a socket, for tests of effects, broadcasts and callbacks.

The transport records what it is given. A test can make it slow, broken or closed, in the same turn:
nothing here waits. It is stricter than a socket: it raises when a connection writes while the
transport is busy, does not go on where a send stopped, or ends a stream twice.

::

    connection, transport = recording_connection()
    store.put(("default", ("lobby", "ann")), connection)
    hub.dispatch(broadcast((ANY, ("lobby", ANY)), send("hello")))
    assert [event.data for event in transport.events()] == ["hello"]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ..streams.connection import Connection
from ..streams.transport import KernelView
from ..wire.framing import chunked, unframed
from .parser import Parser

if TYPE_CHECKING:
    from collections.abc import Callable

    from .parser import Received

__all__ = ("RecordingTransport", "recording_connection")


class RecordingTransport:
    """**Implements** :class:`~sfere_tornado.streams.connection.Transport` without a socket.

    Args:
        connection: whose way this is; it is told when the transport has drained, and when the
            client has left.
        frame: the framing; none by default, so that :meth:`events` can read what was written.
        last_frame: what a clean end writes last.
        direct: whether it has the direct way, as a socket of HTTP/1.1 has; by default everything
            comes to :meth:`write`.

    Raises:
        ValueError: when it is to have the direct way with another frame than HTTP/1.1's.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        frame: Callable[[bytes], bytes] = unframed,
        last_frame: bytes = b"",
        direct: bool = False,
    ) -> None:
        if direct and frame is not chunked:
            raise ValueError("what goes the direct way is in chunks; give frame=chunked too")
        self.direct: Callable[[bytes], int] | None = self._take_directly if direct else None
        #: What the direct way does next: takes that many bytes at most, or raises the error; None
        #: takes everything, and nothing while the client is :attr:`stalled`.
        self.outcome: int | OSError | None = None
        self.frame = frame
        self.last_frame = last_frame
        self.connection = connection
        #: What each write brought, in order; what waited while the transport was busy comes as one.
        self.writes: list[bytes] = []
        #: How the stream was ended from this side: ``finished`` cleanly, ``aborted`` by a cut, or
        #: None.
        self.ending: Literal["finished", "aborted"] | None = None
        #: Whether the client does not read: writes are taken, and stay on their way until
        #: :meth:`drain`.
        self.stalled = False
        #: Bytes acknowledged by the peer's kernel; None where that cannot be known.
        self.acknowledged_bytes: int | None = None
        self._finishing: Callable[[bool], object] | None = None
        self._busy = False
        self._left = False
        self._broken = False
        # What a send on the direct way did not take: the connection must go on with it, and with
        # nothing else.
        self._rest = b""

    def __repr__(self) -> str:
        state = self.ending or ("left" if self._left else "busy" if self._busy else "open")
        return f"<RecordingTransport {state}, {len(self.writes)} writes>"

    @property
    def written(self) -> bytes:
        """Everything that was written."""
        return b"".join(self.writes)

    def events(self) -> list[Received]:
        """Return the events that the client got, parsed strictly; needs a transport without frames.

        Raises:
            EventStreamError: when what was written is not a correct event stream.
        """
        return Parser(max_buffered=max(1, len(self.written))).feed(self.written)

    # -- what a test makes happen

    def drain(self) -> None:
        """Let the client take what is on its way; the connection is told, and may write again."""
        self._busy = False
        self._finished(sent=True)
        self.connection.drained()

    def break_silently(self) -> None:
        """Let the client vanish unnoticed: only the next write finds out."""
        self._broken = True

    def leave(self) -> None:
        """Let the client close; the connection is told, as over a socket."""
        self._left = True
        self._finished(sent=False)
        self.connection.end("client")

    # -- the protocol

    def closed(self) -> bool:
        """Tell whether the way is closed, by whichever side."""
        return self._left or self.ending is not None

    def ready(self) -> bool:
        """Tell whether nothing is on its way."""
        return not self._busy

    def blocked(self, error: OSError) -> bool:
        """Tell whether an error of the direct way means "not now"."""
        return isinstance(error, BlockingIOError)

    def write(self, data: bytes) -> bool:
        """Record bytes; return True if all are taken, which a stalled client does not.

        Raises:
            ConnectionResetError: when the client has gone.
            RuntimeError: when the connection writes while the transport is busy, after it has ended
                the stream, or something else than what a send did not take.
        """
        self._check(data)
        if self._rest not in (b"", data):
            raise RuntimeError(f"the connection wrote {data!r}, and a send had left {self._rest!r}")
        self._rest = b""
        self.writes.append(data)
        self._busy = self.stalled
        return not self._busy

    def finish(self, data: bytes, done: Callable[[bool], object] = lambda sent: None) -> None:
        """Record last bytes and a clean end; a stalled client takes them when it is drained."""
        self._end("finished")
        if self._left or self._broken:
            done(False)
            return
        self.writes.append(data)
        if self.stalled:
            self._finishing = done
        else:
            done(True)

    def abort(self) -> None:
        """Record a cut."""
        self._end("aborted")

    def acknowledged(self) -> int | None:
        """Return :attr:`acknowledged_bytes`."""
        return self.acknowledged_bytes

    def _take_directly(self, data: bytes) -> int:
        self._check(data)
        if self._rest:
            raise RuntimeError(f"the connection sent {data!r}, and a send had left {self._rest!r}")
        if isinstance(self.outcome, OSError):
            if self.blocked(self.outcome):
                self._rest = data
            raise self.outcome
        if self.outcome is None and self.stalled:
            self._rest = data
            raise BlockingIOError("the client does not read")
        if self.outcome is None or self.outcome >= len(data):
            self.writes.append(data)
            return len(data)
        self._rest = data[self.outcome :]
        if self.outcome:
            self.writes.append(data[: self.outcome])
        return self.outcome

    def _check(self, data: bytes) -> None:
        if self.ending is not None:
            raise RuntimeError(f"the connection wrote {data!r} to a stream that it had ended")
        if self._busy:
            raise RuntimeError(f"the connection wrote {data!r} while its transport was busy")
        self._left = self._left or self._broken
        if self._left:
            raise ConnectionResetError("the client is gone")

    def kernel(self) -> KernelView | None:
        """Return what is known of :attr:`acknowledged_bytes`."""
        if self.acknowledged_bytes is None:
            return None
        return KernelView(self.acknowledged_bytes, int(self._busy), 0.0, 0.0)

    def _finished(self, *, sent: bool) -> None:
        done, self._finishing = self._finishing, None
        if done is not None:
            done(sent)

    def _end(self, ending: Literal["finished", "aborted"]) -> None:
        if self.ending is not None:
            raise RuntimeError(f"the stream was to be {ending}, and had been {self.ending} before")
        self.ending = ending


def recording_connection(
    *,
    frame: Callable[[bytes], bytes] = unframed,
    last_frame: bytes = b"",
    direct: bool = False,
    opened: bool = True,
    **arguments: Any,
) -> tuple[Connection, RecordingTransport]:
    """Return a connection and the transport that records what is sent on it.

    Args:
        frame: the framing; none by default, so that the transport's events can be read.
        last_frame: what a clean end writes last.
        direct: whether the transport has the direct way; with ``frame=chunked`` only.
        opened: False leaves the connection opening; ``connection.open(transport)`` opens it.
        arguments: those of :class:`~sfere_tornado.streams.connection.Connection`, such as
            ``on_end`` and ``max_outbox``.
    """
    connection = Connection(**arguments)
    transport = RecordingTransport(connection, frame=frame, last_frame=last_frame, direct=direct)
    if opened:
        connection.open(transport)
    return connection, transport

"""A connection without a socket, for tests of effects, broadcasts and callbacks.

The transport records what is written. A test can make its client slow, broken or closed, in the
same turn: nothing here waits. The transport is stricter than a socket: it raises when a connection
writes while the transport is busy, does not go on where a send stopped, or ends a stream twice.

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

__all__ = ("RecordedClient", "RecordingTransport", "recording_connection")


class RecordedClient:
    """The client's side of a recording transport: what it got, and how it behaves."""

    def __init__(self) -> None:
        #: What each write brought, in order; what waited while the transport was busy comes as one.
        self.writes: list[bytes] = []
        #: Whether the client does not read: writes are taken, and stay on their way until
        #: :meth:`RecordingTransport.drain`.
        self.stalled: bool = False
        #: What the direct way does next: takes that many bytes at most, or raises the error; None
        #: takes everything, and nothing while the client is :attr:`stalled`.
        self.outcome: int | OSError | None = None
        #: Bytes acknowledged by the peer's kernel; None where that cannot be known.
        self.acknowledged_bytes: int | None = None
        #: Whether it has vanished unnoticed: the next write finds out.
        self.vanished: bool = False
        #: Whether it has closed, or a write found out that it had vanished.
        self.left: bool = False

    def __repr__(self) -> str:
        return f"<RecordedClient {'left' if self.left else 'here'}, {len(self.writes)} writes>"

    @property
    def written(self) -> bytes:
        """Everything that the client got."""
        return b"".join(self.writes)

    def events(self) -> list[Received]:
        """Return the events that the client got, parsed strictly; needs a transport without frames.

        Raises:
            EventStreamError: What was written is not a correct event stream.
        """
        return Parser(max_buffered=max(1, len(self.written))).feed(self.written)

    def check(self) -> None:
        """Find out whether the client is still there, as a write does.

        Raises:
            ConnectionResetError: The client has gone.
        """
        self.left = self.left or self.vanished
        if self.left:
            raise ConnectionResetError("the client is gone")

    def take(self, data: bytes) -> int:
        """Take what the direct way takes of some bytes; return how many.

        Raises:
            OSError: :attr:`outcome`, or a BlockingIOError while the client is :attr:`stalled`.
        """
        if isinstance(self.outcome, OSError):
            raise self.outcome
        if self.outcome is None and self.stalled:
            raise BlockingIOError("the client does not read")
        taken = data if self.outcome is None else data[: self.outcome]
        if taken:
            self.writes.append(taken)
        return len(taken)


class RecordingTransport:
    """**Implements** :class:`~sfere_tornado.streams.transport.Transport` without a socket.

    It is strict about the connection's side; what the client's side got, and how it behaves, is its
    :attr:`client`. A test can read and set the most used of it on the transport itself.

    Args:
        connection: whose way this is; it is called when the transport has drained, and when the
            client has left.
        frame: the framing; none by default, so that :meth:`events` can read what was written.
        last_frame: what a clean end writes last.
        direct: whether it has the direct way, as a socket of HTTP/1.1 has; by default everything
            comes to :meth:`write`.

    Raises:
        ValueError: It is to have the direct way with another frame than HTTP/1.1's.
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
        self.frame: Callable[[bytes], bytes] = frame
        self.last_frame: bytes = last_frame
        self.connection: Connection = connection
        #: The client's side.
        self.client: RecordedClient = RecordedClient()
        #: The same list as :attr:`RecordedClient.writes`.
        self.writes: list[bytes] = self.client.writes
        #: How the stream was ended from this side: ``finished`` cleanly, ``aborted`` by a cut, or
        #: None.
        self.ending: Literal["finished", "aborted"] | None = None
        self._finishing: Callable[[bool], object] | None = None
        self._drained: Callable[[], object] | None = None
        self._busy = False
        # What a send on the direct way did not take: the connection must go on with it, and with
        # nothing else.
        self._rest = b""

    def __repr__(self) -> str:
        state = self.ending or ("left" if self.client.left else "busy" if self._busy else "open")
        return f"<RecordingTransport {state}, {len(self.writes)} writes>"

    # -- the client's side

    @property
    def written(self) -> bytes:
        """:attr:`RecordedClient.written`."""
        return self.client.written

    def events(self) -> list[Received]:
        """:meth:`RecordedClient.events`."""
        return self.client.events()

    @property
    def stalled(self) -> bool:
        """:attr:`RecordedClient.stalled`."""
        return self.client.stalled

    @stalled.setter
    def stalled(self, stalled: bool) -> None:
        self.client.stalled = stalled

    @property
    def outcome(self) -> int | OSError | None:
        """:attr:`RecordedClient.outcome`."""
        return self.client.outcome

    @outcome.setter
    def outcome(self, outcome: int | OSError | None) -> None:
        self.client.outcome = outcome

    @property
    def acknowledged_bytes(self) -> int | None:
        """:attr:`RecordedClient.acknowledged_bytes`."""
        return self.client.acknowledged_bytes

    @acknowledged_bytes.setter
    def acknowledged_bytes(self, acknowledged: int | None) -> None:
        self.client.acknowledged_bytes = acknowledged

    # -- what a test makes happen

    def drain(self) -> None:
        """Let the client take what is on its way; the connection is called, and may write again."""
        self._busy = False
        self._finished(sent=True)
        drained, self._drained = self._drained, None
        if drained is not None:
            drained()

    def break_silently(self) -> None:
        """Let the client vanish unnoticed: only the next write finds out."""
        self.client.vanished = True

    def leave(self) -> None:
        """Let the client close; the connection is called, as over a socket."""
        self.client.left = True
        self._finished(sent=False)
        self.connection.end("client")

    # -- the protocol

    def closed(self) -> bool:
        """Return whether the way is closed, by whichever side."""
        return self.client.left or self.ending is not None

    def ready(self, drained: Callable[[], object] = lambda: None) -> bool:
        """Return whether nothing is on its way; if something is, :meth:`drain` calls ``drained``."""
        if self._busy:
            self._drained = drained
        return not self._busy

    def blocked(self, error: OSError) -> bool:
        """Return whether an error of the direct way means "not now"."""
        return isinstance(error, BlockingIOError)

    def write(self, data: bytes, drained: Callable[[], object] = lambda: None) -> bool:
        """Record bytes; return True if all are taken, which a stalled client does not.

        Raises:
            ConnectionResetError: The client has gone.
            RuntimeError: The connection writes while the transport is busy, after it has ended the
                stream, or something else than what a send did not take.
        """
        self._check(data)
        if self._rest not in (b"", data):
            raise RuntimeError(f"the connection wrote {data!r}, and a send had left {self._rest!r}")
        self._rest = b""
        self.client.writes.append(data)
        self._busy = self.client.stalled
        self._drained = drained if self._busy else None
        return not self._busy

    def finish(self, data: bytes, done: Callable[[bool], object] = lambda sent: None) -> None:
        """Record last bytes and a clean end; a stalled client takes them when it is drained."""
        self._end("finished")
        if self.client.left or self.client.vanished:
            done(False)
            return
        self.client.writes.append(data)
        if self.client.stalled:
            self._finishing = done
        else:
            done(True)

    def abort(self) -> None:
        """Record a cut."""
        self._end("aborted")

    def acknowledged(self) -> int | None:
        """Return :attr:`RecordedClient.acknowledged_bytes`."""
        return self.client.acknowledged_bytes

    def kernel(self) -> KernelView | None:
        """Return what is known of :attr:`RecordedClient.acknowledged_bytes`."""
        acknowledged = self.client.acknowledged_bytes
        if acknowledged is None:
            return None
        return KernelView(acknowledged, int(self._busy), 0.0, 0.0)

    def _take_directly(self, data: bytes) -> int:
        self._check(data)
        if self._rest:
            raise RuntimeError(f"the connection sent {data!r}, and a send had left {self._rest!r}")
        try:
            taken = self.client.take(data)
        except OSError as error:
            if self.blocked(error):
                self._rest = data
            raise
        self._rest = data[taken:]
        return taken

    def _check(self, data: bytes) -> None:
        if self.ending is not None:
            raise RuntimeError(f"the connection wrote {data!r} to a stream that it had ended")
        if self._busy:
            raise RuntimeError(f"the connection wrote {data!r} while its transport was busy")
        self.client.check()

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

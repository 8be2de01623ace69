"""A connection's way to its client over Tornado's :class:`~tornado.iostream.IOStream`.

Here are the socket's options, writing, the two ways of ending, and the drain reader. When to do
which is decided elsewhere.

Law: **every end is reported**, once: the client's, a failed write, an abort, too many bytes of the
client, and a clean end whose client has closed or has been waited for long enough.

The drain reader exists because Tornado watches an idle stream for reading only while its read
buffer is empty: one unread byte, such as the line end that some clients put after a POST body, and
neither FIN nor RST is noticed. So a read is always pending, and what it brings is thrown away.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import suppress
from functools import partial
from ssl import SSLWantReadError, SSLWantWriteError
from struct import unpack_from
from typing import TYPE_CHECKING, Final

from tornado.iostream import StreamClosedError

from ..streams.transport import KernelView
from ..wire.framing import LAST_CHUNK, chunked, unframed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.httputil import HTTPServerRequest
    from tornado.iostream import IOStream

    from ..config import StreamConfig
    from ..reasons import Reason

__all__ = ("StreamTransport", "has_left", "has_vanished", "stream_of", "tune")

#: Bytes asked for by each read of the drain reader; what comes is thrown away, so more would
#: only be memory.
DRAIN_READ: Final = 4096

#: Where ``tcpi_bytes_acked`` (u64) stands in Linux's ``struct tcp_info``, and how much of it must
#: be there.
_BYTES_ACKED: Final = 120
_TCP_INFO_SIZE: Final = 128

#: Where ``tcpi_unacked`` (segments), ``tcpi_last_ack_recv`` (ms ago) and ``tcpi_rtt`` (us) stand in
#: it, each a u32.
_UNACKED_SILENCE_RTT: Final = (24, 56, 68)

#: The errors with which the kernel gives up: time is over, or it has no way to the client, as when
#: a cable is pulled, or a router says so.
_VANISHED: Final = frozenset(
    {errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN}
)


class StreamTransport:
    """The bytes' way to one client.

    Args:
        stream: Tornado's stream, after the response's headers were given to it.
        settings: ``max_unread``, bytes a client may send on an open event stream before it is cut
            (no client has reason to send any), and ``linger``, seconds that a clean end waits for
            the client to close.
        http_1_1: whether the response is in chunks; an HTTP/1.0 client gets bare bytes, ended by
            closing.
        on_closed: called once, when the stream is closed, by either side, with the reason.
    """

    __slots__ = (
        "__weakref__",
        "_lingering",
        "_on_closed",
        "_settings",
        "_stream",
        "_unread",
        "direct",
        "frame",
        "last_frame",
    )

    def __init__(
        self,
        stream: IOStream,
        settings: StreamConfig,
        *,
        http_1_1: bool,
        on_closed: Callable[[Reason], object],
    ) -> None:
        # The socket's own send, as long as nothing waits in Tornado's buffer. On a closed socket it
        # raises; it never writes to a descriptor that was given out again.
        self.direct: Callable[[bytes], int] | None = stream.socket.send if http_1_1 else None
        self.frame: Callable[[bytes], bytes] = chunked if http_1_1 else unframed
        self.last_frame = LAST_CHUNK if http_1_1 else b""
        self._stream = stream
        self._settings = settings
        self._unread = 0
        self._lingering: asyncio.TimerHandle | None = None
        self._on_closed: Callable[[Reason], object] | None = on_closed
        # The drain reader sees every close. Tornado's own look would come on top of it: it ends the
        # request, which the handler does too when it is let go. When many clients leave together,
        # that work would delay the departures of the others.
        stream.set_close_callback(None)

    def __repr__(self) -> str:
        state = "closed" if self.closed() else "open"
        return f"<StreamTransport {state} {'chunked' if self.last_frame else 'unframed'}>"

    def closed(self) -> bool:
        """Return whether the stream is closed, by either side."""
        return self._stream.closed()

    def report_to(self, on_closed: Callable[[Reason], object]) -> None:
        """Call another callback from now on; an open stream needs no handler."""
        if self._on_closed is not None:
            self._on_closed = on_closed

    def ready(self, drained: Callable[[], object]) -> bool:
        """Return whether Tornado's buffer is empty; otherwise call ``drained`` once it is."""
        if not self._stream.writing():
            return True
        self._stream.write(b"").add_done_callback(partial(_if_written, drained))
        return False

    def blocked(self, error: OSError) -> bool:
        """Return whether an error says that the socket takes nothing now.

        Over TLS the same bytes must be tried again first then.
        """
        return isinstance(
            error, (BlockingIOError, InterruptedError, SSLWantWriteError, SSLWantReadError)
        )

    def write(self, data: bytes, drained: Callable[[], object]) -> bool:
        """Write framed bytes; see :meth:`sfere_tornado.streams.transport.Transport.write`."""
        stream = self._stream
        try:
            future = stream.write(data)
        except StreamClosedError as error:
            raise ConnectionResetError(str(error)) from error
        if stream.closed():
            # The write itself met the error; Tornado closes the stream then, and says nothing to
            # the writer.
            raise ConnectionResetError("the client closed the connection")
        if not stream.writing():
            return True
        future.add_done_callback(partial(_if_written, drained))
        return False

    def finish(self, data: bytes, done: Callable[[bool], object]) -> None:
        """Write last bytes after all that was taken, end sending, wait for the client to close.

        A client that does not read them is cut after ``linger`` seconds; ``done`` is called with
        False then.
        """
        try:
            future = self._stream.write(data)
        except StreamClosedError:
            done(False)
            self._tell_closed()
            return
        future.add_done_callback(lambda written: done(_was_written(written)))
        future.add_done_callback(self._end_sending)
        self._lingering = asyncio.get_running_loop().call_later(self._settings.linger, self.abort)

    def abort(self) -> None:
        """Close now; a response without a last chunk is visibly cut, so the client comes back."""
        if not self._stream.closed():
            # With a forked child alive, closing alone sends no FIN: the child has the descriptor
            # too.
            with suppress(OSError):
                socket.socket.shutdown(self._stream.socket, socket.SHUT_RDWR)
            self._stream.close()
        # Also for a stream that was closed already: the read that found the end may be the last,
        # because it brought more than max_unread, and then no other read reports the close.
        self._tell_closed()

    def acknowledged(self) -> int | None:
        """Return how many bytes the peer's kernel has acknowledged; None where not on Linux."""
        info = self._tcp_info()
        return int(unpack_from("=Q", info, _BYTES_ACKED)[0]) if info is not None else None

    def kernel(self) -> KernelView | None:
        """Return what the kernel knows of the nearest hop; None where not on Linux."""
        info = self._tcp_info()
        if info is None:
            return None
        unacknowledged, silence, round_trip = (
            unpack_from("=I", info, place)[0] for place in _UNACKED_SILENCE_RTT
        )
        acknowledged = unpack_from("=Q", info, _BYTES_ACKED)[0]
        return KernelView(acknowledged, unacknowledged, silence / 1e3, round_trip / 1e6)

    def _tcp_info(self) -> bytes | None:
        if self._stream.closed() or not hasattr(socket, "TCP_INFO"):
            return None
        try:
            info = self._stream.socket.getsockopt(
                socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE
            )
        except OSError:
            return None
        return info if len(info) >= _TCP_INFO_SIZE else None

    def start_reading(self) -> None:
        """Keep one read pending from now on; it sees FIN and RST."""
        try:
            future = self._stream.read_bytes(DRAIN_READ, partial=True)
        except StreamClosedError:
            self._tell_closed()
            return
        # Declared as Awaitable; it is a Future.
        future.add_done_callback(self._read)  # type: ignore[attr-defined]

    def _read(self, future: asyncio.Future[bytes]) -> None:
        if future.cancelled() or future.exception() is not None:
            self._tell_closed()
            return
        self._unread += len(future.result())
        if self._unread > self._settings.max_unread:
            self.abort()
        else:
            self.start_reading()

    def _tell_closed(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
        callback, self._on_closed = self._on_closed, None
        if callback is not None:
            overrun = self._unread > self._settings.max_unread
            callback("error" if overrun else "timeout" if has_vanished(self._stream) else "client")

    def _end_sending(self, future: asyncio.Future[None]) -> None:
        # Closing now would be wrong: bytes of the client that were not read make the kernel
        # send RST, and RST may overtake the last chunk. The client's own FIN, or the hub's bound on
        # lingering, closes.
        if not self._stream.closed():
            with suppress(OSError):
                socket.socket.shutdown(self._stream.socket, socket.SHUT_WR)


def _if_written(drained: Callable[[], object], future: asyncio.Future[None]) -> None:
    if _was_written(future):
        drained()


def _was_written(future: asyncio.Future[None]) -> bool:
    """Return whether a write has come to its end, and not the stream."""
    return not future.cancelled() and future.exception() is None


def stream_of(request: HTTPServerRequest) -> IOStream:
    """Return the stream of bytes that a request came on."""
    # Tornado's server has set the connection.
    stream: IOStream = request.connection.stream  # type: ignore[union-attr]
    return stream


def tune(stream: IOStream, settings: StreamConfig) -> None:
    """Set the socket options of an open event stream, where the platform has them.

    Args:
        stream: the stream; anything but TCP is left alone.
        settings: ``user_timeout`` and keepalive find vanished clients, ``notsent_lowat`` keeps the
            kernel from hoarding megabytes for a client that does not read.
    """
    sock = stream.socket
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    stream.set_nodelay(True)
    tcp = socket.IPPROTO_TCP
    options = [(socket.SOL_SOCKET, "SO_KEEPALIVE", 1)]
    options += [
        (tcp, "TCP_KEEPIDLE", round(settings.keepalive_idle)),
        (tcp, "TCP_KEEPINTVL", round(settings.keepalive_interval)),
        (tcp, "TCP_KEEPCNT", settings.keepalive_count),
        (tcp, "TCP_USER_TIMEOUT", round(settings.user_timeout * 1000)),
        (tcp, "TCP_NOTSENT_LOWAT", settings.notsent_lowat),
    ]
    for level, name, value in options:
        if hasattr(socket, name):
            with suppress(OSError):
                sock.setsockopt(level, getattr(socket, name), value)


def has_vanished(stream: IOStream) -> bool:
    """Return whether the kernel gave a closed stream up, because nothing was acknowledged."""
    return getattr(stream.error, "errno", None) in _VANISHED


def has_left(stream: IOStream) -> bool:
    """Return whether the client has closed, as far as the kernel knows and no bytes hide it."""
    if stream.closed():
        return True
    try:
        # The plain socket's recv, for TLS streams too: what is asked is whether the connection has
        # ended below TLS.
        return socket.socket.recv(stream.socket, 1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True

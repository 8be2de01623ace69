"""Clients of event streams: one process with thousands of them, which counts what arrives and when.

Commands come over a pipe, as ``(command, arguments)``, and each command has one answer;
:mod:`.load` is the other end. Readers are as cheap as Python allows, because they share the machine
with the server that is measured.

Every event of the benchmarks ends in a mark and the nanoseconds of its dispatch by
``CLOCK_MONOTONIC``, which all processes of a machine share. So a reader knows how long the event
took, and needs no parser.
"""

from __future__ import annotations

import resource
import select
import socket
import ssl
import struct
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection as Pipe

__all__ = (
    "ACKNOWLEDGED_AT_ONCE",
    "HOST",
    "SHORT",
    "SILENCE",
    "Arrivals",
    "allow_many_files",
    "run",
    "text",
)

HOST: Final = "127.0.0.1"

#: What comes before the nanoseconds, and nowhere else in an event; and the number of their digits.
MARK: Final = b"@"
DIGITS: Final = 19

#: Bytes of an event that says only who has left.
SHORT: Final = 40

#: Linux acknowledges each of the first segments of a stream that is new, or was silent for longer
#: than :data:`SILENCE` seconds; later segments are acknowledged together. On loopback the sender
#: pays for receiving each of these acknowledgements, some two microseconds, so they are let pass
#: before anything is measured.
ACKNOWLEDGED_AT_ONCE: Final = 16
SILENCE: Final = 0.2

#: Requests under way while many streams are opened: enough to keep a server busy, few enough for
#: every backlog.
OPENING: Final = 200

#: Streams open at a time while they come and go.
CHURNING: Final = 100

#: Seconds between reads while events are expected. A reader that slept in epoll would have to be
#: woken by each send, which no server has to do for clients on other machines; the wake-up alone
#: costs the sender more than the send.
GATHER: Final = 0.0002

_BUFFER: Final = 256 * 1024


class Arrivals(NamedTuple):
    """What arrived: the number of events, the seconds on their way (median, 99 %, maximum), and
    when the last one came; and when half of the expected ones had come.
    """

    events: int
    p50: float
    p99: float
    last: float
    at: int
    half: int = 0


def text(size: int = 150) -> str:
    """Return the data of an event that is dispatched now; about ``size`` bytes on the wire, at
    least 32.
    """
    return "x" * (size - DIGITS - 10) + f"@{time.monotonic_ns():0{DIGITS}}"


def allow_many_files() -> int:
    """Raise this process's limit of open files as far as possible; return the limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def run(pipe: Pipe) -> None:
    """Run the commands of the pipe until it is closed."""
    allow_many_files()
    Clients(pipe).run()


class Clients:
    """The sockets of one process, and what has arrived on them since :meth:`expect`."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe
        self.poll = select.epoll()
        self.poll.register(pipe.fileno(), select.EPOLLIN)
        self.sockets: dict[int, socket.socket] = {}
        self.receive: dict[int, Callable[[Any], int]] = {}
        self.buffer = bytearray(_BUFFER)
        self.expected = self.events = 0
        self.counting = True
        self.following = False
        self.bytes = 0
        self.stamp = self.at = self.half = 0
        self.waits: list[int] = []

    def run(self) -> None:
        """Read from the sockets, and run commands, until the pipe is closed."""
        while True:
            if self.following:
                self.read(0)
            elif self.expected:
                time.sleep(GATHER)
                self.read(0)
            else:
                self.read(-1)

    def read(self, seconds: float) -> int:
        """Wait once for data; return how many sockets had some."""
        ready = self.poll.poll(seconds)
        buffer, clock = self.buffer, time.monotonic_ns
        for descriptor, _ in ready:
            receive = self.receive.get(descriptor)
            if receive is None:
                if descriptor == self.pipe.fileno():
                    self.obey()
                continue
            try:
                size = receive(buffer)
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
            except OSError:
                size = 0
            if not size:
                self.drop(descriptor)
                continue
            self.bytes += size
            count = buffer.count(MARK, 0, size) if self.counting else 0
            if not count:
                continue
            self.at = clock()
            if self.following:
                self.note(size)
                continue
            first = buffer.find(MARK, 0, size) + 1
            if first + DIGITS <= size:
                self.stamp = int(buffer[first : first + DIGITS])
            self.waits.append(self.at - self.stamp)
            self.events += count
            if self.expected and self.events * 2 >= self.expected:
                self.half = self.half or self.at
                if self.events >= self.expected:
                    self.answer_arrivals()
        return len(ready)

    def note(self, size: int) -> None:
        """Record each event of what was read by itself."""
        buffer, at = self.buffer, self.at
        first = buffer.find(MARK, 0, size) + 1
        while first:
            self.events += 1
            if first + DIGITS <= size:
                self.waits.append(at - int(buffer[first : first + DIGITS]))
            first = buffer.find(MARK, first, size) + 1

    def obey(self) -> None:
        """Run one command; its answer goes back over the pipe."""
        try:
            command, arguments = self.pipe.recv()
        except EOFError:
            raise SystemExit from None
        self.pipe.send(getattr(self, f"do_{command}")(**arguments))

    def answer_arrivals(self) -> None:
        """Send what has arrived."""
        waits = sorted(self.waits)
        p50, p99 = waits[len(waits) // 2], waits[min(len(waits) - 1, len(waits) * 99 // 100)]
        self.expected = 0
        self.pipe.send(
            Arrivals(self.events, p50 / 1e9, p99 / 1e9, waits[-1] / 1e9, self.at, self.half)
        )

    def drop(self, descriptor: int) -> None:
        """Close one socket."""
        del self.receive[descriptor]
        # Closing a socket removes it from the poll too.
        self.sockets.pop(descriptor).close()

    # -- commands

    def do_expect(self, events: int) -> None:
        """Begin to count; a second answer comes when this number of events has arrived."""
        self.expected, self.events, self.waits, self.half = events, 0, [], 0

    def do_follow(self, on: bool) -> None:
        """Read without a pause from now on, and record each event; or no longer.

        A reader that sleeps adds its sleep to each delay. One that never sleeps takes a core.
        """
        self.following, self.events, self.waits = on, 0, []

    def do_bytes(self) -> int:
        """Send how many bytes have come, except the headers of the streams."""
        return self.bytes

    def do_count(self) -> Arrivals | None:
        """Send what has arrived since the last ``expect``, and count again; for an endless load."""
        events, waits = self.events, sorted(self.waits)
        self.events, self.waits = 0, []
        if not waits:
            return None
        p99 = waits[len(waits) * 99 // 100]
        return Arrivals(events, waits[len(waits) // 2] / 1e9, p99 / 1e9, waits[-1] / 1e9, self.at)

    def do_swallow(self) -> None:
        """Read as if events were expected, and count nothing: the data is compressed, and has no
        marks.
        """
        self.counting, self.expected = False, 1

    def do_open(
        self, port: int, count: int, path: str, first: int, authority: str | None, headers: str = ""
    ) -> float:
        """Open streams; return the seconds until the headers of all of them have come.

        Args:
            port: the server's port.
            count: how many streams.
            path: with ``{n}`` in place of the number of the client.
            first: the first number.
            authority: for TLS, the certificate of the authority, as text.
            headers: additional lines of each request.
        """
        tls = None if authority is None else ssl.create_default_context(cadata=authority)
        begin = time.monotonic()
        waiting: set[int] = set()
        for number in range(first, first + count):
            sock = connect(port, path.format(n=number), tls, headers=headers)
            waiting.add(sock.fileno())
            self.sockets[sock.fileno()] = sock
            self.poll.register(sock.fileno(), select.EPOLLIN)
            while len(waiting) >= OPENING:
                self.answered(waiting)
        while waiting:
            self.answered(waiting)
        return time.monotonic() - begin

    def answered(self, waiting: set[int]) -> None:
        """Read the headers that have come."""
        for descriptor, _ in self.poll.poll(10):
            if descriptor in waiting:
                try:
                    begin = self.sockets[descriptor].recv(16)
                except ssl.SSLWantReadError:
                    # TLS has its handshake to finish before the answer.
                    continue
                if not begin.startswith(b"HTTP/1.1 200"):
                    raise ConnectionError(f"the server answered {begin!r}, not with a stream")
                waiting.discard(descriptor)
                self.receive[descriptor] = self.sockets[descriptor].recv_into
            elif descriptor in self.receive:
                self.bytes += self.receive[descriptor](self.buffer)

    def do_leave(self, count: int) -> int:
        """Close this number of streams, the newest first; return the nanoseconds immediately before
        the first close.
        """
        leaving = list(self.sockets)[: -count - 1 : -1]
        begin = time.monotonic_ns()
        for descriptor in leaving:
            self.drop(descriptor)
        return begin

    def do_stall(self) -> None:
        """Stop reading from all streams."""
        for descriptor in self.receive:
            self.poll.unregister(descriptor)

    def do_abandon(self) -> None:
        """Close streams that have stalled."""
        self.receive.clear()
        while self.sockets:
            self.sockets.popitem()[1].close()

    def do_churn(self, port: int, count: int, path: str) -> float:
        """Open and close this number of streams in mixed ways; return the seconds that it took."""
        begin = time.monotonic()
        present: deque[tuple[int, socket.socket]] = deque()
        for number in range(count):
            present.append((number, connect(port, path.format(n=number), None, blocking=True)))
            if len(present) > CHURNING:
                leave(*present.popleft())
        while present:
            leave(*present.popleft())
        return time.monotonic() - begin


def connect(
    port: int, path: str, tls: ssl.SSLContext | None, *, blocking: bool = False, headers: str = ""
) -> socket.socket:
    """Return a socket that is connected and has sent its request."""
    sock = socket.create_connection((HOST, port))
    if tls is not None:
        sock = tls.wrap_socket(sock, server_hostname=HOST)
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{headers}\r\n".encode())
    sock.setblocking(blocking)
    return sock


def leave(number: int, sock: socket.socket) -> None:
    """Leave one stream in one of six ways."""
    way = number % 6
    if way != 0:
        sock.recv(4096)
    if way == 1:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif way == 2:
        sock.shutdown(socket.SHUT_WR)
        sock.recv(4096)
    elif way == 3:
        sock.sendall(b"\n")
    elif way == 4:
        sock.sendall(f"GET /events?n=0 HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    # Ways 0 (before the answer has been read) and 5 (after it) are a plain close.
    sock.close()

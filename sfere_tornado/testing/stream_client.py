"""A client of event streams for tests: it reads strictly, and can leave in each way a real one can.

Tornado's own HTTP client keeps at most 10 streams open, and closing it closes none of them.

The client reads only while a test awaits something, so a test decides whether it is slow.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from tornado.httputil import HTTPHeaders, parse_response_start_line
from tornado.iostream import StreamClosedError
from tornado.tcpclient import TCPClient

from .parser import Parser

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from types import TracebackType

    from tornado.iostream import IOStream

    from .parser import Received

__all__ = ("PATIENCE", "StreamClient", "StreamEnded")

#: Seconds to wait for what a test expects, 10: far more than it takes, so that no test fails
#: because the machine is busy.
PATIENCE: Final = 10.0

#: Bytes of one read.
_READ: Final = 65536


class StreamEnded(ConnectionError):  # noqa: N818  # not always an error: some tests wait for it
    """The stream ended before the event came; ``clean`` tells whether with a last chunk."""

    def __init__(self, clean: bool) -> None:
        super().__init__(
            "the event stream ended " + ("cleanly" if clean else "without a last chunk")
        )
        self.clean = clean


class StreamClient:
    """One open event stream, or any other answer to one request; usable in ``async with``.

    :meth:`open` makes it.

    Args:
        stream: a connected stream that has sent nothing.
    """

    def __init__(self, stream: IOStream) -> None:
        self.stream: IOStream = stream
        #: The status code of the answer; 0 until it has come.
        self.status: int = 0
        #: The headers of the answer; empty until it has come.
        self.headers: HTTPHeaders = HTTPHeaders()
        #: What reads the stream; it has the comments so far, and the last reconnection time.
        self.parser: Parser = Parser()
        #: The body so far, when it is not an event stream.
        self.body: bytes = b""
        #: True when the body ended with a last chunk, False when it was cut; None while it goes on.
        self.clean: bool | None = None
        self._events: deque[Received] = deque()
        self._buffer = b""
        self._chunked = False
        self._pending: asyncio.Future[bytes] | None = None

    def __repr__(self) -> str:
        state = "open" if self.clean is None else "ended" if self.clean else "cut"
        return f"<StreamClient {state} status={self.status} events={len(self._events)}>"

    @classmethod
    async def connect(cls, url: str, *, ssl_options: ssl.SSLContext | None = None) -> Self:
        """Return a client that is connected and has sent nothing yet."""
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        stream = await TCPClient().connect(parts.hostname or "", port, ssl_options=ssl_options)
        stream.set_nodelay(True)
        return cls(stream)

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        version: str = "HTTP/1.1",
        ssl_options: ssl.SSLContext | None = None,
    ) -> Self:
        """Send one request, and return when the headers of the answer have come.

        Args:
            url: absolute; ``http`` or ``https``.
            method: the verb, in capitals.
            headers: besides Host and, with a body, Content-Length.
            body: bytes to send unchanged.
            version: ``HTTP/1.1`` or ``HTTP/1.0``.
            ssl_options: for ``https``.

        Raises:
            StreamEnded: when the server closes before it answers.
        """
        client = await cls.connect(url, ssl_options=ssl_options)
        await client.send(
            request_bytes(url, method=method, headers=headers, body=body, version=version)
        )
        await client.read_headers()
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- reading

    async def read_headers(self) -> None:
        """Wait for status and headers; see :meth:`open`."""
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += await self._read(PATIENCE)
        head, _, rest = self._buffer.partition(b"\r\n\r\n")
        start, _, fields = head.decode("latin-1").partition("\r\n")
        self.status = parse_response_start_line(start).code
        self.headers = HTTPHeaders.parse(fields)
        self._chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
        self._buffer = b""
        self._take(rest)

    async def event(self, name: str | None = None, *, timeout: float = PATIENCE) -> Received:
        """Return the next event, or the next of that name; drop the events before it.

        Raises:
            TimeoutError: when none has come after ``timeout`` seconds.
            StreamEnded: when the stream ends before that.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            while self._events:
                event = self._events.popleft()
                if name is None or event.event == name:
                    return event
            if self.clean is not None:
                raise StreamEnded(self.clean)
            await self._read_on(deadline)

    async def json(self, name: str | None = None, *, timeout: float = PATIENCE) -> Any:
        """Return the data of the next event, or of the next of that name, read as JSON."""
        return json.loads((await self.event(name, timeout=timeout)).data)

    async def quiet(self, seconds: float = 0.05) -> list[Received]:
        """Read for some seconds, and return the events that came; to check that no more come."""
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            while self.clean is None:
                await self._read_on(deadline)
        except TimeoutError:
            pass
        events = list(self._events)
        self._events.clear()
        return events

    async def ended(self, *, timeout: float = PATIENCE) -> bool:
        """Wait for the end of the answer; return True for a clean end, False for a cut.

        Raises:
            TimeoutError: when it has not ended after ``timeout`` seconds.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        while self.clean is None:
            await self._read_on(deadline)
        return self.clean

    # -- writing and leaving

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self.stream.write(data)

    def close(self) -> None:
        """Close with FIN, as a closed tab does; a second call changes nothing."""
        self.stream.close()

    def reset(self) -> None:
        """Close with RST, as a process does that is killed with unread bytes."""
        if not self.stream.closed():
            self.stream.socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            self.stream.close()

    def half_close(self) -> None:
        """Send FIN only: the client can still read."""
        socket.socket.shutdown(self.stream.socket, socket.SHUT_WR)

    # -- inside

    async def _read_on(self, deadline: float) -> None:
        remaining = max(0.0, deadline - asyncio.get_running_loop().time())
        try:
            data = await self._read(remaining)
        except StreamEnded as ended:
            self.clean = ended.clean
            return
        self._take(data)

    async def _read(self, seconds: float) -> bytes:
        # A read that timed out stays pending, because a stream can have only one; await it again.
        if self._pending is None:
            try:
                self._pending = asyncio.ensure_future(self.stream.read_bytes(_READ, partial=True))
            except StreamClosedError:
                raise StreamEnded(clean=False) from None
        await asyncio.wait({self._pending}, timeout=seconds)
        if not self._pending.done():
            raise TimeoutError(f"nothing came in {seconds:.2f} s")
        future, self._pending = self._pending, None
        try:
            return future.result()
        except StreamClosedError:
            # A body without chunks has no other end than the close.
            raise StreamEnded(clean=not self._chunked) from None

    def _take(self, data: bytes) -> None:
        body = self._unchunk(data) if self._chunked else data
        if self.headers.get("Content-Type", "").startswith("text/event-stream"):
            self._events.extend(self.parser.feed(body))
            return
        self.body += body
        length = self.headers.get("Content-Length")
        if length is not None and len(self.body) >= int(length):
            self.clean = True

    def _unchunk(self, data: bytes) -> bytes:
        self._buffer += data
        body = b""
        while True:
            line, end, rest = self._buffer.partition(b"\r\n")
            if not end:
                return body
            size = int(line, 16)
            if len(rest) < size + 2:
                return body
            body += rest[:size]
            self._buffer = rest[size + 2 :]
            if size == 0:
                self.clean = True
                return body


def request_bytes(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    version: str = "HTTP/1.1",
) -> bytes:
    """Return the bytes of a request; see :meth:`StreamClient.open` for the arguments."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} {version}", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

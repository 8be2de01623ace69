"""A client of event streams for tests: it reads strictly, and it can leave in every way a real one can.

Tornado's own HTTP client is poor at this: it holds ten streams at most, and closing it drops none of them.

A client reads only while somebody waits for something; so a test decides whether it is slow.
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

#: Seconds to wait for what a test expects. Far more than anything takes, so that a busy machine makes no test fail.
PATIENCE: Final = 10.0

_READ: Final = 65536


class StreamEnded(ConnectionError):  # noqa: N818  # not always an error: some tests wait for just this
    """The stream ended while an event was waited for; ``clean`` tells whether it ended with a last chunk."""

    def __init__(self, clean: bool) -> None:
        super().__init__(
            "the event stream ended " + ("cleanly" if clean else "without a last chunk")
        )
        self.clean = clean


class StreamClient:
    """One open event stream, or any other answer to one request. Made by :meth:`open`; usable in ``async with``."""

    def __init__(self, stream: IOStream) -> None:
        self.stream = stream
        #: Status code and headers of the answer, once it has come.
        self.status = 0
        self.headers = HTTPHeaders()
        #: Comments, such as heartbeats, so far; and the last reconnection time, in milliseconds.
        self.parser = Parser()
        #: Bytes of the body when it is no event stream.
        self.body = b""
        #: Whether the body has ended with a last chunk, or was cut; None while it goes on.
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
        """Send one request and return when the headers of the answer are here.

        Args:
            url: absolute; ``http`` or ``https``.
            method: the verb, in capitals.
            headers: beyond Host and, with a body, Content-Length.
            body: sent as it is.
            version: ``HTTP/1.1`` or ``HTTP/1.0``.
            ssl_options: for ``https``.

        Raises:
            StreamEnded: when the server closes before it has answered.
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

    async def event(self, name: str | None = None, *, timeout: float = PATIENCE) -> Received:  # noqa: ASYNC109  # the name a test expects
        """Return the next event, or the next of that name, dropping those before it.

        Raises:
            TimeoutError: when none has come after ``timeout`` seconds.
            StreamEnded: when the stream ends before.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            while self._events:
                found = self._events.popleft()
                if name is None or found.event == name:
                    return found
            if self.clean is not None:
                raise StreamEnded(self.clean)
            await self._read_on(deadline)

    async def json(self, name: str | None = None, *, timeout: float = PATIENCE) -> Any:  # noqa: ASYNC109  # as in event()
        """Return the data of the next event, or of the next of that name, read as JSON."""
        return json.loads((await self.event(name, timeout=timeout)).data)

    async def quiet(self, seconds: float = 0.05) -> list[Received]:
        """Read for some seconds and return what came; for a test that says "and nothing more"."""
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            while self.clean is None:
                await self._read_on(deadline)
        except TimeoutError:
            pass
        found = list(self._events)
        self._events.clear()
        return found

    async def ended(self, *, timeout: float = PATIENCE) -> bool:  # noqa: ASYNC109  # as in event()
        """Wait for the end of the answer; returns True for a clean end, False for a cut.

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
        """Leave with FIN, as a tab that is closed does; a second call changes nothing."""
        self.stream.close()

    def reset(self) -> None:
        """Leave with RST, as a process that is killed with unread bytes does."""
        if not self.stream.closed():
            self.stream.socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            self.stream.close()

    def half_close(self) -> None:
        """End the sending side only: FIN goes out, and the client could still read."""
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
        # A read that nobody waits for any more stays pending: a stream can have only one.
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
            # Without chunks, closing is the only end there is.
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
            line, found, rest = self._buffer.partition(b"\r\n")
            if not found:
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
    """Return a request as it goes over the wire; see :meth:`StreamClient.open` for the arguments."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} {version}", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

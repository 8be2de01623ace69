"""A wire that can be cut: everything goes through it to a server, until it does not."""

import asyncio
import contextlib
from urllib.parse import urlsplit


class Wire:
    """Forwards connections to the server of a URL; while it is cut, every connection through it is reset or refused."""

    def __init__(self, url):
        self._target = urlsplit(url)
        self._writers = set()
        self._tasks = set()
        self.whole = True

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error):
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self):
        self.whole = False
        for writer in list(self._writers):
            writer.transport.abort()

    def mend(self):
        self.whole = True

    async def _forward(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        self._writers.add(writer)
        try:
            if not self.whole:
                writer.transport.abort()
                return
            to_reader, to_writer = await asyncio.open_connection(
                self._target.hostname, self._target.port
            )
            self._writers.add(to_writer)
            await asyncio.gather(self._copy(reader, to_writer), self._copy(to_reader, writer))
        finally:
            self._writers.discard(writer)
            self._tasks.discard(asyncio.current_task())

    async def _copy(self, reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()
        self._writers.discard(writer)

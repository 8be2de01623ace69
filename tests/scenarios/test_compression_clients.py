"""Shared compression, read by programs that we did not write: curl, three Python clients, a real Chromium.

The next event is written only when every client has shown the one before: what is decoded late, or only at the end, never
gets there.
"""

import asyncio
import contextlib
import json
import random
import shutil
import sys
import zlib

import pytest
from support.browser import CHROMIUM, Browser
from support.waiting import eventually

from sfere_tornado.wire.compression import BEHIND, HEADER, SharedCompressor, accepts_gzip
from sfere_tornado.wire.event_stream import Event, comment, encode, retry
from sfere_tornado.wire.framing import LAST_CHUNK, chunked

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store, no-transform\r\n"
    b"Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\nVary: Accept-Encoding\r\n\r\n"
)
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

#: Programs that print each line of the stream as soon as they have it, and ``END`` after a clean end.
PROGRAMS = {
    "curl": ["curl", "-sS", "--compressed", "--no-buffer", "-w", "END\n"],
    "httpx": """
import httpx, sys
with httpx.stream("GET", sys.argv[1], timeout=60) as response:
    for line in response.iter_lines():
        print(line, flush=True)
print("END", flush=True)
""",
    "aiohttp": """
import aiohttp, asyncio, sys
async def main():
    async with aiohttp.ClientSession() as session, session.get(sys.argv[1]) as response:
        async for line in response.content:
            print(line.decode().rstrip(), flush=True)
asyncio.run(main())
print("END", flush=True)
""",
    "requests": """
import requests, sys
with requests.get(sys.argv[1], stream=True, timeout=60) as response:
    for line in response.iter_lines():
        print(line.decode(), flush=True)
print("END", flush=True)
""",
}


class Stream:
    """The server's side of one open stream, and what its client has shown."""

    def __init__(self, writer):
        self.writer = writer
        self.step = BEHIND
        self.sent, self.shown = [], []

    def write(self, data):
        self.writer.write(chunked(data))

    def cut(self):
        self.writer.transport.abort()


class Server:
    """A server of a few lines around the compressor.

    ``streams`` are the open ones, by the path that they asked for; ``small`` counts the blocks that only those can read
    who have the text before them.
    """

    async def __aenter__(self):
        self.compressor = SharedCompressor(reset_every=5)
        self.streams = {}
        self.small = 0
        self.server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error):
        for stream in self.streams.values():
            stream.cut()
        self.server.close()
        await self.server.wait_closed()

    async def answer(self, reader, writer):
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        name = request.split()[1].strip("/")
        if name.startswith("stream-"):
            headers = dict(
                line.split(": ", 1) for line in request.lower().split("\r\n")[1:] if line
            )
            assert accepts_gzip(headers["accept-encoding"]), headers
            stream = Stream(writer)
            writer.write(HEAD)
            stream.write(HEADER + self.compressor.independent(retry(20)))
            self.streams[name.removeprefix("stream-")] = stream
        else:
            writer.write(PAGE)
            writer.close()

    def send(self, text, streams):
        """Send one event to streams, in the way that the compressor says; a heartbeat goes before each third one."""
        if len(text) % 3 == 0:
            self.share(comment(), streams)
        self.share(encode(Event(text)), streams)
        for stream in streams:
            stream.sent.append(text)

    def share(self, payload, streams):
        for share in self.compressor.shares(payload, streams):
            self.small += len(share.data) < len(payload) / 2
            for stream in share.receivers:
                stream.write(share.data)

    def send_alone(self, text, stream):
        """Send what waited for one stream."""
        stream.write(self.compressor.independent(encode(Event(text))))
        stream.step = BEHIND
        stream.sent.append(text)

    def end(self, stream):
        """End a stream cleanly: the gzip stream in it has no end of its own."""
        stream.write(self.compressor.independent(encode(Event("bye"))))
        stream.writer.write(LAST_CHUNK)
        stream.writer.close()


class Program:
    """A client as a process of its own."""

    def __init__(self, name):
        program = PROGRAMS[name]
        self.command = program if isinstance(program, list) else [sys.executable, "-c", program]
        self.data, self.ended = [], False

    async def run(self, url):
        self.process = await asyncio.create_subprocess_exec(
            *self.command, url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        async for line in self.process.stdout:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "data":
                self.data.append(value)
            self.ended = self.ended or field == "END"
        self.errors = (await self.process.stderr.read()).decode()
        await self.process.wait()

    async def stop(self, task):
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        await task


def texts(dice):
    """Return texts without end, as an application sends them."""
    while True:
        name = dice.choice(["anna", "brian", "phil"])
        yield json.dumps(
            {
                "type": "message",
                "from": name,
                "id": dice.randrange(10**6),
                "text": "h\u00e9llo " * dice.randrange(5),
            }
        )


@pytest.mark.skipif(
    shutil.which("curl") is None, reason="no curl on this machine; on Debian: apt install curl"
)
@pytest.mark.gen_test(timeout=120)
async def test_each_event_is_read_at_once_by_curl_and_three_python_clients(io_loop):
    """Events to all, to some and to one alone are read when they are written, and the end of the response is a clean one."""
    dice = random.Random(11)
    async with Server() as server:
        programs = {name: Program(name) for name in PROGRAMS}
        tasks = {
            name: asyncio.create_task(program.run(f"{server.url}/stream-{name}"))
            for name, program in programs.items()
        }
        try:
            await eventually(lambda: len(server.streams) == len(programs))
            for number, text in zip(range(60), texts(dice), strict=False):
                streams = list(server.streams.values())
                if number % 6 == 4:
                    server.send(text, dice.sample(streams, 3))
                elif number % 6 == 5:
                    server.send_alone(text, dice.choice(streams))
                else:
                    server.send(text, streams)
                await eventually(
                    lambda: all(p.data == server.streams[name].sent for name, p in programs.items())
                )
            for stream in server.streams.values():
                server.end(stream)
            await asyncio.gather(*tasks.values())
        finally:
            for name, program in programs.items():
                await program.stop(tasks[name])
    for name, program in programs.items():
        assert program.data == [*server.streams[name].sent, "bye"]
        assert server.small > 10
        assert (program.ended, program.process.returncode, program.errors) == (True, 0, ""), name


@pytest.mark.browser
@pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine; on Debian: apt install chromium"
)
@pytest.mark.gen_test(timeout=120)
async def test_each_event_is_read_at_once_by_chromium(io_loop):
    """A browser's EventSource reads each event when it is written, and comes back after a cut and after a clean end."""
    dice = random.Random(12)
    script = """(path) => {
        window.seen = [];
        window.source = new EventSource(path);
        window.source.onmessage = (event) => window.seen.push(event.data);
    }"""
    async with Server() as server, Browser() as browser:
        page = await browser.tab(server.url)
        await page.evaluate(script, "/stream-chromium")
        await eventually(lambda: "chromium" in server.streams)
        sent, others = [], [Sink() for _ in range(3)]
        for number, text in zip(range(60), texts(dice), strict=False):
            stream = server.streams["chromium"]
            if number in (20, 40):
                del server.streams["chromium"]
                if number == 20:
                    stream.cut()
                else:
                    server.end(stream)
                    sent.append("bye")
                await eventually(lambda: "chromium" in server.streams)
                stream = server.streams["chromium"]
            if number % 6 == 4:
                server.send_alone(text, stream)
            else:
                server.send(text, [stream, *others])
                # What this client does not get leaves it behind the others.
                server.send("for the others", others if number % 7 == 3 else others[:1])
            sent.append(text)
            await page.wait_for_function("(count) => window.seen.length >= count", arg=len(sent))
            assert await page.evaluate("window.seen") == sent
        assert server.small > 10
        await page.evaluate("window.source.close()")


class Sink:
    """A client without a socket; it makes an audience of one larger."""

    def __init__(self):
        self.step = BEHIND
        self.sent = []
        self.decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self.decoder.decompress(HEADER)

    def write(self, data):
        assert self.decoder.decompress(data).endswith(b"\n")

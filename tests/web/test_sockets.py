"""A connection's way over a real socket: writing, the two endings, the drain reader, and what the kernel knows."""

import asyncio
import contextlib
import errno
import functools
import gc
import os
import select
import socket
import struct
import weakref
from ssl import SSLWantReadError, SSLWantWriteError

import pytest
from support.waiting import eventually
from tornado.iostream import IOStream

from sfere_tornado import StreamConfig
from sfere_tornado.streams.connection import AWAY, Connection
from sfere_tornado.testing.parser import Parser
from sfere_tornado.web import sockets as module
from sfere_tornado.web.sockets import StreamTransport, has_left, has_vanished, tune
from sfere_tornado.wire.framing import LAST_CHUNK, chunked


class Pair:
    """Both ends of one TCP connection: the server's with a transport, the client's as a bare socket."""

    def __init__(self, *, http_1_1=True, opened=True, **settings):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.client = socket.create_connection(listening.getsockname())
            accepted, _ = listening.accept()
        self.client.setblocking(False)
        self.stream = IOStream(accepted)
        self.settings = StreamConfig(**settings)
        self.closed = 0
        self.ended = []
        self.connection = Connection(on_end=self.ended.append)
        self.transport = StreamTransport(
            self.stream,
            self.settings,
            http_1_1=http_1_1,
            on_closed=self.on_closed,
        )
        if opened:
            self.connection.open(self.transport)
            self.transport.start_reading()

    def on_closed(self, reason):
        self.closed += 1
        self.connection.end(reason)

    async def read(self, size=65536):
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.client, size), 5)

    async def read_all(self):
        data = b""
        with contextlib.suppress(ConnectionResetError):
            while part := await self.read():
                data += part
        return data

    def fill(self):
        """Let the client's side be full: returns how many bytes that took."""
        sent = 0
        with pytest.raises(BlockingIOError):  # noqa: PT012  # whichever of the sends
            while True:
                sent += self.transport.direct(b"x" * 65536)
        return sent

    def close(self):
        self.client.close()
        self.stream.close()


@pytest.fixture
def pair(io_loop):
    """A function that makes a connected pair; all are closed at the end."""
    made = []

    def make(**arguments):
        made.append(Pair(**arguments))
        return made[-1]

    yield make
    for each in made:
        each.close()


# -- writing


@pytest.mark.gen_test
async def test_the_direct_way_is_the_sockets_own(pair):
    """With chunks there is a direct way, and what is sent on it is on the wire at once; HTTP/1.0 has none."""
    made = pair()
    assert (made.transport.frame, made.transport.last_frame) == (chunked, LAST_CHUNK)
    assert made.transport.direct(b"hello") == 5
    assert await made.read() == b"hello"
    assert repr(made.transport) == "<StreamTransport open chunked>"
    old = pair(http_1_1=False)
    assert (old.transport.direct, old.transport.last_frame, old.transport.frame(b"x")) == (
        None,
        b"",
        b"x",
    )
    assert repr(old.transport) == "<StreamTransport open unframed>"


@pytest.mark.gen_test
async def test_what_the_socket_does_not_take_follows_when_it_has_room(pair):
    """Write says that it is busy, is ready again when everything has gone, and changes no byte."""
    made = pair()
    transport, drains = made.transport, []
    drained = functools.partial(drains.append, None)
    assert transport.write(b"at once", drained) is True
    assert await made.read() == b"at once"
    before = made.fill()
    rest = os.urandom(100_000)
    assert transport.write(rest, drained) is False
    assert transport.ready(drained) is False
    received = b""
    while len(received) < before + len(rest):
        received += await made.read()
    assert received == b"x" * before + rest
    await eventually(lambda: not made.stream.writing())
    assert transport.ready(drained) is True
    assert len(drains) == 2  # of the write, and of the question in between


@pytest.mark.gen_test
async def test_a_connection_opened_while_headers_are_on_their_way_waits_for_them(pair):
    """Nothing overtakes what Tornado has not yet written: events wait, and leave when it has."""
    made = pair(opened=False)
    before = made.fill()
    made.stream.write(b"headers")
    made.connection.open(made.transport)
    made.connection.deliver(b"data: x\n\n")
    assert made.connection.outbox > 0
    received = b""
    while not received.endswith(chunked(b"data: x\n\n")):
        received += await made.read()
    assert received[before:] == b"headers" + chunked(b"data: x\n\n")
    assert made.connection.outbox == 0


def test_what_is_not_now_and_what_is_never_again():
    """An error of the direct way that only says "not now" ends no stream, over TLS neither."""
    blocked = StreamTransport.blocked
    for error in (BlockingIOError(), InterruptedError(), SSLWantWriteError(), SSLWantReadError()):
        assert blocked(None, error)
    for error in (
        BrokenPipeError(),
        ConnectionResetError(),
        OSError(9, "Bad file descriptor"),
        TimeoutError(),
    ):
        assert not blocked(None, error)


@pytest.mark.gen_test
async def test_writing_to_a_closed_stream_is_an_error(pair):
    """Whether the stream was closed before, or the write itself finds out."""
    made = pair()
    made.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    made.client.close()
    with pytest.raises(ConnectionResetError, match="closed the connection"):
        made.transport.write(b"x", lambda: None)
    with pytest.raises(ConnectionResetError, match="closed"):
        made.transport.write(b"x", lambda: None)
    with pytest.raises(OSError):  # a closed socket's
        made.transport.direct(b"x")
    assert made.transport.closed()
    assert repr(made.transport) == "<StreamTransport closed chunked>"


@pytest.mark.gen_test
async def test_a_write_that_fails_later_tells_nobody_that_it_drained(pair):
    """A client that leaves while bytes wait for it has not taken them."""
    made = pair()
    made.fill()
    made.connection.deliver(b"data: x\n\n")
    waiting = made.connection.outbox
    assert waiting
    made.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    made.client.close()
    await eventually(lambda: made.closed)
    assert [connection.reason for connection in made.ended] == ["client"]


# -- ending


@pytest.mark.gen_test
async def test_aborting_cuts_without_a_last_chunk(pair):
    """FIN at once, no last chunk; a second call, and one after the client has left, change nothing."""
    made = pair()
    made.connection.deliver(b"data: x\n\n")
    made.connection.close()
    made.transport.abort()
    assert await made.read_all() == chunked(b"data: x\n\n")
    assert made.closed == 1


@pytest.mark.gen_test
async def test_a_clean_end_waits_for_the_client_to_close(pair):
    """Last words, last chunk, FIN; the socket closes when the client has closed, and nothing lingers then."""
    made = pair(linger=60.0)
    made.connection.close(reconnect=False)
    data = await made.read_all()
    assert data == chunked(b"retry: %d\n\n" % AWAY) + LAST_CHUNK
    assert not made.stream.closed()
    made.client.close()
    await eventually(made.stream.closed)
    assert made.closed == 1
    assert made.transport._lingering.cancelled()


@pytest.mark.gen_test
async def test_a_clean_end_waits_no_longer_than_linger(pair):
    """A client that never closes keeps no socket."""
    made = pair(linger=0.05)
    made.connection.close(reconnect=False)
    await eventually(made.stream.closed)
    assert made.closed == 1


@pytest.mark.gen_test
async def test_a_clean_end_behind_what_waits_comes_last(pair):
    """A client that is behind gets everything, in order, before the end."""
    made = pair()
    before = made.fill()
    made.connection.deliver(b"data: 1\n\n")
    made.connection.deliver(b"data: 2\n\n")
    made.connection.close(reconnect=False)
    body = (await made.read_all())[before:]
    assert body.endswith(LAST_CHUNK)
    text = b"".join(part for part in body.split(b"\r\n") if b"data" in part or b"retry" in part)
    parser = Parser()
    assert [event.data for event in parser.feed(text)] == ["1", "2"]
    assert parser.retry == AWAY


@pytest.mark.gen_test
async def test_a_clean_end_to_one_who_has_left_is_nothing(pair):
    """Neither before the last words nor while they are on their way does a leaving client make trouble."""
    gone = pair()
    gone.stream.close()
    gone.transport.finish(b"x", lambda written: None)
    assert gone.transport._lingering is None

    leaving = pair()
    leaving.fill()
    leaving.connection.close(reconnect=False)
    leaving.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    leaving.client.close()
    await eventually(leaving.stream.closed)
    assert leaving.closed == 1


@pytest.mark.parametrize("end", ["abort", "finish"])
@pytest.mark.gen_test
async def test_each_end_reports_a_stream_that_was_closed_already(pair, end):
    """The handler is released, once, also where no read is pending that would report the close."""
    made = pair(opened=False)
    made.stream.close()
    for _ in range(2):
        made.transport.abort() if end == "abort" else made.transport.finish(
            b"x", lambda written: None
        )
    assert made.closed == 1


@pytest.mark.gen_test
async def test_too_many_bytes_after_a_clean_end_close_the_socket(pair):
    """Nothing reads any more then, so nothing else would see the client leave before linger is over."""
    made = pair(max_unread=1024, linger=60.0)
    made.connection.close(reconnect=False)
    made.client.send(b"x" * 2048)
    await eventually(made.stream.closed)
    assert made.closed == 1
    assert made.transport._lingering.cancelled()


# -- reading


@pytest.mark.gen_test
async def test_bytes_of_the_client_are_thrown_away_up_to_a_bound(pair):
    """Stray bytes hide no FIN; above max_unread the stream is cut."""
    made = pair(max_unread=1024)
    made.client.send(b"x" * 1024)
    await eventually(lambda: made.transport._unread == 1024)
    assert made.connection.reason is None
    made.client.send(b"x")
    await eventually(lambda: made.connection.reason == "error")
    assert made.stream.closed()

    stray = pair()
    stray.client.send(b"\r\n")
    stray.client.close()
    await eventually(lambda: stray.connection.reason == "client")


@pytest.mark.gen_test
async def test_reading_from_one_who_has_left_tells_so(pair):
    """A stream that is closed before the first read is told at once, and once."""
    made = pair(opened=False)
    made.stream.close()
    made.connection.open(made.transport)
    made.transport.start_reading()
    assert made.closed == 1
    made.transport.abort()
    assert made.closed == 1


# -- the kernel


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="TCP_INFO is Linux's")
@pytest.mark.gen_test
async def test_the_kernel_tells_what_was_acknowledged(pair):
    """Bytes that the client's kernel has taken are counted exactly; its silence and the round trip are seconds."""
    made = pair()
    before = made.transport.acknowledged()
    made.transport.direct(b"x" * 1000)
    await eventually(lambda: made.transport.acknowledged() - before == 1000)
    view = made.connection.health().kernel
    assert view.acknowledged == before + 1000
    assert view.unacknowledged == 0
    assert 0 <= view.silence < 1
    assert 0 < view.round_trip < 1
    made.fill()
    await asyncio.sleep(0.05)  # of the kernel's time, which is the real one
    assert made.transport.kernel().silence < 1


@pytest.mark.gen_test
async def test_where_the_kernel_does_not_tell_there_is_no_answer(pair, monkeypatch):
    """A closed stream, another platform, an old kernel and a socket that is none: None, never an error."""
    made = pair()
    with monkeypatch.context() as patch:
        patch.delattr(socket, "TCP_INFO", raising=False)
        assert (made.transport.kernel(), made.transport.acknowledged()) == (None, None)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_TCP_INFO_SIZE", 10_000)
        assert made.transport.acknowledged() is None
    made.stream.socket.close()
    assert made.transport.kernel() is None
    made.stream.close()
    assert made.transport.kernel() is None


@pytest.mark.gen_test
async def test_only_tcp_is_tuned(pair, monkeypatch):
    """A socket of the file system is left alone, and so is a stream that has none any more; a missing option is no error."""
    ours, theirs = socket.socketpair()
    local = IOStream(ours)
    tune(local, StreamConfig())
    theirs.close()
    local.close()
    tune(local, StreamConfig())
    with monkeypatch.context() as patch:
        patch.delattr(socket, "TCP_USER_TIMEOUT", raising=False)
        made = pair()
        tune(made.stream, StreamConfig())
    assert made.stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    made.stream.socket.close()
    made.stream.set_nodelay = lambda value: None
    tune(made.stream, StreamConfig())


@pytest.mark.gen_test
async def test_who_has_left_is_known_before_anything_is_done_for_him(pair):
    """FIN, RST and a closed stream are seen; a client that is there is not taken for one that left."""
    here = pair(opened=False)
    assert not has_left(here.stream)
    here.client.send(b"x")
    await eventually(lambda: select.select([here.stream.socket], [], [], 0)[0])
    assert not has_left(here.stream)

    closing = pair(opened=False)
    closing.client.close()
    await eventually(lambda: has_left(closing.stream))

    resetting = pair(opened=False)
    resetting.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    resetting.client.close()
    await eventually(lambda: has_left(resetting.stream))

    gone = pair(opened=False)
    gone.stream.close()
    assert has_left(gone.stream)


@pytest.mark.gen_test
async def test_who_has_vanished_did_not_leave_by_himself(pair):
    """The kernel gives up with one of several errors; a client that closes or resets is no such thing."""
    for number in (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH):
        made = pair(opened=False)
        made.stream.close(exc_info=OSError(number, os.strerror(number)))
        assert has_vanished(made.stream)
    for error in (
        None,
        ConnectionResetError(errno.ECONNRESET, "reset"),
        BrokenPipeError(errno.EPIPE, "pipe"),
    ):
        made = pair(opened=False)
        made.stream.close(exc_info=error or False)
        assert not has_vanished(made.stream)


@pytest.mark.parametrize("end", ["client", "cut", "clean", "clean, unread"])
@pytest.mark.gen_test
async def test_an_ended_stream_is_freed_without_the_collector(pair, end):
    """Connection and transport do not keep each other alive, however the stream has ended."""
    gc.collect()
    gc.disable()
    try:
        made = pair(linger=0.05)
        if end == "clean, unread":
            made.fill()
            made.connection.deliver(b"data: waits\n\n")
        if end == "client":
            made.client.close()
        else:
            made.connection.close(reconnect=end == "cut")
        if end == "clean":
            await made.read_all()
            made.client.close()
        await eventually(lambda: made.closed)
        made.close()
        gone = [weakref.ref(made.connection), weakref.ref(made.transport)]
        made.ended.clear()
        made.connection = made.transport = None
        # Tornado calls back what waited for the stream in the next turns.
        await eventually(lambda: [each() for each in gone] == [None, None], patience=2)
    finally:
        gc.enable()

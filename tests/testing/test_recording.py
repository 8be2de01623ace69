"""A connection without a socket, for applications' tests and ours."""

from contextlib import suppress

import pytest

from sfere_tornado.errors import ConnectionClosedError, EventStreamError
from sfere_tornado.streams.connection import Connection
from sfere_tornado.testing.parser import Received
from sfere_tornado.testing.recording import RecordingTransport, recording_connection
from sfere_tornado.wire.event_stream import Event
from sfere_tornado.wire.framing import LAST_CHUNK, chunked


def test_what_is_sent_is_recorded():
    """Each write is kept, and the events are read from all of them together."""
    connection, transport = recording_connection()
    connection.send(Event("one", id="1"))
    connection.send(Event("two", event="notice"))
    assert transport.writes == [b"id: 1\ndata: one\n\n", b"event: notice\ndata: two\n\n"]
    assert transport.written == b"".join(transport.writes)
    assert transport.events() == [Received("message", "one", "1"), Received("notice", "two", "1")]


def test_nothing_sent_is_no_event():
    """A fresh transport has recorded nothing."""
    _, transport = recording_connection()
    assert (transport.writes, transport.events(), transport.ending) == ([], [], None)


def test_events_of_any_size_are_read():
    """What was recorded can be read however large it is."""
    connection, transport = recording_connection()
    connection.deliver(b"data: " + b"x" * 2_000_000 + b"\n\n")
    assert len(transport.events()[0].data) == 2_000_000


def test_events_are_read_strictly():
    """Bytes that are no event stream are an error in the test that caused them."""
    connection, transport = recording_connection()
    connection.deliver(b"nonsense\n\n")
    with pytest.raises(EventStreamError):
        transport.events()


def test_a_framed_connection():
    """With the frame of HTTP/1.1 the writes are chunks, and a clean end has the last one."""
    connection, transport = recording_connection(frame=chunked, last_frame=LAST_CHUNK)
    connection.deliver(b"data: x\n\n")
    connection.close(reconnect=False)
    assert transport.writes[0] == b"9\r\ndata: x\n\n\r\n"
    assert transport.written.endswith(LAST_CHUNK)


def test_the_direct_way():
    """With the direct way a test decides what it does next: takes all, a part, nothing now, or fails."""
    connection, transport = recording_connection(frame=chunked, last_frame=LAST_CHUNK, direct=True)
    for outcome in (None, 2, 0, 99, BlockingIOError()):
        transport.outcome = outcome
        delivery = connection.deliver(b"x")
        assert (delivery.reached, connection.outbox) == (1, 0)
    assert transport.writes == [
        chunked(b"x"),
        chunked(b"x")[:2],
        chunked(b"x")[2:],
        chunked(b"x"),
        chunked(b"x"),
        chunked(b"x"),
    ]
    transport.outcome = BrokenPipeError()
    assert connection.deliver(b"x").reached == 0
    assert (connection.reason, transport.ending) == ("client", "aborted")


def test_a_stalled_client_takes_nothing_directly():
    """A stalled client's socket would block; what was to be sent is on its way then, and what comes later waits."""
    connection, transport = recording_connection(frame=chunked, direct=True)
    transport.stalled = True
    connection.deliver(b"a")
    connection.deliver(b"b")
    assert (transport.writes, connection.outbox) == ([chunked(b"a")], 7)
    transport.stalled = False
    transport.drain()
    connection.deliver(b"c")
    assert transport.writes == [chunked(b"a"), chunked(b"b"), chunked(b"c")]


def test_the_direct_way_is_chunked():
    """The direct way with another frame than HTTP/1.1's is an error of the test."""
    with pytest.raises(ValueError, match="give frame=chunked too"):
        recording_connection(direct=True)


def test_the_direct_way_finds_a_client_that_has_gone():
    """A client that vanished unnoticed is found by the next send."""
    connection, transport = recording_connection(frame=chunked, direct=True)
    transport.break_silently()
    assert not transport.closed()
    assert connection.deliver(b"x").reached == 0
    assert (connection.reason, transport.writes) == ("client", [])


@pytest.mark.parametrize("outcome", [2, 0, BlockingIOError(), None])
def test_a_send_that_stopped_must_be_continued(outcome):
    """Whatever a send did not take must be written next, exactly that, and by no other send."""
    transport = RecordingTransport(Connection(), frame=chunked, direct=True)
    transport.outcome, transport.stalled = outcome, outcome is None
    with suppress(BlockingIOError):
        assert transport.direct(b"abcd") == outcome
    rest = b"cd" if outcome == 2 else b"abcd"
    with pytest.raises(RuntimeError, match=f"had left {rest!r}"):
        transport.direct(b"x")
    with pytest.raises(RuntimeError, match=f"had left {rest!r}"):
        transport.write(b"x")
    transport.write(rest)
    assert transport.written == b"abcd"
    transport.drain()
    transport.stalled, transport.outcome = False, None
    assert transport.direct(b"e") == 1
    assert transport.write(b"f")
    assert transport.written == b"abcdef"


def test_an_error_for_good_asks_for_nothing():
    """After an error that says "never again" nothing is left to be continued; only an end can follow."""
    transport = RecordingTransport(Connection(), frame=chunked, direct=True)
    transport.outcome = ConnectionResetError()
    assert not transport.blocked(transport.outcome)
    with pytest.raises(ConnectionResetError):
        transport.direct(b"a")
    transport.abort()
    with pytest.raises(RuntimeError, match="that it had ended"):
        transport.direct(b"a")
    assert transport.writes == []


def test_a_stalled_client():
    """A stalled client takes one write at a time, and what waits follows joined when it drains."""
    connection, transport = recording_connection()
    transport.stalled = True
    for payload in (b"a", b"b", b"c"):
        connection.deliver(payload)
    assert transport.writes == [b"a"]
    transport.drain()
    assert transport.writes == [b"a", b"bc"]
    connection.deliver(b"d")
    transport.stalled = False
    transport.drain()
    connection.deliver(b"e")
    assert transport.writes == [b"a", b"bc", b"d", b"e"]


def test_a_client_that_leaves():
    """A client that leaves is told to the connection, once, with the reason client."""
    ended = []
    connection, transport = recording_connection(on_end=ended.append)
    transport.leave()
    transport.leave()
    assert transport.closed()
    assert (ended, connection.reason) == ([connection], "client")
    with pytest.raises(ConnectionClosedError):
        connection.send(Event("x"))


def test_a_client_that_vanishes():
    """A client that vanishes unnoticed is found by the next write and not before."""
    connection, transport = recording_connection()
    transport.break_silently()
    assert not connection.closed
    assert connection.deliver(b"x").reached == 0
    assert connection.closed
    assert (connection.reason, transport.ending, transport.writes) == ("client", "aborted", [])


def test_last_bytes_do_not_reach_a_client_that_has_gone():
    """What a clean end writes last is not recorded for a client that vanished or left."""
    connection, transport = recording_connection()
    transport.break_silently()
    connection.close(reconnect=False)
    assert (transport.writes, transport.ending) == ([], "finished")
    _, left = recording_connection()
    left.leave()
    left.finish(b"last")
    assert left.writes == []


def test_acknowledged_bytes_are_set_by_the_test():
    """The test decides what the peer's kernel has acknowledged; unknown by default."""
    _, transport = recording_connection()
    assert transport.acknowledged() is None
    assert transport.kernel() is None
    transport.acknowledged_bytes = 7
    assert transport.acknowledged() == 7
    assert transport.kernel().acknowledged == 7


def test_a_connection_that_is_not_open_yet():
    """A connection can be made opening, and opened by the test."""
    connection, transport = recording_connection(opened=False, remote="192.0.2.1")
    assert connection.state.opening
    assert connection.remote == "192.0.2.1"
    connection.open(transport)
    assert not connection.state.opening


def test_a_transport_that_is_busy_when_the_stream_opens():
    """A transport that was given something before the stream opens is not ready, and tells the connection once it is."""
    connection, transport = recording_connection(opened=False)
    assert transport.ready()
    transport.stalled = True
    transport.write(b"headers")
    assert not transport.ready()
    connection.open(transport)
    connection.deliver(b"a")
    assert transport.writes == [b"headers"]
    transport.drain()
    assert transport.writes == [b"headers", b"a"]


def test_it_is_stricter_than_a_socket():
    """A write to a busy transport, one after the end, and a second end, are faults of whoever does it."""
    transport = RecordingTransport(Connection())
    transport.stalled = True
    assert transport.write(b"a") is False
    with pytest.raises(RuntimeError, match="while its transport was busy"):
        transport.write(b"b")
    with pytest.raises(RuntimeError, match="while its transport was busy"):
        RecordingTransport._take_directly(transport, b"b")
    transport.finish(b"c")
    with pytest.raises(RuntimeError, match="that it had ended"):
        transport.write(b"d")
    with pytest.raises(RuntimeError, match="had been finished before"):
        transport.abort()
    assert transport.writes == [b"a", b"c"]


def test_what_a_transport_shows():
    """The repr of a transport tells its state and how much it has got."""
    connection, transport = recording_connection()
    assert repr(transport) == "<RecordingTransport open, 0 writes>"
    transport.stalled = True
    connection.deliver(b"x")
    assert repr(transport) == "<RecordingTransport busy, 1 writes>"
    connection.close()
    assert repr(transport) == "<RecordingTransport aborted, 1 writes>"
    _, other = recording_connection()
    other.leave()
    assert repr(other) == "<RecordingTransport left, 0 writes>"
    assert repr(other.client) == "<RecordedClient left, 0 writes>"
    assert repr(transport.client) == "<RecordedClient here, 1 writes>"


def test_the_transport_shows_its_client():
    """What a test reads and sets on the transport is that of the client's side."""
    connection, transport = recording_connection()
    transport.stalled, transport.outcome, transport.acknowledged_bytes = True, 3, 7
    client = transport.client
    assert (client.stalled, client.outcome, client.acknowledged_bytes) == (True, 3, 7)
    assert (transport.stalled, transport.outcome, transport.acknowledged_bytes) == (True, 3, 7)
    connection.send(Event("x"))
    assert (client.writes, client.written) == (transport.writes, b"data: x\n\n")
    assert client.events() == transport.events() == [Received("message", "x", "")]
    client.stalled, client.outcome, client.acknowledged_bytes = False, None, 8
    assert (transport.stalled, transport.outcome, transport.acknowledged_bytes) == (False, None, 8)

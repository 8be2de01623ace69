"""One open event stream: its state, its outbox, its end."""

import asyncio
import gc
import weakref
import zlib
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfere_tornado.defaults import MAX_OUTBOX
from sfere_tornado.errors import ConnectionClosedError, EventTooLargeError
from sfere_tornado.streams import outbox as outbox_module
from sfere_tornado.streams.connection import AWAY, Connection, Health
from sfere_tornado.streams.delivery import Delivery, Failure
from sfere_tornado.streams.outbox import CATCH_UP
from sfere_tornado.streams.transport import KernelView, Transport
from sfere_tornado.streams.writer import Writer
from sfere_tornado.testing.parser import Parser
from sfere_tornado.testing.recording import RecordingTransport, recording_connection
from sfere_tornado.wire.compression import BEHIND, HEADER, SharedCompressor
from sfere_tornado.wire.event_stream import Event
from sfere_tornado.wire.framing import LAST_CHUNK, chunked, unframed

FAREWELL = f"retry: {AWAY}\n\n".encode()


def direct_connection(**arguments):
    """A connection over HTTP/1.1, whose transport has the direct way."""
    return recording_connection(frame=chunked, last_frame=LAST_CHUNK, direct=True, **arguments)


def inflated(data):
    """What a client reads from a gzip stream so far."""
    return zlib.decompressobj(31).decompress(data)


def delivery(*payloads):
    """A delivery of events to a connection, as the writer makes it."""
    made = Delivery([None])
    for payload in payloads:
        made.payloads.append(payload)
        made.names.append(None)
    return made


def busy(writer, turns):
    """Begin a turn with a fan-out: what follows waits for the end of the turn."""
    writer.meet(turns.append)
    writer.deliver([], b"")


def told(delivery):
    """What a delivery says: how many were reached, how many waited, who failed."""
    assert delivery.done
    return (delivery.reached, delivery.waited, delivery.failures)


# -- opening


def test_what_is_delivered_while_opening_follows_in_order():
    """What comes before the transport waits, and leaves joined when it opens, before anything later."""
    connection, transport = recording_connection(opened=False)
    assert connection.state.opening
    assert not connection.closed
    assert told(connection.deliver(b"a")) == (1, 1, [])
    assert told(connection.send(Event("b"))) == (1, 1, [])
    assert connection.outbox == len(b"a" + b"data: b\n\n")
    connection.open(transport)
    connection.deliver(b"c")
    assert transport.writes == [b"adata: b\n\n", b"c"]
    assert (connection.state.opening, connection.outbox) == (False, 0)


@pytest.mark.parametrize("direct", [False, True])
def test_what_waited_while_opening_is_framed_then(direct):
    """The framing is known only when the transport is: what waited is framed then, as one chunk."""
    connection, transport = recording_connection(
        frame=chunked, last_frame=LAST_CHUNK, direct=direct, opened=False
    )
    connection.deliver(b"a")
    connection.deliver(b"b")
    connection.open(transport)
    assert transport.writes == [b"2\r\nab\r\n"]


def test_opening_behind_what_is_on_its_way():
    """While headers are still on their way nothing is written; what waited leaves after them, joined."""
    connection, transport = direct_connection(opened=False)
    transport.stalled = True
    transport.write(b"headers")
    connection.deliver(b"a")
    connection.open(transport)
    assert told(connection.deliver(b"b")) == (1, 1, [])
    assert (connection.state.opening, connection.outbox, transport.writes) == (
        False,
        2,
        [b"headers"],
    )
    transport.stalled = False
    transport.drain()
    connection.deliver(b"c")
    assert transport.writes == [b"headers", chunked(b"ab"), chunked(b"c")]
    assert connection.outbox == 0


def test_opening_behind_what_the_opener_writes():
    """A stream that does not go live yet keeps what is delivered, while whoever opens it writes what comes before."""
    connection, transport = direct_connection(opened=False)
    connection.deliver(b"a")
    connection.open(transport, live=False)
    assert (connection.state.opening, connection.outbox) == (False, 1)
    transport.write(b"replay")
    assert told(connection.deliver(b"b")) == (1, 1, [])
    connection.go_live()
    connection.deliver(b"c")
    assert transport.writes == [b"replay", chunked(b"ab"), chunked(b"c")]
    assert connection.outbox == 0


def test_a_stream_that_ends_before_it_goes_live():
    """Going live after the end, or without a transport, writes nothing and raises nothing."""
    connection, transport = direct_connection(opened=False)
    connection.go_live()
    assert connection.state.opening
    connection.open(transport, live=False)
    connection.deliver(b"a")
    connection.close()
    connection.go_live()
    assert (transport.writes, transport.ending) == ([], "aborted")


def test_opening_twice():
    """A connection has one transport; a second one is an error, and changes nothing."""
    connection, transport = recording_connection()
    with pytest.raises(RuntimeError, match="has a transport already"):
        connection.open(RecordingTransport(connection))
    connection.deliver(b"a")
    assert transport.writes == [b"a"]


def test_opening_with_nothing_waiting_writes_nothing():
    """A connection to which nothing was delivered writes nothing when it opens."""
    _, transport = recording_connection()
    assert transport.writes == []


def test_a_connection_that_has_ended_cannot_be_opened():
    """A client that left before its stream opened is told to whoever opens it, and the transport gets nothing."""
    connection, transport = recording_connection(opened=False)
    connection.deliver(b"a")
    connection.end("client")
    with pytest.raises(ConnectionClosedError) as caught:
        connection.open(transport)
    assert caught.value.reason == "client"
    assert transport.writes == []
    assert not connection.state.opening


def test_a_client_that_has_gone_when_the_stream_opens():
    """A transport that turns out to be closed by the first write ends the connection, and raises nothing."""
    ended = []
    connection, transport = recording_connection(opened=False, on_end=ended.append)
    connection.deliver(b"a")
    transport.break_silently()
    connection.open(transport)
    assert (connection.reason, ended) == ("client", [connection])


def test_the_outbox_is_bounded_while_opening():
    """Stops what is delivered to a stream that never opens from filling the memory."""
    ended = []
    connection, _ = recording_connection(opened=False, max_outbox=3, on_end=ended.append)
    assert told(connection.deliver(b"abc")) == (1, 1, [])
    assert told(connection.deliver(b"d")) == (0, 0, [Failure(None, connection, "slow")])
    assert (connection.reason, connection.outbox, ended) == ("slow", 0, [connection])


# -- delivering


def test_bytes_leave_at_once_while_nothing_waits():
    """Each delivery to an idle transport is one write, of the very same bytes."""
    connection, transport = recording_connection()
    payload = b"data: x\n\n"
    connection.deliver(payload)
    connection.deliver(b"y")
    assert transport.writes == [payload, b"y"]
    assert transport.writes[0] is payload
    assert connection.outbox == 0


def test_the_direct_way_takes_what_it_can():
    """What the direct way takes whole waits for nothing and nobody, and comes to no other way."""
    connection, transport = direct_connection()
    transport.write = None
    assert told(connection.deliver(b"x")) == (1, 0, [])
    assert (transport.writes, connection.outbox) == ([chunked(b"x")], 0)


@pytest.mark.parametrize("taken", [0, 1, 5])
@pytest.mark.parametrize("stalled", [False, True])
def test_a_short_send_goes_on_where_it_stopped(taken, stalled):
    """What the direct way did not take goes through the transport, and nothing overtakes it or is sent twice."""
    connection, transport = direct_connection()
    transport.outcome, transport.stalled = taken, stalled
    assert connection.deliver(b"x").failures == []
    assert transport.written == b"1\r\nx\r\n"
    assert connection.outbox == (6 - taken if stalled else 0)
    transport.outcome, transport.stalled = None, False
    connection.deliver(b"y")
    transport.drain()
    connection.deliver(b"z")
    assert transport.written == b"".join(map(chunked, (b"x", b"y", b"z")))
    assert connection.outbox == 0


@pytest.mark.parametrize("stalled", [False, True])
def test_a_send_that_would_block_is_tried_again_whole(stalled):
    """When the socket can take nothing now, the very same bytes are handed to the transport, as TLS needs it."""
    connection, transport = direct_connection()
    transport.outcome, transport.stalled = BlockingIOError(), stalled
    assert connection.deliver(b"x").failures == []
    assert transport.writes == [chunked(b"x")]
    assert connection.outbox == (6 if stalled else 0)


def test_the_direct_way_is_taken_again_after_draining():
    """Once nothing waits any more, events go the direct way again; before that none does."""
    connection, transport = direct_connection()
    direct = connection.write
    transport.stalled = True
    connection.deliver(b"a")
    assert connection.write != direct
    connection.deliver(b"b")
    transport.drain()
    assert connection.write != direct
    transport.drain()
    assert connection.write == direct
    assert transport.writes == [chunked(b"a"), chunked(b"b")]


def test_an_error_of_the_direct_way_ends_the_stream():
    """A send that can never succeed is a client that has gone: a failure of the delivery, not an exception."""
    connection, transport = direct_connection()
    transport.outcome = BrokenPipeError()
    assert told(connection.deliver(b"x")) == (0, 0, [Failure(None, connection, "client")])
    assert (connection.reason, transport.ending, transport.writes) == ("client", "aborted", [])


def test_a_client_that_goes_in_the_middle_of_a_send():
    """A client that takes a part and is gone for the rest has failed, once."""
    connection, transport = direct_connection()
    transport.outcome = 2
    transport.write = RecordingTransport(connection, frame=unframed).write
    transport.write.__self__.break_silently()
    assert told(connection.deliver(b"x")) == (0, 0, [Failure(None, connection, "client")])
    assert (connection.reason, transport.ending, connection.outbox) == ("client", "aborted", 0)


def test_bytes_wait_while_the_transport_is_busy():
    """What the transport has not taken whole counts as waiting; what comes then waits too, and leaves joined."""
    connection, transport = recording_connection()
    transport.stalled = True
    assert told(connection.deliver(b"aa")) == (1, 1, [])
    assert connection.outbox == 2
    connection.deliver(b"bbb")
    connection.deliver(b"c")
    assert connection.outbox == 6
    transport.drain()
    assert transport.writes == [b"aa", b"bbbc"]
    assert connection.outbox == 4
    transport.stalled = False
    transport.drain()
    assert connection.outbox == 0
    connection.deliver(b"d")
    assert transport.writes == [b"aa", b"bbbc", b"d"]


def test_one_event_that_waited_is_written_as_it_is():
    """A single event that waited is not copied."""
    connection, transport = recording_connection()
    transport.stalled = True
    payload = b"data: x\n\n"
    connection.deliver(b"a")
    connection.deliver(payload)
    transport.drain()
    assert transport.writes[1] is payload


def test_a_client_that_does_not_read_is_cut_at_its_bound():
    """Stops a client that does not read from costing more than its outbox: it is cut, with the reason slow."""
    ended = []
    connection, transport = recording_connection(max_outbox=10, on_end=ended.append)
    transport.stalled = True
    connection.deliver(b"12345")
    assert told(connection.deliver(b"67890")) == (1, 1, [])
    assert told(connection.deliver(b"1")) == (0, 0, [Failure(None, connection, "slow")])
    assert (connection.reason, transport.ending, ended) == ("slow", "aborted", [connection])
    assert transport.writes == [b"12345"]


def test_the_bound_counts_again_after_draining():
    """A client that catches up has its whole outbox again."""
    connection, transport = recording_connection(max_outbox=4)
    transport.stalled = True
    for _ in range(5):
        connection.deliver(b"12")
        connection.deliver(b"34")
        transport.drain()
        transport.drain()
    assert connection.reason is None
    assert len(transport.written) == 20


def test_an_event_larger_than_the_outbox_reaches_an_idle_client():
    """The bound is on what waits: what the transport takes at once may be larger."""
    connection, transport = recording_connection(max_outbox=4)
    assert connection.deliver(b"123456").reached == 1
    assert transport.written == b"123456"


def test_a_write_that_fails_ends_the_stream():
    """A client that turns out to be gone is a failure of the delivery, not an exception."""
    ended = []
    connection, transport = recording_connection(on_end=ended.append)
    connection.key = ("default", ("lobby", "ann"))
    transport.break_silently()
    assert told(connection.deliver(b"x")) == (0, 0, [Failure(connection.key, connection, "client")])
    assert (transport.ending, ended) == ("aborted", [connection])


def test_a_failure_after_waiting_ends_the_stream():
    """A client that turns out to be gone when what waited is written ends, and raises nothing into the transport."""
    connection, transport = recording_connection()
    transport.stalled = True
    connection.deliver(b"a")
    connection.deliver(b"b")
    transport.break_silently()
    transport.drain()
    assert (connection.reason, connection.outbox) == ("client", 0)


def test_taking_ends_nothing_until_it_is_settled():
    """What is not taken says so and changes nothing else; settling ends the stream with its reason, once."""
    ended = []
    connection, transport = direct_connection(on_end=ended.append)
    assert connection.take([delivery(b"x")], chunked(b"x"), ConnectionResetError()) is False
    assert (connection.reason, ended, transport.ending) == (None, [], None)
    assert connection.take([delivery(b"y")], chunked(b"y"), ConnectionResetError()) is False
    assert connection.settle() == "client"
    assert connection.settle() == "client"
    assert (connection.reason, ended, transport.ending) == ("client", [connection], "aborted")


def test_settling_without_a_failure_is_an_error():
    """Whoever settles a connection that took everything ends it, with the reason error."""
    connection, _ = recording_connection()
    assert connection.settle() == "error"


def test_nothing_is_sent_between_a_failure_and_its_settling():
    """A client that missed something gets nothing later, also if the socket would take it: a gap must be seen as one."""
    connection, transport = direct_connection()
    assert connection.take([delivery(b"a")], chunked(b"a"), OSError()) is False
    framed = chunked(b"b")
    assert connection.write(framed) != len(framed)
    assert transport.writes == []


def test_draining_between_a_failure_and_its_settling_writes_nothing():
    """Between a failure and its settling nothing is written, although the transport drains."""
    connection, transport = recording_connection(max_outbox=2)
    transport.stalled = True
    connection.deliver(b"a")
    assert connection.take([delivery(b"b")], b"b", connection.write(b"b")) is True
    assert connection.take([delivery(b"c")], b"c", connection.write(b"c")) is False
    transport.drain()
    assert connection.settle() == "slow"
    assert transport.writes == [b"a"]


def test_what_fits_of_a_turn_does_not_save_a_client_that_is_slow():
    """Of several events that overflow the outbox none is taken after the first that did not fit."""
    connection, transport = recording_connection(max_outbox=4)
    transport.stalled = True
    connection.deliver(b"12")
    assert (
        connection.take([delivery(b"3", b"456", b"7")], b"34567", connection.write(b"34567"))
        is False
    )
    assert connection.settle() == "slow"
    assert (transport.writes, connection.outbox) == ([b"12"], 0)


def test_draining_after_the_end_writes_nothing():
    """A transport that drains after the stream has ended is given nothing more."""
    connection, transport = recording_connection()
    transport.stalled = True
    connection.deliver(b"a")
    connection.deliver(b"b")
    transport.leave()
    transport.drain()
    assert transport.writes == [b"a"]


def test_send_raises_on_a_closed_stream():
    """Sending one event to one closed stream is an error with the reason, also if it ends just now, written at once."""
    connection, transport = recording_connection()
    transport.break_silently()
    for _ in range(2):
        with pytest.raises(ConnectionClosedError) as caught:
            connection.send(Event("x"))
        assert caught.value.reason == "client"


def test_send_refuses_what_is_too_large_and_stays_usable():
    """An event over the limit is an error to its sender; the stream has got nothing of it, and goes on."""
    connection, transport = recording_connection()
    with pytest.raises(EventTooLargeError):
        connection.send(Event("x" * 1_000_000))
    connection.send(Event("small"))
    assert transport.writes == [b"data: small\n\n"]


def test_delivering_to_a_closed_stream():
    """A delivery to a stream that has ended tells the reason of its end, and raises nothing."""
    connection, _ = recording_connection()
    connection.close(reason="expired")
    assert told(connection.deliver(b"x")) == (0, 0, [Failure(None, connection, "expired")])


# -- catching up


def test_what_waited_leaves_in_pieces():
    """A client that catches up is handed so much at a time that what still waits can be replaced by newer."""
    connection, transport = recording_connection()
    transport.stalled = True
    connection.deliver(b"first")
    half = b"x" * (CATCH_UP // 2)
    for payload in (half, half, b"y", b"z" * (CATCH_UP + 1), b"last"):
        connection.deliver(payload)
    sizes = []
    while connection.outbox:
        transport.drain()
        sizes.append(len(transport.writes[-1]))
    assert sizes == [CATCH_UP, 1, CATCH_UP + 1, 4, 4]
    assert transport.written == b"first" + half + half + b"y" + b"z" * (CATCH_UP + 1) + b"last"


def test_pieces_follow_each_other_while_the_transport_takes_them():
    """A client that reads again gets all of what waited at once, piece by piece."""
    connection, transport = recording_connection(opened=False)
    payload = b"x" * CATCH_UP
    for _ in range(5):
        connection.deliver(payload)
    connection.open(transport)
    assert transport.writes == [payload] * 5
    assert connection.outbox == 0


def test_what_the_transport_has_sent_is_counted():
    """A client that takes what was on its way has got on, however much still waits for it."""
    connection, transport = recording_connection()
    transport.stalled = True
    connection.deliver(b"a")
    connection.deliver(b"b")
    assert connection.drains == 0
    transport.drain()
    assert (connection.drains, connection.outbox) == (1, 1)


# -- conflating


def test_the_newest_replaces_what_waits_under_its_name():
    """While events wait, a newer one takes away the older of its name, and comes after all that was delivered before."""
    connection, transport = recording_connection(conflate=True)
    transport.stalled = True
    connection.deliver(b"[p0]", "price")
    for payload, name in (
        (b"[p1]", "price"),
        (b"[a]", None),
        (b"[q1]", "quote"),
        (b"[p2]", "price"),
        (b"[b]", None),
        (b"[q22]", "quote"),
    ):
        connection.deliver(payload, name)
    assert connection.outbox == len(b"[p0][a][p2][b][q22]")
    transport.drain()
    assert transport.writes == [b"[p0]", b"[a][p2][b][q22]"]


def test_a_connection_that_does_not_conflate_keeps_every_event():
    """Names mean nothing to a connection that was not told to conflate."""
    connection, transport = recording_connection()
    transport.stalled = True
    for payload in (b"1", b"2", b"3"):
        connection.deliver(payload, "price")
    transport.drain()
    assert transport.writes == [b"1", b"23"]


def test_events_that_do_not_wait_are_not_replaced():
    """A client that keeps up gets every event, of whatever name; what was handed over is not called back."""
    connection, transport = direct_connection(conflate=True)
    for payload in (b"1", b"2"):
        connection.deliver(payload, "price")
    assert transport.writes == [chunked(b"1"), chunked(b"2")]


def test_conflating_keeps_a_slow_client_within_its_bound():
    """However often state changes, a slow client costs one event of each name; the bound is reached by names only."""
    connection, transport = recording_connection(conflate=True, max_outbox=10)
    transport.stalled = True
    connection.deliver(b"1234")
    for _ in range(100):
        connection.deliver(b"abc", "a")
        connection.deliver(b"def", "b")
    assert (connection.outbox, connection.reason) == (10, None)
    assert connection.deliver(b"g", "c").failures == [Failure(None, connection, "slow")]


def test_the_bound_counts_what_is_replaced_before_what_replaces_it():
    """A newer event fits when it does in the place of the older one, to the byte."""
    connection, transport = recording_connection(conflate=True, max_outbox=6)
    transport.stalled = True
    connection.deliver(b"1")
    connection.deliver(b"123", "a")
    assert connection.deliver(b"12345", "a").failures == []
    assert connection.outbox == 6
    assert connection.deliver(b"123456", "a").failures == [Failure(None, connection, "slow")]


# -- compressing


def test_each_client_gets_what_it_can_read():
    """What one client gets alone, or late, is compressed for it alone, where its stream is compressed, and nowhere else."""
    writer = Writer(compressor=SharedCompressor())
    for compressed, read in ((True, inflated), (False, bytes)):
        connection, transport = recording_connection(writer=writer, opened=False)
        connection.deliver(b"data: early\n\n")
        transport.writes += [HEADER] if compressed else []
        connection.open(transport, compressed=compressed)
        connection.deliver(b"data: a\n\n")
        transport.stalled = True
        connection.deliver(b"data: b\n\n")
        connection.deliver(b"data: late\n\n")
        transport.drain()
        connection.deliver(b"data: last\n\n")
        connection.close(reconnect=False)
        expected = b"".join(
            b"data: %b\n\n" % word for word in (b"early", b"a", b"b", b"late", b"last")
        )
        assert read(transport.written) == expected + FAREWELL


def test_a_client_that_loses_an_event_is_behind():
    """Compressed bytes may point to what came before, so a client whose event was replaced is not in step any more."""
    connection, transport = recording_connection(
        conflate=True, opened=False, writer=Writer(compressor=SharedCompressor())
    )
    connection.open(transport, compressed=True)
    assert connection.step == BEHIND
    connection.deliver(b"data: a\n\n", "price")
    in_step = connection.step
    assert in_step > BEHIND
    transport.stalled = True
    connection.deliver(b"data: b\n\n", "price")
    connection.deliver(b"data: c\n\n", "price")
    assert connection.step > in_step
    connection.deliver(b"data: d\n\n", "price")
    assert connection.step == BEHIND
    connection.deliver(b"data: e\n\n", "price")
    assert connection.outbox == len(transport.writes[-1]) + len(b"data: e\n\n")


# -- rights in doubt


@pytest.mark.parametrize("direct", [False, True])
def test_what_is_held_waits_and_follows_joined(direct):
    """From hold to release nothing is written, what was delivered in the turn before included; then all of it, in order."""
    turns = []
    writer = Writer()
    connection, transport = recording_connection(frame=chunked, direct=direct, writer=writer)
    connection.deliver(b"a")
    busy(writer, turns)
    delivery = connection.deliver(b"b")
    connection.pause()
    turns.pop()()
    connection.deliver(b"c")
    turns.pop()()
    assert (transport.writes, connection.outbox) == ([chunked(b"a")], 2)
    assert told(delivery) == (1, 1, [])
    connection.resume()
    assert (transport.writes, connection.outbox) == ([chunked(b"a"), chunked(b"bc")], 0)
    connection.deliver(b"d")
    turns.pop()()
    assert transport.writes[2:] == [chunked(b"d")]


def test_holding_twice_loses_nothing():
    """Whoever is in doubt already is in doubt; one release is enough, and another one changes nothing."""
    connection, transport = recording_connection()
    connection.pause()
    connection.deliver(b"a")
    connection.pause()
    connection.deliver(b"b")
    connection.resume()
    connection.resume()
    connection.deliver(b"c")
    assert transport.writes == [b"ab", b"c"]


@pytest.mark.parametrize("live", [False, True])
def test_releasing_does_not_go_live(live):
    """What has to wait for a replay goes on waiting when the doubt is over, and the other way round."""
    connection, transport = recording_connection(opened=False)
    connection.open(transport, live=False)
    connection.pause()
    connection.deliver(b"a")
    for step in (
        (connection.go_live, connection.resume) if live else (connection.resume, connection.go_live)
    ):
        assert transport.writes == []
        step()
    assert transport.writes == [b"a"]
    assert connection.state.live


def test_holding_and_releasing_what_is_not_open():
    """A connection without a transport, and one that has ended, are neither opened nor written to."""
    connection, transport = recording_connection(opened=False)
    connection.pause()
    connection.deliver(b"a")
    connection.resume()
    assert connection.state.opening
    connection.open(transport)
    assert transport.writes == [b"a"]
    connection.pause()
    transport.leave()
    connection.resume()
    assert told(connection.deliver(b"b"))[0] == 0


def test_what_is_held_is_conflated():
    """Of one name only the newest waits for the answer."""
    connection, transport = recording_connection(conflate=True)
    connection.pause()
    for n in range(1000):
        connection.deliver(b"%d" % n, "state")
    assert connection.outbox == 3
    connection.resume()
    assert transport.writes == [b"999"]


def test_a_client_that_was_held_reads_its_compressed_stream():
    """What followed a doubt is compressed for this client alone, and what is shared can be read after it."""
    writer = Writer(compressor=SharedCompressor())
    pairs = [recording_connection(opened=False, writer=writer) for _ in range(2)]
    connections = [connection for connection, _ in pairs]
    for connection, transport in pairs:
        transport.write(HEADER)
        connection.open(transport, compressed=True)
    for n in range(30):
        if n % 10 == 3:
            connections[0].pause()
        if n % 10 == 7:
            connections[0].resume()
        writer.deliver(connections, b"event %d of many, much like each other\n" % n)
    connections[0].resume()
    first, second = (inflated(transport.written) for _, transport in pairs)
    assert (
        first
        == second
        == b"".join(b"event %d of many, much like each other\n" % n for n in range(30))
    )


@pytest.mark.parametrize("reconnect", [False, True])
@pytest.mark.parametrize("why", ["held", "revoked"])
def test_whose_rights_end_gets_nothing_more(why, reconnect):
    """Neither what waits, nor what was delivered in this turn, which has failed; only to stay away, where that is meant."""
    turns = []
    writer = Writer()
    connection, transport = recording_connection(writer=writer)
    transport.stalled = why == "revoked"
    connection.deliver(b"a")
    if why == "held":
        connection.pause()
    connection.deliver(b"waits")
    busy(writer, turns)
    delivery = connection.deliver(b"of this turn")
    connection.close(reconnect=reconnect, reason="server" if why == "held" else "revoked")
    turns.pop()()
    assert transport.written == b"a" + (b"" if reconnect else FAREWELL)
    assert told(delivery) == (0, 0, [Failure(None, connection, connection.reason)])


# -- the account of the outbox


#: Bytes of framing around what is handed over together.
FRAME = 12


@dataclass
class Account:
    """What a client and its outbox must look like, said as plainly as can be: a list of what waits, a number on its way."""

    frame: object
    max_outbox: int
    catch_up: int
    conflate: bool
    waiting: list = field(default_factory=list)
    on_way: int = 0
    stalled: bool = False
    held: bool = False
    written: bytes = b""
    slow: bool = False

    @property
    def outbox(self):
        return 0 if self.slow else sum(len(payload) for _, payload in self.waiting) + self.on_way

    def hand_over(self, framed, taken=0):
        self.written += framed
        if self.stalled:
            self.on_way = len(framed) - taken

    def deliver(self, payload, name, outcome):
        if self.slow:
            return
        if not self.on_way and not self.waiting and not self.held:
            framed = self.frame(payload)
            if outcome is None or outcome < len(framed):
                self.hand_over(framed, outcome or 0)
            else:
                self.written += framed
            return
        if self.conflate and name is not None:
            self.waiting = [one for one in self.waiting if one[0] != name]
        self.waiting.append((name, payload))
        self.slow = self.outbox > self.max_outbox

    def drain(self):
        self.on_way = 0
        while self.waiting and not self.on_way and not self.slow and not self.held:
            piece, rest = self.waiting[:1], self.waiting[1:]
            while rest and sum(len(payload) for _, payload in [*piece, rest[0]]) <= self.catch_up:
                piece.append(rest.pop(0))
            self.waiting = rest
            self.hand_over(self.frame(b"".join(payload for _, payload in piece)))


STEPS = st.one_of(
    st.tuples(
        st.just("deliver"),
        st.binary(min_size=1, max_size=7),
        st.sampled_from((None, "a", "b")),
        st.integers(0, 14),
    ),
    st.tuples(st.just("stall"), st.booleans()),
    st.tuples(st.just("drain")),
    st.tuples(st.just("hold")),
    st.tuples(st.just("release")),
)


@settings(deadline=None, max_examples=400)
@given(
    steps=st.lists(STEPS, max_size=40),
    direct=st.booleans(),
    conflate=st.booleans(),
    max_outbox=st.integers(8, 40),
)
def test_the_account_of_the_outbox_is_exact_at_every_step(steps, direct, conflate, max_outbox):
    """After whatever deliveries, stalls, drains and doubts, the outbox is what waits and what is on its way, to the byte."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outbox_module, "CATCH_UP", 10)
        frame = chunked if direct else unframed
        connection, transport = recording_connection(
            frame=frame, direct=direct, conflate=conflate, max_outbox=max_outbox
        )
        account = Account(frame, max_outbox, 10, conflate)
        for step, *arguments in steps:
            if step == "deliver":
                payload, name, outcome = arguments
                # A stalled socket takes a part at most, as many bytes as the step says; one that is not, all or a part.
                transport.outcome = outcome if direct else None
                connection.deliver(payload, name)
                account.deliver(payload, name, outcome if direct else None)
            elif step == "stall":
                transport.stalled = account.stalled = arguments[0]
            elif step == "hold":
                connection.pause()
                account.held = True
            elif step == "release":
                connection.resume()
                account.held = False
                if not account.on_way:
                    account.drain()
            elif account.on_way:
                transport.drain()
                account.drain()
            assert connection.outbox == account.outbox
            # What was held leaves in a frame, which nobody has counted while it waited.
            assert connection.outbox <= max_outbox + FRAME or not account.waiting
            assert transport.written == account.written
            assert connection.reason == ("slow" if account.slow else None)


# -- what is lost


def lost(connection, reason):
    """The result of a delivery whose only receiver never got it."""
    return (0, 0, [Failure(None, connection, reason)])


@pytest.mark.parametrize("state", ["opening", "greeting", "busy", "paused"])
@pytest.mark.parametrize("end", ["cut", "client", "revoked", "away"])
def test_what_waited_and_is_dropped_has_failed(state, end):
    """A delivery that said "waits" says "failed" once the stream ends without its events, once."""
    connection, transport = recording_connection(opened=False)
    if state != "opening":
        transport.stalled = state == "busy"
        connection.open(transport, live=state != "greeting")
    if state == "busy":
        connection.deliver(b"fills the socket")
    if state == "paused":
        connection.pause()
    twice = [connection.deliver(b"a"), connection.deliver(b"b")]
    assert [told(each) for each in twice] == [(1, 1, []), (1, 1, [])]
    if end == "client":
        connection.end("client")
    else:
        connection.close(reconnect=end == "cut", reason="revoked" if end == "revoked" else "server")
    if end == "away" and state in ("greeting", "busy"):
        # A clean end writes what waits: it is lost only if the client never reads it.
        assert [told(each)[0] for each in twice] == [1, 1]
        if state == "greeting":
            assert transport.written.startswith(b"ab")
            return
        transport.leave()
    assert [told(each) for each in twice] == [lost(connection, connection.reason)] * 2


@pytest.mark.parametrize("read", [True, False])
def test_what_is_on_its_way_at_a_clean_end(read):
    """Bytes that the transport is still sending are reached when they are sent, else they are lost."""
    connection, transport = direct_connection()
    transport.outcome, transport.stalled = 3, True
    delivery = connection.deliver(b"data: half of it\n\n")
    assert told(delivery) == (1, 1, [])
    connection.close(reconnect=False)
    assert told(delivery) == (1, 1, [])
    transport.drain() if read else transport.leave()
    assert told(delivery) == ((1, 1, []) if read else lost(connection, "server"))


def test_a_client_that_is_full_loses_each_delivery_once():
    """An overflow fails what did not fit and what waited; several events of one delivery fail once."""
    turns = []
    writer = Writer()
    busy(writer, turns)
    connection, _ = recording_connection(max_outbox=6, writer=writer)
    connection.pause()
    early = connection.deliver(b"123")
    turns.pop()()
    busy(writer, turns)
    both = connection.deliver(b"4")
    assert connection.deliver(b"567") is both
    turns.pop()()
    assert [told(early), told(both)] == [lost(connection, "slow")] * 2


def test_what_was_replaced_while_it_waited_has_not_failed():
    """A client that conflates got the newest: the older events were replaced, not lost."""
    connection, _ = recording_connection(conflate=True)
    connection.pause()
    older, newer = connection.deliver(b"1", "price"), connection.deliver(b"2", "price")
    connection.end("client")
    assert told(older) == (1, 1, [])
    assert told(newer) == lost(connection, "client")


def test_a_client_that_is_gone_when_it_catches_up():
    """Events that wait, and those of the write that finds the client gone, are lost."""
    connection, transport = recording_connection(opened=False)
    deliveries = [connection.deliver(b"x" * CATCH_UP) for _ in range(2)]
    transport.break_silently()
    connection.open(transport)
    assert [told(each) for each in deliveries] == [lost(connection, "client")] * 2


# -- the end


def test_connection_and_transport_go_in_no_circle():
    """An ended stream is freed by counting references: no memory waits for the cyclic collector."""
    gc.collect()
    gc.disable()
    try:
        for end in ("client", "cut", "away", "away unread"):
            connection, transport = recording_connection()
            transport.stalled = end == "away unread"
            connection.deliver(b"x")
            if end == "client":
                connection.end("client")
            else:
                connection.close(reconnect=end == "cut")
            references = gc.get_referents(connection)
            assert transport not in references, end
            gone = weakref.ref(connection)
            del connection, transport, references
            assert gone() is None, end
    finally:
        gc.enable()


def test_the_first_end_decides():
    """There is one end: the first to come decides the reason, and it is told once."""
    ended = []
    connection, transport = recording_connection(on_end=ended.append)
    assert connection.end("timeout") is True
    assert connection.end("client") is False
    connection.close(reason="revoked")
    transport.leave()
    connection.settle()
    assert (connection.reason, ended) == ("timeout", [connection])
    assert transport.ending is None


@pytest.mark.parametrize("stalled", [False, True])
def test_a_cut_brings_the_client_back(stalled):
    """Closing with reconnect cuts the stream, without a last chunk and without what waits."""
    connection, transport = recording_connection(frame=chunked, last_frame=LAST_CHUNK)
    transport.stalled = stalled
    connection.deliver(b"a")
    connection.deliver(b"b")
    connection.close()
    assert (transport.ending, connection.reason) == ("aborted", "server")
    assert not transport.written.endswith(LAST_CHUNK)


def test_a_clean_end_keeps_the_client_away():
    """Closing without reconnect sends the longest reconnection time that every client keeps, then ends cleanly."""
    connection, transport = recording_connection(frame=chunked, last_frame=LAST_CHUNK)
    connection.deliver(b"data: a\n\n")
    connection.close(reconnect=False, reason="revoked")
    assert transport.writes[-1] == chunked(FAREWELL) + LAST_CHUNK
    assert (transport.ending, connection.reason) == ("finished", "revoked")
    parser = Parser()
    parser.feed(FAREWELL)
    assert parser.retry == AWAY == 2**31 - 1


def test_a_clean_end_sends_what_waits_first():
    """What was accepted before a clean end reaches the client, in order, before the farewell."""
    connection, transport = recording_connection()
    transport.stalled = True
    for payload in (b"a", b"b", b"c"):
        connection.deliver(payload)
    connection.close(reconnect=False)
    assert transport.written == b"abc" + FAREWELL
    assert connection.outbox == 0


def test_the_end_is_known_at_once():
    """From the moment of closing nothing is accepted, although last bytes are still on their way."""
    seen = []
    connection, transport = recording_connection(
        on_end=lambda one: seen.append((one.closed, one.reason, one.deliver(b"late").reached))
    )
    connection.close(reconnect=False)
    assert seen == [(True, "server", 0)]
    assert transport.written == FAREWELL


@pytest.mark.parametrize("direct", [False, True])
def test_closing_comes_after_what_was_delivered_before(direct):
    """What was delivered in this turn is written by a close, a cut as well as a clean end, and not a second time."""
    for reconnect, last_words in ((True, b"bye"), (False, b"bye" + FAREWELL)):
        turns = []
        writer = Writer()
        busy(writer, turns)
        connection, transport = recording_connection(
            frame=chunked, last_frame=LAST_CHUNK, direct=direct, writer=writer
        )
        delivery = connection.deliver(b"bye")
        assert (transport.writes, delivery.done) == ([], False)
        connection.close(reconnect=reconnect)
        expected = chunked(last_words) + (b"" if reconnect else LAST_CHUNK)
        assert transport.written == expected
        turns.pop()()
        assert transport.written == expected
        assert told(delivery) == (1, 0, [])


@pytest.mark.parametrize("read", [True, False])
@pytest.mark.parametrize("reconnect", [True, False])
def test_last_words_come_after_what_waits(reconnect, read):
    """A clean end writes what waited before what was delivered in this turn; a cut gives up both.

    The result of the delivery is known when the client has read the last events, or has left.
    """
    writer = Writer()
    connection, transport = recording_connection(writer=writer)
    transport.stalled = True
    connection.deliver(b"a")
    connection.deliver(b"b")
    turns = []
    busy(writer, turns)
    delivery = connection.deliver(b"c")
    connection.close(reconnect=reconnect)
    assert transport.written == (b"a" if reconnect else b"abc" + FAREWELL)
    turns.pop()()
    assert delivery.done is reconnect
    if not reconnect:
        transport.drain() if read else transport.leave()
    assert told(delivery) == (
        (1, 0, []) if read and not reconnect else (0, 0, [Failure(None, connection, "server")])
    )


def test_last_words_for_nobody_have_failed():
    """A client that is known to be gone, or not opened yet, is not counted as reached by what was delivered in this turn."""
    for opened in (True, False):
        turns = []
        writer = Writer()
        busy(writer, turns)
        connection, transport = recording_connection(writer=writer, opened=opened)
        delivery = connection.deliver(b"bye")
        if opened:
            transport.break_silently()
            with pytest.raises(ConnectionResetError):
                transport.write(b"x")
        connection.close()
        turns.pop()()
        assert told(delivery) == (0, 0, [Failure(None, connection, "server")])


@pytest.mark.parametrize("compressed", [False, True])
def test_last_words_overtake_what_waits_for_a_replay(compressed):
    """Who is cut before it is live gets them, whole and readable, and nothing of what waits."""
    writer = Writer(compressor=SharedCompressor())
    connection, transport = recording_connection(opened=False, frame=chunked, writer=writer)
    transport.write(HEADER if compressed else b"")
    connection.open(transport, compressed=compressed, live=False)
    connection.deliver(b"waits")
    connection.close(reason="shutdown", last_words=b"retry: 7\n\n")
    body = transport.writes[-1].split(b"\r\n", 1)[1].removesuffix(b"\r\n")
    assert (inflated(HEADER + body) if compressed else body) == b"retry: 7\n\n"
    assert transport.ending == "aborted"


def test_only_who_is_not_live_needs_last_words():
    """A stream that is live has been told, a held one is told nothing, and one that is busy would not get them."""
    for state in ("live", "held", "busy"):
        connection, transport = recording_connection(opened=False)
        transport.stalled = state == "busy"
        transport.write(b"headers")
        connection.open(transport, live=state == "live")
        if state == "held":
            connection.pause()
        connection.close(last_words=b"bye")
        assert (transport.writes, transport.ending) == ([b"headers"], "aborted")


def test_a_client_that_missed_something_gets_no_last_words():
    """Who is closed after a failure and before its settling gets nothing later than what it missed, however it is closed."""
    for reconnect in (True, False):
        writer = Writer()
        writer.meet(lambda callback: None)
        connection, transport = direct_connection(writer=writer)
        assert connection.take([delivery(b"x")], chunked(b"x"), OSError()) is False
        connection.deliver(b"later")
        connection.close(reconnect=reconnect)
        assert connection.closed
        assert b"later" not in transport.written


def test_an_end_does_not_wait_for_what_was_delivered_before():
    """A stream that its client has ended gets nothing more, and what was delivered to it in this turn has failed."""
    turns = []
    writer = Writer()
    busy(writer, turns)
    connection, transport = direct_connection(writer=writer)
    delivery = connection.deliver(b"late")
    transport.leave()
    connection.close()
    turns.pop()()
    assert told(delivery) == (0, 0, [Failure(None, connection, "client")])
    assert transport.writes == []


def test_a_close_that_finds_the_client_gone():
    """A close whose last words meet a client that has gone is a close all the same, and raises nothing."""
    ended = []
    writer = Writer()
    writer.meet(lambda callback: None)
    connection, transport = direct_connection(writer=writer, on_end=ended.append)
    transport.break_silently()
    connection.deliver(b"bye")
    connection.close(reason="shutdown")
    assert (connection.reason, ended, transport.ending) == ("shutdown", [connection], "aborted")


def test_closing_again_from_the_callback_changes_nothing():
    """A callback that closes the connection once more, as a purge does, ends it only once."""
    connection, transport = recording_connection(
        on_end=lambda one: one.close(reconnect=False, reason="revoked")
    )
    connection.close()
    assert (connection.reason, transport.ending, transport.writes) == ("server", "aborted", [])


def test_closing_while_opening():
    """A connection may end before it has a transport; whoever opens it is told."""
    connection, transport = recording_connection(opened=False)
    connection.close(reconnect=False, reason="replaced")
    assert (connection.closed, connection.state.opening, connection.reason) == (
        True,
        False,
        "replaced",
    )
    with pytest.raises(ConnectionClosedError):
        connection.open(transport)


def test_the_stream_is_closed_although_the_callback_fails(caplog):
    """A callback that raises does not leave the client on a stream that has ended."""

    def fail(connection):
        raise LookupError("no such user")

    connection, transport = recording_connection(on_end=fail)
    connection.close()
    assert transport.ending == "aborted"
    assert [record.name for record in caplog.records] == ["sfere_tornado.streams.connection"]
    assert "no such user" in caplog.text


def test_closed_asks_the_transport():
    """A transport may know of the end before anybody was told."""
    connection, transport = recording_connection()
    assert not connection.closed
    transport.break_silently()
    with pytest.raises(ConnectionResetError):
        transport.write(b"x")
    assert connection.closed
    assert connection.reason is None


def test_an_ended_connection_keeps_nothing():
    """Who was told of the end, and what waited, is let go of when the stream has ended."""

    class Handler:
        def ended(self, connection):
            pass

    handler = Handler()
    connection = Connection(on_end=handler.ended)
    connection.deliver(b"x" * 1000)
    connection.end("client")
    gone = weakref.ref(handler)
    del handler
    gc.collect()
    assert gone() is None
    assert connection.outbox == 0


def test_connections_without_a_callback():
    """A connection needs nobody who is told of its end."""
    connection = Connection()
    assert connection.end("client") is True
    assert connection._outbox.limit == MAX_OUTBOX


# -- signs of life, idleness, what it shows


def test_acknowledged_bytes_are_those_of_the_transport():
    """An open stream says what the client's kernel has acknowledged; any other does not know."""
    connection, transport = recording_connection(opened=False)
    transport.acknowledged_bytes = 10
    assert connection.acknowledged() is None
    connection.open(transport)
    assert connection.acknowledged() == 10
    connection.end("client")
    assert connection.acknowledged() is None


def test_health_tells_what_waits_and_what_the_kernel_knows():
    """How a stream is doing is asked of the outbox and, while it is open, of the kernel."""
    connection, transport = recording_connection(opened=False)
    connection.deliver(b"ab")
    assert connection.health() == Health(2, None)
    transport.stalled = True
    connection.open(transport)
    assert connection.health() == Health(2, None)
    transport.acknowledged_bytes = 7
    health = connection.health()
    assert health == Health(2, transport.kernel())
    assert isinstance(health.kernel, KernelView)
    connection.end("client")
    assert connection.health() == Health(0, None)


def test_what_is_delivered_is_noticed():
    """What is delivered makes a stream busy again; that the transport drains does not."""
    connection, transport = recording_connection()
    assert connection.idle
    connection.deliver(b"x")
    assert not connection.idle
    transport.stalled = True
    connection.deliver(b"y")
    connection.deliver(b"z")
    connection.idle = True
    transport.drain()
    assert connection.idle


def test_what_a_connection_shows():
    """The repr tells state, key, address and what waits."""
    connection, transport = recording_connection(opened=False, remote="192.0.2.1")
    connection.deliver(b"abc")
    assert repr(connection) == "<Connection opening key=None remote='192.0.2.1' outbox=3>"
    connection.open(transport)
    assert repr(connection) == "<Connection open key=None remote='192.0.2.1' outbox=0>"
    connection.end("timeout")
    assert repr(connection) == "<Connection timeout key=None remote='192.0.2.1' outbox=0>"


def test_the_transport_of_these_tests_is_a_transport():
    """The recording transport has everything that the protocol of transports asks for."""
    transport = RecordingTransport(Connection())
    asked = {
        *Transport.__annotations__,
        *(name for name in vars(Transport) if not name.startswith("_")),
    }
    assert {"direct", "ready", "write"} <= asked
    assert [name for name in asked if not hasattr(transport, name)] == []


def test_a_delivery_to_one_connection_can_be_awaited():
    """What was delivered to one connection is settled at once when nothing gathers it."""
    connection, _ = recording_connection()
    delivery = connection.deliver(b"x")
    assert asyncio.run(delivery.settled()) is delivery

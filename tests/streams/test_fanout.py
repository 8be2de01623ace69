"""Many connections behind the interface of one."""

import pytest

from sfere_tornado.errors import EventError, EventTooLargeError
from sfere_tornado.streams import fanout as fanout_module
from sfere_tornado.streams import jobs as jobs_module
from sfere_tornado.streams.delivery import Failure
from sfere_tornado.streams.fanout import Fanout
from sfere_tornado.streams.writer import Writer
from sfere_tornado.testing.recording import recording_connection
from sfere_tornado.wire.event_stream import Event, encode
from sfere_tornado.wire.framing import LAST_CHUNK, chunked, unframed


def some(number, **options):
    """A number of connections and their transports."""
    pairs = [recording_connection(**options) for _ in range(number)]
    return [connection for connection, _ in pairs], [transport for _, transport in pairs]


def test_an_event_reaches_all():
    """Each receiver gets the event once, and all of them the very same bytes."""
    connections, transports = some(3, frame=chunked, direct=True)
    delivery = Fanout(connections).send(Event("x"))
    assert (delivery.done, delivery.reached, delivery.failures) == (True, 3, [])
    assert [transport.writes for transport in transports] == [[chunked(b"data: x\n\n")]] * 3
    assert len({id(transport.writes[0]) for transport in transports}) == 1


def test_an_event_is_encoded_once(monkeypatch):
    """However many the receivers, an event becomes bytes one time."""
    encoded = []

    def counting(event, *limits):
        encoded.append(event)
        return encode(event, *limits)

    monkeypatch.setattr(fanout_module, "encode", counting)
    connections, _ = some(50)
    Fanout(connections).send(Event("x"))
    assert len(encoded) == 1


def test_an_event_is_framed_once(monkeypatch):
    """The frame of HTTP/1.1 is made one time for all receivers that have the direct way."""
    framed = []

    def counting(payload):
        framed.append(payload)
        return chunked(payload)

    monkeypatch.setattr(jobs_module, "chunked", counting)
    connections, transports = some(20, frame=chunked, direct=True)
    Fanout(connections).deliver(b"x")
    assert framed == [b"x"]
    assert transports[0].writes[0] is transports[19].writes[0]


def test_receivers_of_both_framings():
    """Each receiver gets the event in its own framing, however they are mixed."""
    one, one_transport = recording_connection()
    two, two_transport = recording_connection(frame=chunked, last_frame=LAST_CHUNK)
    three, three_transport = recording_connection(frame=unframed)
    four, four_transport = recording_connection(frame=chunked, last_frame=LAST_CHUNK, direct=True)
    Fanout([one, two, three, four]).deliver(b"x")
    assert one_transport.written == three_transport.written == b"x"
    assert two_transport.written == four_transport.written == b"1\r\nx\r\n"


def test_a_receiver_that_is_still_opening():
    """A receiver whose stream is not open yet has been reached, and gets the event when it opens."""
    one, one_transport = recording_connection(frame=chunked, direct=True)
    two, two_transport = recording_connection(frame=chunked, direct=True, opened=False)
    delivery = Fanout([one, two]).deliver(b"x")
    assert (delivery.reached, delivery.waited) == (2, 1)
    two.open(two_transport)
    assert one_transport.written == two_transport.written == b"1\r\nx\r\n"


@pytest.mark.parametrize("direct", [False, True])
def test_a_failing_receiver_never_stops_the_others(direct):
    """Those that are gone, slow or closed are told as failures with their reasons, and the others get the event."""
    connections, transports = some(5, max_outbox=14, frame=chunked, direct=direct)
    transports[0].break_silently()
    transports[2].stalled = True
    connections[2].deliver(b"123456789")
    connections[3].close(reason="expired")
    for number, connection in enumerate(connections):
        connection.key = ("default", ("lobby", number))
    delivery = Fanout(connections).deliver(b"x")
    assert (delivery.done, delivery.reached) == (True, 2)
    assert sorted(delivery.failures) == [
        Failure(connections[0].key, connections[0], "client"),
        Failure(connections[2].key, connections[2], "slow"),
        Failure(connections[3].key, connections[3], "expired"),
    ]
    assert transports[1].writes == transports[4].writes == [chunked(b"x")]
    assert [transport.ending for transport in transports] == [
        "aborted",
        None,
        "aborted",
        "aborted",
        None,
    ]


def test_a_farewell_in_the_callback_meets_a_finished_loop():
    """Those that failed end after the loop: what their end sends to the rest arrives after the event itself, joined."""
    connections = []

    def farewell(gone):
        Fanout([one for one in connections if one is not gone]).deliver(b"bye")

    made = [recording_connection(on_end=farewell) for _ in range(4)]
    connections += [connection for connection, _ in made]
    transports = [transport for _, transport in made]
    transports[0].break_silently()
    transports[2].break_silently()
    delivery = Fanout(connections).deliver(b"event")
    assert delivery.reached == 2
    assert {failure.connection for failure in delivery.failures} == {connections[0], connections[2]}
    for transport in (transports[1], transports[3]):
        assert transport.writes == [b"event", b"byebye"]


def test_a_callback_that_fails_keeps_no_other_receiver_from_its_end(caplog):
    """Of several receivers that failed each is ended, although the callback of the first raises, which is logged."""

    def fail(connection):
        raise LookupError("no such user")

    first, first_transport = recording_connection(on_end=fail)
    second, second_transport = recording_connection()
    first_transport.break_silently()
    second_transport.break_silently()
    delivery = Fanout([first, second]).deliver(b"x")
    assert (first.reason, second.reason) == ("client", "client")
    assert (delivery.done, delivery.reached) == (True, 0)
    assert "no such user" in caplog.text


def test_one_receiver_that_fails_twice_counts_once():
    """Over all events of a fan-out, a receiver that failed is listed once, with its first reason."""
    connections, transports = some(2)
    transports[0].break_silently()
    fanout = Fanout(connections)
    first = fanout.deliver(b"a")
    second = fanout.deliver(b"b")
    assert first.failures == second.failures == [Failure(None, connections[0], "client")]
    assert fanout.failures() == (Failure(None, connections[0], "client"),)
    assert fanout.deliveries == [first, second]


def test_events_of_one_turn_are_one_delivery():
    """What a fan-out delivers in one turn is listed as one delivery, which tells of all of it."""
    turns = []
    writer = Writer()
    writer.meet(turns.append)
    connections, transports = some(2, frame=chunked, direct=True)
    fanout = Fanout(connections, writer)
    first = fanout.deliver(b"a")
    assert fanout.deliver(b"b") is first
    turns.pop()()
    second = fanout.deliver(b"c")
    assert fanout.deliveries == [first, second]
    assert (first.done, second.done) == (True, False)
    turns.pop()()
    assert transports[0].writes == transports[1].writes == [chunked(b"ab"), chunked(b"c")]


def test_an_event_that_cannot_be_sent_reaches_nobody():
    """An event that is too large, or cannot be encoded, is an error before anybody has got a byte."""
    connections, transports = some(2)
    with pytest.raises(EventTooLargeError):
        Fanout(connections).send(Event("x" * 1_000_000))
    with pytest.raises(EventError):
        Fanout(connections).send(Event("\ud800"))
    assert [transport.writes for transport in transports] == [[], []]


def test_closing_a_fanout_closes_all():
    """Every stream is ended in the same way, with the same reason."""
    connections, transports = some(3)
    fanout = Fanout(connections)
    assert not fanout.closed
    connections[0].close()
    assert not fanout.closed
    fanout.close(reconnect=False, reason="revoked")
    assert fanout.closed
    assert [connection.reason for connection in connections] == ["server", "revoked", "revoked"]
    assert [transport.ending for transport in transports] == ["aborted", "finished", "finished"]


def test_closing_comes_after_what_was_delivered():
    """Every receiver gets what was delivered in the turn before its stream ends."""
    writer = Writer(slice_size=1)
    writer.meet(lambda callback: None)
    connections, transports = some(3, frame=chunked, direct=True, writer=writer)
    fanout = Fanout(connections, writer)
    fanout.deliver(b"bye")
    fanout.close()
    assert [transport.written for transport in transports] == [chunked(b"bye")] * 3
    assert fanout.failures() == ()


def test_a_fanout_of_nobody():
    """A fan-out without receivers reaches nobody, at once, and is closed."""
    fanout = Fanout([])
    delivery = fanout.send(Event("x"))
    assert (delivery.done, delivery.reached, delivery.failures) == (True, 0, [])
    assert fanout.closed
    assert len(fanout) == 0


def test_what_a_fanout_shows():
    """A fan-out can be counted and looped over, and its repr tells how many failed."""
    connections, transports = some(2)
    fanout = Fanout(connections)
    transports[1].break_silently()
    fanout.deliver(b"x")
    assert list(fanout) == connections
    assert len(fanout) == 2
    assert repr(fanout) == "<Fanout of 2, 1 failed>"

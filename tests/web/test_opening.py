"""What a stream gets before it goes live, without sockets: ids as they come, greetings, replays in parts."""

import asyncio

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.iostream import StreamClosedError

from sfere_tornado import ANY, Event, Key
from sfere_tornado.history import Keep, MemoryHistory
from sfere_tornado.testing import FakeClock
from sfere_tornado.testing.parser import Parser
from sfere_tornado.testing.recording import recording_connection
from sfere_tornado.web.greeting import Greeting
from sfere_tornado.web.opening import last_event_id
from sfere_tornado.web.replay import replay

ANN = Key("default", ("lobby", "ann"))
LOBBY = (ANY, ("lobby", ANY))


def request(uri="/events", **headers):
    fields = HTTPHeaders(
        {"Host": "localhost"} | {name.replace("_", "-"): text for name, text in headers.items()}
    )
    return HTTPServerRequest(start_line=RequestStartLine("GET", uri, "HTTP/1.1"), headers=fields)


class Written(list):
    """The parts that were written; reads like a client."""

    def __init__(self, at_most=None):
        self.at_most = at_most

    async def __call__(self, data):
        await asyncio.sleep(0)
        if len(self) == self.at_most:
            raise StreamClosedError
        self.append(data)

    def events(self):
        return [(event.event, event.data) for event in Parser().feed(b"".join(self))]

    def last_id(self):
        parser = Parser()
        parser.feed(b"".join(self))
        return parser.last_event_id


# -- what the client says


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (request(), None),
        (request(Last_Event_ID="3-abc"), "3-abc"),
        (request(Last_Event_ID=""), ""),
        (request(Last_Event_ID="\u00c3\u00a9"), "\u00e9"),
        (request(Last_Event_ID="\u00e9"), "\ufffd"),
        (request(Last_Event_ID="\u20ac"), "?"),
        (request("/events?last_event_id=3-abc"), "3-abc"),
        (request("/events?last_event_id=1-a&last_event_id=2-a"), "2-a"),
        (request("/events?last_event_id="), ""),
        (request("/events?last_event_id=%FF%00%0D"), "\ufffd\x00\r"),
        (request("/events?last_event_id=1-a", Last_Event_ID="2-a"), "2-a"),
    ],
)
def test_the_last_id_as_it_comes(sent, read):
    """UTF-8 from a browser, the query from a page, anything from others: a text, or None where there is none."""
    assert last_event_id(sent) == read


# -- greetings


def test_a_greeting_comes_before_what_waits():
    """What is sent to it is written by its opener, in order and in parts, and nothing else of the connection is."""
    connection, transport = recording_connection(opened=False)
    connection.key = ANN
    greeting, written = Greeting(connection), Written()
    delivery = greeting.send(Event("hello", "said"))
    assert (delivery.done, delivery.reached, delivery.failures) == (True, 1, [])
    connection.send(Event("meanwhile"))
    greeting.deliver(b"data: " + b"x" * 200_000 + b"\n\n")
    assert repr(greeting) == f"<Greeting of {connection!r}, 2 events>"
    asyncio.run(greeting.write(written))
    assert written.events() == [("said", "hello"), ("message", "x" * 200_000)]
    assert max(map(len, written)) <= 64 * 1024
    assert (transport.writes, greeting.closed, connection.reason) == ([], False, None)
    asyncio.run(greeting.write(written))
    assert len(written.events()) == 2


@pytest.mark.parametrize(("reconnect", "ending"), [(True, "aborted"), (False, "finished")])
def test_a_greeting_that_ends_the_stream_says_its_words_first(reconnect, ending):
    """The end comes behind what was sent before it, and what is sent after it is a failure."""
    connection, transport = recording_connection()
    connection.key = ANN
    greeting, written = Greeting(connection), Written()
    greeting.send(Event("no"))
    greeting.close(reconnect=reconnect, reason="revoked")
    greeting.close(reason="error")
    assert (greeting.closed, connection.reason, transport.ending) == (True, None, None)
    late = greeting.send(Event("late"))
    assert [(failure.key, failure.connection, failure.reason) for failure in late.failures] == [
        (ANN, connection, "revoked")
    ]
    asyncio.run(greeting.write(written))
    assert written.events() == [("message", "no")]
    assert (connection.reason, transport.ending) == ("revoked", ending)


def test_greeting_somebody_who_has_left():
    """What is sent to a stream that has ended is a failure with its reason, also where only its transport knows."""
    connection, transport = recording_connection()
    greeting = Greeting(connection)
    transport.client.left = True
    assert [failure.reason for failure in greeting.send(Event("x")).failures] == ["client"]
    connection.end("timeout")
    assert [failure.reason for failure in greeting.send(Event("x")).failures] == ["timeout"]
    greeting.close()
    written = Written()
    asyncio.run(greeting.write(written))
    assert (written, connection.reason) == ([], "timeout")


# -- replays


def recorded(count, keep=None, **options):
    history = MemoryHistory(keep or Keep(count=100), timer=FakeClock(), tag="t", **options)
    for number in range(count):
        history.record(LOBBY, Event(f"event {number}"))
    return history


async def no_snapshot(reason):
    return False


def test_a_replay_ends_with_the_id_of_its_end():
    """What was missed, in parts, then the place at which live events begin: also for what was for others only."""
    history, written = recorded(5, part_size=1), Written()
    history.record(Key("default", ("lobby", "brian")), Event("not for ann"))
    until = history.position
    history.record(LOBBY, Event("live"))
    asyncio.run(replay(history, "2-t", ANN, until, written, no_snapshot))
    assert written.events() == [("message", f"event {number}") for number in (2, 3, 4)]
    assert len(written) == 4
    assert written.last_id() == f"{until}-t"


@pytest.mark.parametrize(("snapshot", "expected"), [(False, ["event 3", "event 4"]), (True, [])])
def test_a_snapshot_serves_instead_of_what_is_kept(snapshot, expected):
    """The hook hears the reason behind the gap; what is still kept follows, unless it has written something better."""
    history, written, reasons = recorded(5, Keep(count=2)), Written(), []

    async def on_gap(reason):
        reasons.append((reason, written.events()))
        return snapshot

    asyncio.run(replay(history, "1-t", ANN, 5, written, on_gap))
    assert reasons == [("too_old", [("gap", '{"reason":"too_old"}')])]
    assert [data for _, data in written.events()[1:]] == expected
    assert written.last_id() == "5-t"


def test_events_that_are_dropped_during_a_replay_are_told():
    """A hole that opens while parts are on their way is told where it is."""
    history, written = recorded(5, Keep(count=5), part_size=1), Written()

    async def busy(data):
        await written(data)
        if len(written) == 1:
            for number in range(3):
                history.record(LOBBY, Event(f"new {number}"))

    asyncio.run(replay(history, "0-t", ANN, 5, busy, no_snapshot))
    assert [data for _, data in written.events()] == [
        "event 0",
        '{"reason":"too_old"}',
        "event 3",
        "event 4",
    ]


def test_a_client_that_leaves_during_its_replay_has_no_newer_id():
    """Whatever it has got, its last id is that of the last event of it, so that the rest comes when it is back."""
    for parts in range(6):
        history, written = recorded(5, part_size=1), Written(at_most=parts)
        with pytest.raises(StreamClosedError):
            asyncio.run(replay(history, "0-t", ANN, 5, written, no_snapshot))
        assert written.last_id() == (f"{parts}-t" if parts else "")

"""The effects on a dispatch's connection."""

import pytest

from sfere_tornado import (
    ANY,
    Fanout,
    Hub,
    Registry,
    broadcast,
    close_sse,
    send,
    sse_closed,
    target_of,
)
from sfere_tornado.dispatch import Dispatcher, effect
from sfere_tornado.effects.streams import StreamEffects
from sfere_tornado.effects.visit import Visit
from sfere_tornado.errors import EventError, EventTooLargeError, NoConnectionError
from sfere_tornado.testing.recording import recording_connection


def dispatcher(**options):
    return Dispatcher([StreamEffects(**options)])


def test_send_returns_the_plain_tuple():
    """The constructor only makes data; options are there when they are given."""
    assert send("text") == ("send", "text")
    assert send({"a": 1}, event="e", id="7", retry=0) == (
        "send",
        {"a": 1},
        {"event": "e", "id": "7", "retry": 0},
    )
    assert close_sse() == ("close_sse", {"reconnect": False})
    assert close_sse(reconnect=True) == ("close_sse", {"reconnect": True})
    assert sse_closed() == ("sse_closed",)


@pytest.mark.parametrize(
    "field",
    [{"event": "a\nb"}, {"id": "a\rb"}, {"id": "a\0"}, {"id": "é"}, {"retry": -1}, {"retry": True}],
)
def test_send_refuses_what_could_inject_a_field(field):
    """What may not stand on the wire is refused where it is written, before anything is dispatched."""
    with pytest.raises(EventError) as caught:
        send("text", **field)
    assert caught.value.field == next(iter(field))


def test_send_writes_one_event():
    """A string goes as it is, anything else as JSON; the result says how many took it."""
    connection, transport = recording_connection()
    told = dispatcher().dispatch(
        [send("text", event="e", id="1"), send({"a": ["é", None]})], system={"sse": connection}
    )
    assert [(e.event, e.data, e.id) for e in transport.events()] == [
        ("e", "text", "1"),
        ("message", '{"a":["é",null]}', "1"),
    ]
    assert [result.value.reached for result in told.results] == [1, 1]


def test_send_reaches_many_with_the_same_bytes():
    """A fan-out is sent to as if it were one connection; a broken receiver is told and stops nobody."""
    pairs = [recording_connection() for _ in range(3)]
    pairs[1][1].break_silently()
    told = dispatcher().dispatch(
        send("x"), system={"sse": Fanout([connection for connection, _ in pairs])}
    )
    delivery = told.results[0].value
    assert delivery.reached == 2
    assert [(failure.connection, failure.reason) for failure in delivery.failures] == [
        (pairs[1][0], "client")
    ]
    assert [len(transport.events()) for _, transport in pairs] == [1, 0, 1]
    assert pairs[0][1].writes[0] is pairs[2][1].writes[0]


@pytest.mark.parametrize("effect", [send("x"), close_sse()])
def test_without_a_connection_the_error_says_what_to_do(effect, caplog):
    """An effect that writes needs a connection; without one nothing happens but a clear error."""
    [error] = dispatcher().dispatch(effect).errors
    assert isinstance(error.exception, NoConnectionError)
    assert error.exception.effect == effect[0]
    assert "broadcast" in str(error.exception)
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ("x" * 2000, EventTooLargeError),
        ("\ud800", EventError),
        (float("nan"), EventError),
        ({1, 2}, EventError),
    ],
)
def test_what_cannot_be_sent_is_an_error_before_a_byte_is_written(data, kind, caplog):
    """An event over the bound, a lone surrogate, or what JSON cannot say: nobody gets anything, all stay open."""
    pairs = [recording_connection() for _ in range(2)]
    system = {"sse": Fanout([connection for connection, _ in pairs])}
    told = dispatcher(max_event_size=1024).dispatch([send(data), send("and on")], system=system)
    assert [type(error.exception) for error in told.errors] == [kind]
    assert [[event.data for event in transport.events()] for _, transport in pairs] == [
        ["and on"],
        ["and on"],
    ]


def test_close_ends_cleanly_or_cuts():
    """close_sse tells the client to stay away; with reconnect it cuts."""
    for reconnect, ending in [(False, "finished"), (True, "aborted")]:
        connection, transport = recording_connection()
        dispatcher().dispatch(close_sse(reconnect=reconnect), system={"sse": connection})
        assert (connection.reason, transport.ending) == ("server", ending)


def test_sending_to_a_closed_connection_raises_nothing():
    """A send after the end is told as a failed delivery."""
    connection, _ = recording_connection()
    connection.close()
    delivery = dispatcher().dispatch(send("x"), system={"sse": connection}).results[0].value
    assert (delivery.reached, delivery.failures[0].reason) == (0, "server")


def test_sse_closed_does_nothing_by_itself():
    """The action is there to be seen by interceptors; without one it expands to nothing."""
    told = dispatcher().dispatch([sse_closed()])
    assert (told.results, told.errors) == ([], [])


def test_request_and_sse_opened_call_back():
    """The effects of requests and openings run the answer of the visit that is their subject."""
    seen = []
    visit = Visit(answer=lambda ctx: seen.append(ctx.effect) or "answered")
    done = [
        dispatcher().dispatch(("request",), kind="request", subject=visit),
        dispatcher().dispatch(("sse_opened",), kind="opening", subject=visit),
    ]
    assert seen == [("request",), ("sse_opened",)]
    assert [each.results[0].value for each in done] == ["answered", "answered"]


def test_nobody_else_runs_the_answer_of_a_request(caplog):
    """Dispatched by an application, in a continuation too, the two effects are errors."""
    visit = Visit(answer=lambda ctx: 1 / 0)
    for kind, subject in (("application", visit), ("request", None)):
        done = dispatcher().dispatch(("request",), kind=kind, subject=subject)
        assert [type(error.exception) for error in done.errors] == [NoConnectionError]


def test_the_target_of_a_dispatch_is_what_its_effects_send_to():
    """A connection, a fan-out of many, or nothing."""
    registry, seen = Registry("looking"), []
    registry.effect("look")(lambda ctx: seen.append(target_of(ctx)))
    hub = Hub(registries=[registry])
    connection, _ = recording_connection()
    hub.store.put(("default", ("lobby", "ann")), connection)
    hub.dispatch(effect("look"))
    hub.dispatch(effect("look"), system={"sse": connection})
    hub.dispatch(broadcast((ANY, ("lobby", ANY)), effect("look")))
    nothing, one, many = seen
    assert (nothing, one) == (None, connection)
    assert list(many.connections) == [connection]

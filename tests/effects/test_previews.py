"""What the library's effects would do: receivers and bytes, and nothing sent or renewed."""

from sfere_tornado import ANY, ExpiringStore, broadcast, close_sse, send, with_connection
from sfere_tornado.datastar.actions import (
    Datastar,
    execute_script,
    patch_elements,
    patch_elements_seq,
    patch_signals,
    remove_elements,
)
from sfere_tornado.dispatch import Dispatcher
from sfere_tornado.dispatch.explain import Explanation
from sfere_tornado.effects.keyed import KeyedEffects
from sfere_tornado.effects.previews import MAX_SHOWN, explain
from sfere_tornado.effects.streams import StreamEffects
from sfere_tornado.errors import EffectShapeError, EventError, EventTooLargeError, NoConnectionError
from sfere_tornado.history import Keep, MemoryHistory
from sfere_tornado.testing import FakeClock
from sfere_tornado.testing.recording import recording_connection


def filled(n, clock=None, history=None):
    """Return a store with n connections of a room, a dispatcher, and the transports."""
    store = ExpiringStore(60.0, timer=clock or FakeClock())
    transports = []
    for number in range(n):
        connection, transport = recording_connection()
        connection.key = ("default", ("room", number))
        store.put(connection.key, connection)
        transports.append(transport)
    registries = [StreamEffects(), KeyedEffects(store, history=history), Datastar()]
    return store, Dispatcher(registries, report=lambda error: None), transports


def test_a_broadcast_is_explained():
    """The receivers of a broadcast, and the bytes of each event in it, are told; nobody gets anything."""
    store, dispatcher, transports = filled(3)
    effect = broadcast(
        (ANY, ("room", ANY)), patch_elements("<p id=a></p>"), exclude={("default", ("room", 0))}
    )
    told = explain(dispatcher, store, effect)
    [step] = told.steps
    assert step.details["pattern"] == "*/room/*"
    assert step.details["receivers"] == 2
    assert step.details["keys"] == ["default/room/1", "default/room/2"]
    assert step.details["times"] == 1
    inside = step.details["dispatched"]
    assert isinstance(inside, Explanation)
    assert inside.steps[0].effect[0] == "send"
    assert inside.steps[0].details["receivers"] == 2

    dispatcher.dispatch(effect)
    assert [len(transport.written) for transport in transports] == [
        0,
        *[inside.steps[0].details["bytes"]] * 2,
    ]


def test_each_receiver_of_its_own_is_counted():
    """With each=True the effects would run once per receiver; long lists of keys are cut short."""
    store, dispatcher, _ = filled(MAX_SHOWN + 5)
    [step] = explain(
        dispatcher, store, broadcast((ANY, ANY), send("x", event="e", conflate="x"), each=True)
    ).steps
    assert step.details["times"] == step.details["receivers"] == MAX_SHOWN + 5
    assert len(step.details["keys"]) == MAX_SHOWN


def test_with_connection_is_explained():
    """Effects for one key are told with its connections, and not at all where it has none; no lease is renewed."""
    clock = FakeClock()
    store, dispatcher, _ = filled(1, clock)
    clock.advance(50)
    effects = [with_connection(("default", ("room", n)), send("x"), close_sse()) for n in (0, 7)]
    told = explain(dispatcher, store, effects)
    here, nowhere = told.steps
    assert [step.effect[0] for step in here.details["dispatched"].steps] == ["send", "close_sse"]
    assert here.details["dispatched"].steps[1].details == {
        "receivers": 1,
        "keys": ["default/room/0"],
    }
    assert nowhere.details["receivers"] == 0
    assert nowhere.details["dispatched"].steps == []
    clock.advance(20)
    store.expire()
    assert store.count() == 0


def test_what_would_fail_is_explained():
    """An effect without a connection, and an event that is too large, are errors, as they would be."""
    store, dispatcher, _ = filled(1)
    told = explain(
        dispatcher, store, [send("x"), broadcast((ANY, ANY), send("x" * 200))], max_event_size=100
    )
    assert [type(error.exception) for error in told.errors] == [NoConnectionError]
    inside = told.steps[1].details["dispatched"]
    assert [type(error.exception) for error in inside.errors] == [EventTooLargeError]
    [step] = explain(dispatcher, store, send("x"), system={"sse": recording_connection()[0]}).steps
    assert step.details == {"receivers": 1, "keys": [], "bytes": 9}


def test_every_patch_is_explained():
    """Of each of Datastar's actions it is told what is sent, in bytes that are those of the wire."""
    store, dispatcher, [transport] = filled(1)
    effects = [
        patch_elements("<p id=a>\n</p>", selector="#a", mode="inner"),
        patch_elements_seq(["<p id=a></p>", "<p id=b></p>"]),
        remove_elements("#a"),
        patch_signals({"name": "é"}),
        execute_script("go()"),
    ]
    told = explain(dispatcher, store, with_connection(("default", ("room", 0)), *effects))
    inside = told.steps[0].details["dispatched"]
    assert [action for action, _ in inside.expansions] == effects
    assert [step.effect[0] for step in inside.steps] == ["send"] * 5
    sizes = [step.details["bytes"] for step in inside.steps]
    assert transport.written == b""
    dispatcher.dispatch(with_connection(("default", ("room", 0)), *effects))
    assert sizes == [len(block) + 2 for block in transport.written.split(b"\n\n")[:-1]]


def test_what_is_kept_is_explained_with_its_id():
    """What a history keeps is told with the bytes of the id that it would get, though nobody is there; nothing is kept."""
    history = MemoryHistory(categories={"plain": Keep(count=0)}, tag="test")
    store, dispatcher, [transport] = filled(1, history=history)
    effects = [
        broadcast((ANY, ("room", ANY)), send("x")),
        with_connection(("default", ("room", 0)), send("x")),
    ]
    told = explain(dispatcher, store, effects, history=history)
    assert [step.details["dispatched"].steps[0].details["bytes"] for step in told.steps] == [
        9 + len("id: 1-test\n")
    ] * 2
    absent = explain(
        dispatcher, store, with_connection(("default", ("room", 7)), send("x")), history=history
    )
    assert [step.effect for step in absent.steps[0].details["dispatched"].steps] == [send("x")]
    assert (len(history), history.position, transport.written) == (0, 0, b"")

    for other in (
        broadcast((ANY, ("room", ANY)), send("x"), each=True),
        broadcast((ANY, ("plain", ANY)), send("x")),
    ):
        [step] = explain(dispatcher, store, other, history=history).steps
        assert step.details["dispatched"].steps[0].details["bytes"] == 9
    numbered = broadcast((ANY, ANY), send("x", id="7"))
    [would] = (
        explain(dispatcher, store, numbered, history=history).steps[0].details["dispatched"].errors
    )
    [does] = dispatcher.dispatch(numbered).results[0].value.errors
    assert isinstance(would.exception, EventError)
    assert would.exception.field == does.exception.field == "id"


def test_a_broadcast_of_another_shape_is_told_as_it_would_be():
    """Data that is no broadcast is the same error in an explanation as in a dispatch."""
    store, dispatcher, _ = filled(1)
    for wrong in (
        ("broadcast", (ANY, ANY), send("x")),
        ("broadcast", {"patern": (ANY, ANY)}, send("x")),
    ):
        [would], [does] = (
            explain(dispatcher, store, wrong).errors,
            dispatcher.dispatch(wrong).errors,
        )
        assert isinstance(would.exception, EffectShapeError)
        assert str(would.exception) == str(does.exception)

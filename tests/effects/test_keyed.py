"""The sfere interceptor, broadcast and with_connection, without sockets."""

import asyncio

import pytest

from sfere_tornado import (
    ANY,
    Connection,
    ExpiringStore,
    Fanout,
    Key,
    MemoryStore,
    Pattern,
    Registry,
    broadcast,
    send,
    sse_closed,
    with_connection,
)
from sfere_tornado.dispatch import Dispatcher, Effect
from sfere_tornado.effects.keyed import KeyedEffects
from sfere_tornado.effects.streams import StreamEffects
from sfere_tornado.effects.visit import visit_of
from sfere_tornado.errors import EffectShapeError, EventError, KeyShapeError, KeyTakenError
from sfere_tornado.testing import FakeClock
from sfere_tornado.testing.recording import recording_connection

LOBBY = (ANY, ("lobby", ANY))


def key(name, category="lobby", scope="default"):
    return Key(scope, (category, name))


class Room:
    """A store, a dispatcher with the library's registries, and a trace of what test effects saw."""

    def __init__(self, store=None, **options):
        self.store = MemoryStore() if store is None else store
        self.seen = []
        registry = Registry("test")

        @registry.effect("look")
        def look(ctx, *args):
            """Write down the connection and the arguments."""
            self.seen.append((ctx.system.get("sse"), *args))
            return args

        @registry.effect("nest")
        def nest(ctx, *effects):
            """Dispatch a continuation."""
            return ctx.dispatch(effects)

        @registry.effect("fail")
        def fail(ctx):
            """Fail."""
            raise ZeroDivisionError

        @registry.effect("wait")
        async def wait(ctx):
            """Come back a turn later."""
            await asyncio.sleep(0)
            self.seen.append((ctx.system.get("sse"), "waited"))
            return "waited"

        interceptors = options.pop("interceptors", ())
        self.dispatcher = Dispatcher(
            [StreamEffects(), KeyedEffects(self.store, **options), registry],
            interceptors=interceptors,
        )
        self.dispatch = self.dispatcher.dispatch

    def enter(self, name, **parts):
        connection, transport = recording_connection()
        connection.key = key(name, **parts)
        self.store.put(connection.key, connection)
        return connection, transport


def data(transport):
    return [event.data for event in transport.events()]


# -- storing


def test_a_dispatch_with_a_key_stores_its_connection():
    """The scope comes from the server, the rest from the dispatch; the effects of the same dispatch reach it already."""
    room = Room()
    connection, transport = recording_connection()
    room.dispatch(
        broadcast(LOBBY, send("hello")),
        system={"sse": connection},
        dispatch_data={"key": ("lobby", "brian")},
    )
    assert room.store.keys() == [("default", ("lobby", "brian"))]
    assert room.store.peek(key("brian")) == (connection,)
    assert connection.key == key("brian")
    assert data(transport) == ["hello"]


@pytest.mark.parametrize("given", [None, lambda: None])
def test_without_a_key_nothing_is_stored(given):
    """No key, or a function that returns none, stores nothing; id_fn is not asked."""
    room = Room(id_fn=lambda ctx: 1 / 0)
    connection, _ = recording_connection()
    told = room.dispatch(("look",), system={"sse": connection}, dispatch_data={"key": given})
    assert (told.errors, room.store.keys()) == ([], [])


def test_the_key_may_be_a_function_and_is_asked_once():
    """A function gives the key when the stages outside have run; continuations store nothing again."""
    asked = []
    room = Room()

    def give():
        asked.append(1)
        return ("lobby", "brian")

    connection, _ = recording_connection()
    room.dispatch(
        broadcast(LOBBY, ("look",)), system={"sse": connection}, dispatch_data={"key": give}
    )
    assert asked == [1]
    assert room.store.count() == 1


def test_the_whole_key_is_left_for_handlers():
    """Handlers read the whole key from the visit, in continuations too; the rest of the data is theirs."""
    room = Room()
    registry = Registry("look")
    found = []
    registry.effect("data")(
        lambda ctx: found.append((visit_of(ctx).key, ctx.dispatch_data["more"]))
    )
    registry.effect("nest")(lambda ctx: ctx.dispatch(("data",)))
    dispatcher = Dispatcher([StreamEffects(), KeyedEffects(room.store), registry])
    connection, _ = recording_connection()
    dispatcher.dispatch(
        [("data",), ("nest",)],
        system={"sse": connection},
        dispatch_data={"key": ("lobby", "brian"), "more": 1},
    )
    assert found == [(key("brian"), 1)] * 2


def test_the_scope_is_the_servers():
    """id_fn makes the scope from the context."""
    room = Room(id_fn=lambda ctx: ctx.system["tenant"])
    connection, _ = recording_connection()
    room.dispatch(
        ("look",),
        system={"sse": connection, "tenant": 7},
        dispatch_data={"key": ("lobby", "brian")},
    )
    assert room.store.keys() == [(7, ("lobby", "brian"))]


@pytest.mark.parametrize(
    ("id_fn", "kind"), [(lambda ctx: None, KeyShapeError), (lambda ctx: 1 / 0, ZeroDivisionError)]
)
def test_no_scope_stores_nothing(id_fn, kind, caplog):
    """A scope of None, and an id_fn that raises, are errors of the stage: nothing is stored, the effects still run."""
    room = Room(id_fn=id_fn)
    connection, _ = recording_connection()
    told = room.dispatch(
        ("look", 1), system={"sse": connection}, dispatch_data={"key": ("lobby", "brian")}
    )
    assert [
        (error.phase, error.interceptor_id, type(error.exception)) for error in told.errors
    ] == [("before_dispatch", "sfere", kind)]
    assert room.store.keys() == []
    assert room.seen == [(connection, 1)]


def test_a_closed_connection_is_not_stored():
    """Nobody is stored who has left."""
    room = Room()
    connection, transport = recording_connection()
    transport.leave()
    room.dispatch(("look",), system={"sse": connection}, dispatch_data={"key": ("lobby", "brian")})
    assert room.store.keys() == []


def test_a_refused_dispatch_stores_nothing(caplog):
    """After a stage that failed or halted nothing is stored: the interceptor stands innermost."""

    def fail(ctx):
        raise ZeroDivisionError

    for stage in (fail, lambda ctx: ctx.halt()):
        room = Room(interceptors=[{"id": "outer", "before_dispatch": stage}])
        connection, _ = recording_connection()
        room.dispatch(
            ("look",), system={"sse": connection}, dispatch_data={"key": ("lobby", "brian")}
        )
        assert room.store.keys() == []


def test_an_opening_stream_is_stored_beside_an_open_one():
    """Opening a stream under a key that is held stores it too: a reload is never answered with nothing."""
    room = Room()
    first, _ = room.enter("brian")
    second, _ = recording_connection()
    room.dispatch(("look",), system={"sse": second}, dispatch_data={"key": ("lobby", "brian")})
    assert room.store.peek(key("brian")) == (first, second)


def test_a_taken_key_is_an_error_of_the_stage(caplog):
    """With same_key refuse the newcomer's dispatch has the error, and the present connection stays."""
    room = Room(MemoryStore(same_key="refuse"))
    first, _ = room.enter("brian")
    second, _ = recording_connection()
    told = room.dispatch(
        ("look",), system={"sse": second}, dispatch_data={"key": ("lobby", "brian")}
    )
    assert isinstance(told.errors[0].exception, KeyTakenError)
    assert room.store.peek(key("brian")) == (first,)
    assert second.key is None


# -- using an open connection


def test_a_dispatch_without_a_connection_uses_the_open_one():
    """A dispatch under a key reaches its open stream, and renews its lease: the client asks."""
    clock = FakeClock()
    room = Room(ExpiringStore(10.0, timer=clock))
    connection, transport = room.enter("brian")
    clock.advance(8)
    room.dispatch(send("for you"), dispatch_data={"key": ("lobby", "brian")})
    assert data(transport) == ["for you"]
    clock.advance(8)
    assert room.store.peek(key("brian")) == (connection,)


def test_two_open_connections_of_a_key_are_reached_as_one():
    """A user with two tabs gets it in both."""
    room = Room()
    tabs = [room.enter("brian") for _ in range(2)]
    room.dispatch([send("x"), ("look",)], dispatch_data={"key": ("lobby", "brian")})
    assert [data(transport) for _, transport in tabs] == [["x"], ["x"]]
    assert isinstance(room.seen[0][0], Fanout)


def test_a_key_without_a_connection_leaves_the_dispatch_without_one():
    """Nobody there: the dispatch has no connection."""
    room = Room()
    room.dispatch(("look",), dispatch_data={"key": ("lobby", "nobody")})
    assert room.seen == [(None,)]


# -- closing


def test_sse_closed_purges_the_connection_of_the_system():
    """The right one among several leaves, under all its keys, cause explicit, found by identity alone."""
    evicted = []
    room = Room()
    room.store.on_evict = lambda *told: evicted.append((*told, room.store.keys()))
    brian, _ = room.enter("brian")
    room.store.put(key("brian", category="kitchen"), brian)
    phil, _ = room.enter("phil")
    told = room.dispatch([sse_closed()], system={"sse": brian})
    assert (told.results, told.errors) == ([], [])
    assert room.store.connections((ANY, ANY)) == [phil]
    assert [(k, c, cause) for k, c, cause, _ in evicted] == [
        (key("brian"), brian, "explicit"),
        (key("brian", category="kitchen"), brian, "explicit"),
    ]
    assert evicted[-1][3] == [key("phil")]


@pytest.mark.parametrize(
    "effects",
    [
        sse_closed(),
        (sse_closed(), ("look",)),
        [("look",), sse_closed()],
        [("fail",), sse_closed(), sse_closed()],
        [("nest", sse_closed())],
    ],
)
def test_a_close_purges_in_any_company(effects, caplog):
    """Alone, beside other effects, or in a continuation, it purges the connection of the dispatch."""
    evicted = []
    room = Room()
    room.store.on_evict = lambda *left: evicted.append(left)
    brian, _ = room.enter("brian")
    room.enter("phil")
    room.dispatch(effects, system={"sse": brian})
    assert room.store.keys() == [key("phil")]
    assert evicted == [(key("brian"), brian, "explicit")]


@pytest.mark.parametrize(
    "replace",
    [
        tuple,
        lambda actions: [*actions, ("look",)],
        lambda actions: [("look",), *actions],
        list,
    ],
)
def test_a_stage_that_rewrites_the_actions_stops_no_close(replace):
    """The purge is a stage around the action itself, whatever stands beside it."""

    def rewrite(ctx):
        ctx.actions = replace(ctx.actions)

    room = Room(interceptors=[{"id": "rewrite", "before_dispatch": rewrite}])
    brian, _ = room.enter("brian")
    room.dispatch(sse_closed(), system={"sse": brian})
    assert room.store.keys() == []


def test_closing_what_is_not_stored_is_harmless():
    """An unknown connection, or none, purges nobody."""
    room = Room()
    room.enter("brian")
    for system in ({"sse": Connection()}, {"sse": None}, {}):
        assert room.dispatch([sse_closed()], system=system).errors == []
    assert room.store.count() == 1


def test_a_closing_renews_nobody():
    """Somebody else's close is no sign of life."""
    clock = FakeClock()
    room = Room(ExpiringStore(10.0, timer=clock))
    room.enter("phil")
    clock.advance(9)
    brian, _ = room.enter("brian")
    room.dispatch([sse_closed()], system={"sse": brian})
    clock.advance(1)
    assert room.store.keys() == []


# -- broadcast


def test_broadcast_reaches_whom_the_pattern_names():
    """All that match get it, in the order in which they came, and nobody else."""
    room = Room()
    people = {name: room.enter(name) for name in ("brian", "phil", "anna")}
    other = room.enter("brian", category="kitchen")
    value = room.dispatch(broadcast(LOBBY, send("x"), send("y"))).results[0].value
    assert (value.matched, value.reached, value.failures, value.errors) == (3, 3, (), [])
    assert len(value.results) == 2
    assert [data(transport) for _, transport in people.values()] == [["x", "y"]] * 3
    assert data(other[1]) == []


@pytest.mark.parametrize(
    "exclude",
    [
        {key("brian")},
        [("default", ("lobby", "brian"))],
        (key("brian"),),
        frozenset({key("brian"), key("nobody")}),
        (ANY, (ANY, "brian")),
        Pattern("default", ("lobby", "brian")),
        ("default", ("lobby", "brian")),
    ],
)
def test_broadcast_leaves_out_the_excluded(exclude):
    """Exclude takes keys in a set, list or tuple, or one pattern."""
    room = Room()
    brian, phil = room.enter("brian"), room.enter("phil")
    assert room.dispatch(broadcast(LOBBY, send("x"), exclude=exclude)).results[0].value.reached == 1
    assert (data(brian[1]), data(phil[1])) == ([], ["x"])


@pytest.mark.parametrize("exclude", ["brian", 7, {"brian"}, [("lobby", "brian")], {"a": 1}])
def test_broadcast_refuses_other_kinds_of_exclude(exclude):
    """Anything else is an error where it is written, never ignored."""
    with pytest.raises(KeyShapeError):
        broadcast(LOBBY, send("x"), exclude=exclude)


@pytest.mark.parametrize(
    "pattern", ["*", ("lobby",), ("default", "lobby"), None, ("default", ("lobby", None))]
)
def test_broadcast_refuses_what_is_no_pattern(pattern):
    """A pattern has a key's shape; a string is none."""
    with pytest.raises(KeyShapeError):
        broadcast(pattern, send("x"))


def test_no_string_is_a_wildcard():
    """A pattern of stars names the one who is called so."""
    room = Room()
    star, brian = room.enter("*"), room.enter("brian")
    assert (
        room.dispatch(broadcast(("default", ("lobby", "*")), send("x"))).results[0].value.reached
        == 1
    )
    assert (data(star[1]), data(brian[1])) == (["x"], [])


def test_a_broadcast_without_effects_or_receivers_does_nothing():
    """Without effects nothing happens; without receivers the effects run once, and reach nobody."""
    room = Room()
    room.enter("brian")
    assert room.dispatch(broadcast(LOBBY)).results[0].value is None
    value = room.dispatch(broadcast((ANY, ("kitchen", ANY)), send("x"))).results[0].value
    assert (value.matched, value.reached) == (0, 0)


@pytest.mark.parametrize("options", [None, {}, {"pattern": "x"}, "x"])
def test_a_broadcast_written_by_hand_is_checked(options, caplog):
    """The tuple may be written by hand; a wrong one is a clear error."""
    [error] = Room().dispatch(("broadcast", options, send("x"))).errors
    assert isinstance(error.exception, EffectShapeError | KeyShapeError)


def test_the_nested_effects_run_once_for_all():
    """Ten receivers, one run of the effects: the connection of the dispatch is a fan-out of all."""
    room = Room()
    people = [room.enter(str(n))[0] for n in range(10)]
    room.dispatch(broadcast(LOBBY, ("look", 1)))
    [(fanout, argument)] = room.seen
    assert (list(fanout), argument) == (people, 1)


def test_each_runs_the_effects_once_per_receiver():
    """With each, every receiver has a dispatch of its own, and failures and errors are gathered."""
    room = Room()
    pairs = [room.enter(str(n)) for n in range(3)]
    pairs[1][1].break_silently()
    value = (
        room.dispatch(broadcast(LOBBY, ("look", 1), send("x"), send("y"), each=True))
        .results[0]
        .value
    )
    assert [seen[0] for seen in room.seen] == [connection for connection, _ in pairs]
    assert (value.matched, value.reached) == (3, 2)
    assert [(failure.key, failure.reason) for failure in value.failures] == [(key("1"), "client")]


def test_a_failing_receiver_stops_nobody():
    """The broken are told with key and reason, once, and ended after the loop; the others get everything."""
    room = Room()
    pairs = [room.enter(str(n)) for n in range(5)]
    pairs[1][1].break_silently()
    pairs[3][1].break_silently()
    value = room.dispatch(broadcast(LOBBY, send("x"), send("y"))).results[0].value
    assert (value.matched, value.reached) == (5, 3)
    assert [(failure.key.id, failure.reason) for failure in value.failures] == [
        ("1", "client"),
        ("3", "client"),
    ]
    assert [data(transport) for _, transport in pairs] == [
        ["x", "y"],
        [],
        ["x", "y"],
        [],
        ["x", "y"],
    ]
    assert pairs[1][0].reason == "client"


def test_errors_of_nested_effects_are_returned(caplog):
    """A failing nested effect stops neither the others nor the broadcast; its error is in the result, logged once."""
    room = Room()
    room.enter("brian")
    told = room.dispatch(broadcast(LOBBY, ("fail",), ("look", 1)))
    assert told.errors == []
    value = told.results[0].value
    assert [type(error.exception) for error in value.errors] == [ZeroDivisionError]
    assert len(room.seen) == 1
    assert len(caplog.records) == 1


@pytest.mark.parametrize("each", [False, True])
def test_a_broadcast_with_something_to_await(each):
    """Nested effects may be asynchronous; awaiting the broadcast tells how many were reached."""
    room = Room()
    pairs = [room.enter(str(n)) for n in range(2)]

    async def dispatch():
        told = room.dispatch(broadcast(LOBBY, ("wait",), send("x"), each=each))
        assert not told.done
        return (await told).results[0].value

    value = asyncio.run(dispatch())
    assert value.reached == 2
    assert [data(transport) for _, transport in pairs] == [["x"], ["x"]]
    assert len(room.seen) == (2 if each else 1)


def test_a_broadcast_renews_nobody():
    """However many messages go around, a lease goes on running: only the client's own signs of life renew it."""
    clock = FakeClock()
    room = Room(ExpiringStore(10.0, timer=clock))
    room.enter("silent")
    lively, transport = room.enter("lively")
    for _ in range(12):
        clock.advance(1)
        room.dispatch(broadcast(LOBBY, send("x")))
        room.dispatch(with_connection(key("silent"), send("y")))
        room.store.renew(lively)
    assert room.store.keys() == [key("lively")]
    assert len(data(transport)) == 12


# -- with_connection


def test_with_connection_reaches_exactly_one_key():
    """All effects run once with that connection; the rest of the system is inherited."""
    room = Room()
    brian, transport = room.enter("brian")
    phil = room.enter("phil")
    told = room.dispatch(with_connection(key("brian"), send("x"), ("look", 1)), system={"db": 1})
    nested = told.results[0].value
    assert [result.effect[0] for result in nested.results] == ["send", "look"]
    assert room.seen == [(brian, 1)]
    assert (data(transport), data(phil[1])) == (["x"], [])


def test_with_connection_without_somebody_or_something_does_nothing():
    """A key that nobody holds, or no effects: nothing, and no error."""
    room = Room()
    room.enter("brian")
    assert room.dispatch(with_connection(key("nobody"), ("look",))).results[0].value is None
    assert room.dispatch(with_connection(key("brian"))).results[0].value is None
    assert room.seen == []


@pytest.mark.parametrize("wrong", [LOBBY, (ANY, ANY), "brian", ("default", ("lobby", None))])
def test_with_connection_takes_no_pattern(wrong):
    """A pattern is refused where it is written."""
    with pytest.raises(KeyShapeError):
        with_connection(wrong, send("x"))


# -- continuations of effects that only send


class Outcomes:
    """Dispatches that send by key to an open and a closed connection, with their errors."""

    def __init__(self, **options):
        self.room = Room(**options)
        self.reports = []
        _, self.transport = self.room.enter("ann")
        self.room.store.put(key("brian"), recording_connection()[0])
        self.room.store.peek(key("brian"))[0].close()

    def of(self, *effects):
        done = self.room.dispatch(effects, system={"db": 1}, report=self.reports.append)
        nested = [result.value for result in done.results]
        return [
            (
                [(each.effect, each.value.reached) for each in one.results],
                [(error.phase, error.item, type(error.exception)) for error in one.errors],
            )
            for one in nested
        ]


@pytest.mark.parametrize("interceptors", [(), [{"before_effect": lambda ctx: None}]])
def test_a_continuation_that_only_sends_is_like_any_other(interceptors, caplog):
    """Results, errors, bytes and the log are the same with a stage around it and without."""
    outcomes = Outcomes(interceptors=interceptors)
    wrong = ("send", "x", {"event": "a\nb"})
    assert outcomes.of(
        with_connection(key("ann"), send("one"), Effect(wrong), send("two")),
        broadcast(LOBBY, send("three"), exclude=[key("brian")]),
    ) == [
        ([(("send", "one"), 1), (("send", "two"), 1)], [("effect", wrong, EventError)]),
        ([(("send", "three"), 1)], []),
    ]
    assert [event.data for event in outcomes.transport.events()] == ["one", "two", "three"]
    assert outcomes.reports == []
    assert [record.getMessage() for record in caplog.records] == ["effect failed for 'send'"]


def test_a_continuation_that_only_sends_leaves_the_context_as_it_was():
    """The effects after it, and an effect of the application in it, have the target they had."""
    room = Room()
    room.enter("ann")
    room.dispatch([broadcast(LOBBY, send("x")), ("look", "after")], system={"sse": "own"})
    assert room.seen == [("own", "after")]


def test_an_effect_of_the_application_that_is_called_send_has_a_context_of_its_own(caplog):
    """What it does to the context does not reach the dispatch that it continues."""
    room = Room()
    room.enter("ann")
    own = Registry("own")

    @own.effect("send")
    def send_and_halt(ctx, data):
        """Halt the continuation."""
        ctx.halt()

    @own.effect("look")
    def look(ctx):
        """Return whether the context is halted."""
        return ctx.halted

    dispatcher = Dispatcher([StreamEffects(), KeyedEffects(room.store), own])
    done = dispatcher.dispatch([broadcast(LOBBY, send("x")), ("look",)])
    assert [result.value for result in done.results][1:] == [False]
    (warning,) = caplog.records
    assert "effect 'send' of registry 'own' replaces" in warning.getMessage()


@pytest.mark.parametrize("wrong", [Effect(()), Effect(([],)), "send"])
@pytest.mark.parametrize("several", [tuple, list])
def test_what_is_not_an_effect_beside_one_that_sends_is_an_error_of_the_continuation(
    wrong, several, caplog
):
    """The effect beside it runs."""
    room = Room()
    _, transport = room.enter("ann")
    own = Registry("own")
    own.effect("both")(
        lambda ctx: ctx.dispatch(
            several([send("x"), wrong]), system={"sse": room.store.peek(key("ann"))[0]}
        )
    )
    done = Dispatcher([StreamEffects(), own]).dispatch(("both",))
    (result,) = done.results
    assert [type(error.exception) for error in result.value.errors] == [EffectShapeError]
    assert [event.data for event in transport.events()] == ["x"]
    assert len(caplog.records) == 1

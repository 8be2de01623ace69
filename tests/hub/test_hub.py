"""The hub: wiring, the only timer, threads, stopping, and what it does with those who leave the store."""

import asyncio
import logging
import threading

import pytest
from support.logs import raised
from support.waiting import eventually
from tornado.web import Application

from sfere_tornado import (
    ANY,
    Hub,
    HubConfig,
    Key,
    MemoryStore,
    Registry,
    StoreConfig,
    StreamConfig,
    broadcast,
    send,
    with_connection,
)
from sfere_tornado.errors import ConfigError, HubError, RegistryError
from sfere_tornado.hub import MAX_CHAINS
from sfere_tornado.hub.ticks import Ticks
from sfere_tornado.stores import CategoryRules, ExpiringStore, from_config
from sfere_tornado.testing import FakeClock
from sfere_tornado.testing.recording import recording_connection

EVERYBODY = (ANY, ANY)


def key(name, category="lobby"):
    return Key("default", (category, name))


def enter(hub, name, category="lobby"):
    """Store an open connection without a socket, as the web room does."""
    connection, transport = recording_connection(on_end=hub.streams.end)
    connection.key = key(name, category)
    hub.store.put(connection.key, connection)
    hub.streams.opened(connection)
    return connection, transport


def lobby(**store):
    clock = FakeClock()
    hub = Hub(HubConfig(store=StoreConfig(**store)), timer=clock)
    evicted = []
    hub.on_evict(
        lambda k, connection, cause: evicted.append((k.id, cause, [r.id for r in hub.store.keys()]))
    )
    return hub, clock, evicted


# -- making one


def test_defaults_need_nothing():
    """A hub without arguments has an expiring store and the library's effects."""
    hub = Hub()
    assert isinstance(hub.store, ExpiringStore)
    names = {entry.name for entry in hub.dispatcher.describe()}
    assert {"broadcast", "with_connection", "send", "close_sse", "sse_closed"} <= names
    assert repr(hub).startswith("<Hub new: 0 streams")


def test_it_is_made_without_an_event_loop():
    """A hub may be made at import, before a fork, in any thread: it meets a loop when it is started."""
    made = []
    thread = threading.Thread(target=lambda: made.append(Hub()))
    thread.start()
    thread.join()
    assert made[0].dispatch(broadcast(EVERYBODY, send("x"))).errors == []


def test_yaml_sets_the_store_and_the_streams(tmp_path):
    """What the file says is what the hub has; an error in it names file and line."""
    path = tmp_path / "lobby.yaml"
    path.write_text(
        "store:\n  ttl: 30s\n  categories:\n    lobby: {ttl: 5s, same_key: replace}\nstream:\n  retry: 7s\n"
    )
    hub = Hub.from_yaml(path)
    assert hub.serving.config.store.ttl == 30.0
    assert hub.serving.config.stream.retry == 7.0
    path.write_text("store:\n  tlt: 30s\n")
    with pytest.raises(ConfigError, match="ttl") as caught:
        Hub.from_yaml(path)
    assert (caught.value.line, caught.value.suggestion) == (2, "ttl")


def test_per_category_leases_come_from_the_configuration():
    """A category's own lease and same-key rule hold for its keys alone."""
    hub, clock, evicted = lobby(
        ttl=60.0, categories={"ticket": CategoryRules(ttl=5.0, expiry="fixed")}
    )
    enter(hub, "brian", "ticket")
    enter(hub, "phil", "lobby")
    clock.advance(6)
    hub.clock.tick()
    assert evicted == [("brian", "expired", ["phil"])]


@pytest.mark.parametrize("kind", ["memory", "expiring"])
def test_from_config_passes_every_setting_on(kind):
    """Each setting of the configuration reaches the store."""
    settings = StoreConfig(
        type=kind,
        same_key="replace",
        maxsize=2,
        on_full="evict",
        categories={"lobby": CategoryRules(same_key="join")},
    )
    store = from_config(settings)
    for name in ("a", "b", "c"):
        store.put(key(name), object())
    assert [k.id for k in store.keys()] == ["b", "c"]
    store.put(key("b", "other"), object())
    assert store.put(key("b", "other"), object())[0].cause == "replaced"
    assert isinstance(store, MemoryStore if kind == "memory" else ExpiringStore)


def test_the_application_brings_its_own_store():
    """Any store that keeps the contract will do."""
    store = MemoryStore(categories={"lobby": CategoryRules(same_key="refuse")})
    hub = Hub(store=store)
    assert hub.store is store


def test_the_applications_effects_win(caplog):
    """A registry may replace an effect of the library; the log says so once."""
    registry = Registry("mine")
    registry.effect("send")(lambda ctx, data: "mine")
    hub = Hub(registries=[registry])
    assert hub.dispatch(send("x")).results[0].value == "mine"
    assert [(r.levelname, "send" in r.getMessage()) for r in caplog.records] == [("WARNING", True)]


def test_the_hubs_system_is_under_every_dispatch():
    """What effects need is given once; a dispatch may replace it for itself."""
    registry = Registry("mine")
    registry.effect("db")(lambda ctx: ctx.system["db"])
    hub = Hub(registries=[registry], system={"db": "real"})
    assert hub.dispatch(("db",)).results[0].value == "real"
    assert hub.dispatch(("db",), system={"db": "other"}).results[0].value == "other"
    assert hub.serving.system == {"db": "real"}


def test_install_is_for_finished_applications():
    """Installing twice is harmless; a second hub is an error."""
    app, hub = Application([]), Hub()
    hub.install(app)
    hub.install(app)
    assert app.settings["sfere"] is hub
    with pytest.raises(HubError, match="another hub"):
        Hub().install(app)


def test_chains_are_made_once_and_bounded():
    """The same interceptors give the same chain; one that makes new ones for every request fills no memory."""
    hub = Hub()
    interceptors = [{"id": "a"}, {"id": "b"}]
    assert hub.serving.chain(interceptors) is hub.serving.chain(list(interceptors))
    for n in range(MAX_CHAINS + 10):
        hub.serving.chain([{"id": n}])
    assert len(hub.serving._chains) == MAX_CHAINS


# -- those who leave


def test_on_evict_is_told_after_the_entry_is_gone():
    """A departure is told once, with cause and those who remain."""
    hub, _, evicted = lobby()
    brian, _ = enter(hub, "brian")
    enter(hub, "phil")
    brian.end("client")
    brian.end("error")
    assert evicted == [("brian", "explicit", ["phil"])]
    assert list(hub.streams) == hub.store.connections(EVERYBODY)


def test_every_callback_is_told_also_after_one_that_fails(caplog):
    """An exception in a callback is logged once, and neither the others nor the next departure miss anything."""
    hub, _, evicted = lobby()

    @hub.on_evict
    def fail(k, connection, cause):
        raise ZeroDivisionError

    told = []
    hub.on_evict(lambda k, connection, cause: told.append(k.id))
    for name in ("brian", "phil"):
        enter(hub, name)[0].end("client")
    assert (len(evicted), told) == (2, ["brian", "phil"])
    assert len(raised(caplog, "ZeroDivisionError")) == 2


def test_a_callback_may_do_anything():
    """Broadcasting, purging and storing in the callback are safe: everybody leaves once, and the newcomer stays."""
    hub, _, evicted = lobby()
    transports = {name: enter(hub, name)[1] for name in ("a", "b", "c", "d")}

    @hub.on_evict
    def left(k, connection, cause):
        hub.dispatch(broadcast(EVERYBODY, send(f"{k.id} left")))
        if k.id == "a":
            hub.store.purge(key("b"))
            enter(hub, "new")

    transports["a"].leave()
    assert sorted(name for name, _, _ in evicted) == ["a", "b"]
    assert [k.id for k in hub.store.keys()] == ["c", "d", "new"]
    assert [event.data for event in transports["c"].events()] == ["a left", "b left"]


@pytest.mark.parametrize("wrong", [None, "name"])
def test_on_evict_takes_functions(wrong):
    """What cannot be called is refused at once."""
    with pytest.raises(RegistryError, match="plain function"):
        Hub().on_evict(wrong)


def test_on_evict_refuses_coroutine_functions():
    """Nobody would await it, so it would never run: an error at once, instead of silence."""

    async def left(k, connection, cause):
        pass

    with pytest.raises(RegistryError, match="dispatch an effect"):
        Hub().on_evict(left)


@pytest.mark.parametrize(
    ("leave", "reason", "ending"),
    [
        ("purge", "server", "finished"),
        ("expire", "expired", "aborted"),
        ("replace", "replaced", "finished"),
        ("size", "server", "aborted"),
    ],
)
def test_whoever_leaves_the_store_is_closed(leave, reason, ending):
    """Nobody stays connected but deaf; who may come back is cut, who shall not is told so."""
    hub, clock, evicted = lobby(
        ttl=10.0, maxsize=1, on_full="evict", same_key="replace" if leave == "replace" else "join"
    )
    connection, transport = enter(hub, "brian")
    if leave == "purge":
        hub.store.purge(key("brian"))
    elif leave == "expire":
        clock.advance(11)
        hub.clock.tick()
    elif leave == "replace":
        enter(hub, "brian")
    else:
        enter(hub, "phil")
    assert (connection.reason, transport.ending) == (reason, ending)
    assert [name for name, _, _ in evicted] == ["brian"]
    assert connection not in hub.streams


def test_a_connection_that_keeps_a_key_stays_open():
    """One of two keys of a connection purged: it can still be reached, so it stays."""
    hub, _, _ = lobby()
    brian, transport = enter(hub, "brian")
    hub.store.put(key("brian", "kitchen"), brian)
    hub.store.purge(key("brian"))
    assert transport.ending is None
    hub.store.purge(key("brian", "kitchen"))
    assert transport.ending == "finished"


def test_close_on_evict_may_be_switched_off():
    """With close_on_evict: false the store lets go, and the stream goes on."""
    hub, _, evicted = lobby(close_on_evict=False)
    _, transport = enter(hub, "brian")
    hub.store.purge(key("brian"))
    assert (transport.ending, len(evicted)) == (None, 1)


# -- leases and heartbeats


def test_a_busy_room_renews_nobody():
    """One gives no sign of life while messages go on around it: its lease ends on time, alone; it is told to the others."""
    hub, clock, evicted = lobby(ttl=30.0)
    silent, _ = enter(hub, "silent")
    lively, transport = enter(hub, "lively")
    transport.acknowledged_bytes = 1
    for second in range(60):
        clock.advance(1)
        hub.dispatch(broadcast(EVERYBODY, send(str(second))))
        transport.acknowledged_bytes += (
            100  # the lively one's kernel answers; the silent one's does not
        )
        hub.clock.tick()
        if second < 29:
            assert evicted == []
    assert evicted == [("silent", "expired", ["lively"])]
    assert silent.reason == "expired"
    assert lively.reason is None


def test_an_acknowledgement_renews_only_where_it_is_set():
    """With renewed_by: [request] the peer's kernel is no sign of life."""
    hub, clock, evicted = lobby(ttl=30.0, renewed_by=["request"])
    _, transport = enter(hub, "brian")
    for n in range(10):
        transport.acknowledged_bytes = n + 1
        clock.advance(5)
        hub.clock.tick()
    assert [name for name, _, _ in evicted] == ["brian"]


def test_heartbeats_go_to_idle_streams_only():
    """A stream on which nothing was sent for the interval gets a comment; a busy one gets none."""
    hub, clock, _ = lobby()
    idle, busy = enter(hub, "idle")[1], enter(hub, "busy")[1]
    for _ in range(30):
        clock.advance(1)
        hub.dispatch(broadcast((ANY, (ANY, "busy")), send("x")))
        hub.clock.tick()
    assert idle.written == b":\n" * 2
    assert len(busy.writes) == len(busy.events()) == 30


def test_heartbeats_renew_nothing():
    """A heartbeat is the server's own doing: unanswered ones keep no lease."""
    hub, clock, evicted = lobby(ttl=60.0)
    _, transport = enter(hub, "brian")
    for _ in range(100):
        clock.advance(1)
        hub.clock.tick()
    assert [name for name, _, _ in evicted] == ["brian"]
    assert b":\n" in transport.written


def test_a_heartbeat_that_fails_ends_the_stream():
    """Who is found gone by a heartbeat leaves at once, after the loop over the others."""
    hub, clock, evicted = lobby()
    gone, other = enter(hub, "gone")[1], enter(hub, "other")[1]
    gone.break_silently()
    for _ in range(4):
        clock.advance(5)
        hub.clock.tick()
    assert [name for name, _, _ in evicted] == ["gone"]
    assert b":\n" in other.written


@pytest.mark.gen_test
async def test_the_timer_ends_leases_on_time():
    """With a real clock and loop a lease ends when it is due, without anybody asking."""
    hub = Hub(HubConfig(store=StoreConfig(ttl=1.0)))
    hub.start()
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    hub.on_evict(lambda k, connection, cause: ended.set_result((loop.time(), cause)))
    began = loop.time()
    connection, _ = recording_connection()
    hub.store.put(key("brian"), connection)
    hub.streams.opened(connection)
    when, cause = await ended
    assert cause == "expired"
    assert 1.0 <= when - began < 1.2
    await hub.stop()


@pytest.mark.gen_test
async def test_a_failing_tick_is_logged_and_the_next_one_comes(caplog, monkeypatch):
    """The timer survives whatever a tick meets."""
    ticks = []

    hub = Hub(HubConfig(stream=StreamConfig(heartbeat=1.0)))
    monkeypatch.setattr(Ticks, "tick", lambda self: (ticks.append(1), 1 / 0))
    hub.start()
    await eventually(lambda: len(ticks) >= 2)
    await hub.stop()
    assert len(raised(caplog, "ZeroDivisionError")) == len(ticks)


# -- loops and threads


def test_starting_without_a_loop_says_what_to_do():
    """start() outside of a loop is an error."""
    with pytest.raises(HubError, match="running event loop"):
        Hub().start()


@pytest.mark.gen_test
async def test_starting_twice_is_harmless():
    """A second start in the same loop changes nothing."""
    hub = Hub()
    hub.start()
    alarm = hub.clock._alarm
    hub.start()
    assert hub.clock._alarm is alarm
    assert "running" in repr(hub)
    await hub.stop()


def test_a_hub_runs_in_one_loop_at_a_time():
    """In another loop it is an error, until it has been stopped or its loop is closed."""
    hub = Hub()
    first = asyncio.new_event_loop()

    async def start():
        hub.start()

    first.run_until_complete(start())
    with pytest.raises(HubError, match="another event loop"):
        asyncio.run(start())
    first.close()
    asyncio.run(start())


def test_dispatch_from_another_thread_is_refused():
    """The error names what to use instead."""

    async def main():
        hub = Hub()
        hub.start()
        with pytest.raises(HubError, match="dispatch_threadsafe"):
            await asyncio.to_thread(hub.dispatch, broadcast(EVERYBODY, send("x")))
        await hub.stop()

    asyncio.run(main())


def test_dispatch_threadsafe_before_the_start_says_what_to_do():
    """Without a loop there is nowhere to go."""
    with pytest.raises(HubError, match=r"hub\.start\(\)"):
        Hub().dispatch_threadsafe(send("x"))


def test_threads_dispatch_in_their_own_order():
    """Eight threads, 1,000 dispatches each: all arrive, in order per thread, and each future has its result."""

    async def main():
        hub = Hub()
        hub.start()
        connection, transport = recording_connection()
        hub.store.put(key("brian"), connection)

        def work(thread):
            futures = [
                hub.dispatch_threadsafe(broadcast(EVERYBODY, send(str(n), event=f"t{thread}")))
                for n in range(1000)
            ]
            return [future.result(timeout=30).results[0].value.reached for future in futures]

        reached = await asyncio.gather(*(asyncio.to_thread(work, thread) for thread in range(8)))
        await hub.stop()
        return reached, transport.events()

    reached, events = asyncio.run(main())
    assert reached == [[1] * 1000] * 8
    for thread in range(8):
        assert [event.data for event in events if event.event == f"t{thread}"] == [
            str(n) for n in range(1000)
        ]


def test_dispatch_threadsafe_waits_for_what_is_awaited():
    """The future has the finished dispatch, also when something in it is asynchronous; cancelling before it began works."""
    registry = Registry("mine")

    @registry.effect("wait")
    async def wait(ctx):
        """Wait a turn."""
        await asyncio.sleep(0)
        return "waited"

    async def main():
        hub = Hub(registries=[registry])
        hub.start()
        told = hub.dispatch_threadsafe(("wait",))
        cancelled = hub.dispatch_threadsafe(("wait",))
        assert cancelled.cancel()
        found = (await asyncio.wrap_future(told)).results[0].value
        await hub.stop()
        return found

    assert asyncio.run(main()) == "waited"


def test_dispatch_threadsafe_hands_over_what_a_dispatch_raises():
    """More than collected errors, such as a system that is no mapping, is the future's exception."""

    async def main():
        hub = Hub()
        hub.start()
        with pytest.raises(TypeError):
            await asyncio.wrap_future(hub.dispatch_threadsafe(send("x"), system=7))
        await hub.stop()

    asyncio.run(main())


def test_dispatch_threadsafe_hands_over_that_a_result_failed_later():
    """A result that goes on by itself and fails in that is the future's exception: nobody waits for ever."""
    registry = Registry("mine")

    class Result:
        async def settled(self):
            raise ZeroDivisionError

    registry.effect("result")(lambda ctx: Result())

    async def main():
        hub = Hub(registries=[registry])
        hub.start()
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(asyncio.wrap_future(hub.dispatch_threadsafe(("result",))), 5)
        await hub.stop()

    asyncio.run(main())


def test_dispatch_threadsafe_after_the_loop_was_closed():
    """A loop that was closed without stopping the hub is nowhere to go to, and that is said."""

    async def main():
        hub = Hub()
        hub.start()
        return hub

    hub = asyncio.run(main())
    with pytest.raises(HubError, match="has been closed"):
        hub.dispatch_threadsafe(send("x"))


def test_a_stop_answers_calls_that_have_not_begun():
    """Who waits in another thread for a dispatch that never begins is told; one that gave up before is left alone."""

    async def main():
        hub = Hub()
        hub.start()
        connection, transport = recording_connection()
        hub.store.put(key("brian"), connection)
        told, given_up = (
            hub.dispatch_threadsafe(broadcast(EVERYBODY, send("late"))) for _ in range(2)
        )
        given_up.cancel()
        waiting = asyncio.create_task(asyncio.to_thread(told.exception, 5))
        assert repr(hub._life.calls) == "<Calls: 2 waiting>"
        await hub.stop()
        with pytest.raises(HubError):
            hub.dispatch_threadsafe(send("x"))
        return await waiting, transport.events()

    error, events = asyncio.run(main())
    assert isinstance(error, HubError)
    assert "before the dispatch had begun" in str(error)
    assert events == []


# -- rights


def test_revoking_writes_what_was_dispatched_before_and_nothing_later():
    """A word of why arrives; what those who went first set off does not, nor what waits for whoever is slow or in doubt."""

    async def main():
        hub = Hub()
        hub.start()
        hub.on_evict(
            lambda k, connection, cause: hub.dispatch(broadcast(EVERYBODY, send(f"{k.id} left")))
        )
        transports = {}
        for name in ("quick", "slow", "doubted", "other"):
            connection, transports[name] = recording_connection(
                on_end=hub.streams.end, writer=hub.streams.writer
            )
            connection.key = key(name, "kitchen" if name == "other" else "lobby")
            hub.store.put(connection.key, connection)
            hub.streams.opened(connection)
            if name == "slow":
                transports[name].stalled = True
                await hub.dispatch(with_connection(connection.key, send("on its way")))
            if name == "doubted":
                connection.pause()
        hub.dispatch(broadcast((ANY, ("lobby", ANY)), send("banned")))
        assert hub.revoke((ANY, ("lobby", ANY))) == 3
        await asyncio.sleep(0)
        await hub.stop()
        return {
            name: [event.data for event in transport.events()]
            for name, transport in transports.items()
        }

    assert asyncio.run(main()) == {
        "quick": ["banned"],
        "slow": ["on its way"],
        "doubted": [],
        "other": ["quick left", "slow left", "doubted left"],
    }


# -- stopping


@pytest.mark.gen_test
async def test_stopping_cuts_everybody_and_tells_no_crowd():
    """Everybody is cut with reason shutdown; farewells meet an empty store instead of each other."""
    hub, _, evicted = lobby()
    hub.start()
    pairs = [enter(hub, str(n)) for n in range(10)]
    hub.on_evict(
        lambda k, connection, cause: hub.dispatch(broadcast(EVERYBODY, send(f"{k.id} left")))
    )
    await hub.stop()
    assert {connection.reason for connection, _ in pairs} == {"shutdown"}
    assert {transport.ending for _, transport in pairs} == {"aborted"}
    assert [transport.events() for _, transport in pairs] == [[]] * 10
    assert evicted == [(str(n), "explicit", []) for n in range(10)]
    assert not hub.streams


@pytest.mark.gen_test
async def test_stopping_waits_for_dispatches_under_way():
    """What has begun is finished, and no task is left over; the hub may be started again."""
    registry = Registry("mine")
    done = []

    @registry.effect("wait")
    async def wait(ctx):
        """Wait some turns."""
        for _ in range(5):
            await asyncio.sleep(0)
        done.append(True)

    hub = Hub(registries=[registry])
    hub.start()
    told = hub.dispatch(("wait",))
    await hub.stop()
    assert (told.done, done) == (True, [True])
    hub.start()
    await hub.stop()


def test_the_log_names_are_the_packages(caplog):
    """Everything that the library logs is under one name."""
    hub, _, _ = lobby()
    hub.on_evict(lambda *told: 1 / 0)
    enter(hub, "brian")[0].end("client")
    assert [r.name for r in caplog.records if r.levelno >= logging.ERROR] == ["sfere_tornado.hub"]


def test_explain_tells_what_a_dispatch_would_do_without_doing_it():
    """Receivers and bytes are told; nothing is sent."""
    hub, _, _ = lobby()
    _, transport = enter(hub, "brian")
    told = str(hub.explain(broadcast(EVERYBODY, send("hello"))))
    assert "default/lobby/brian" in told
    assert transport.events() == []

"""The end of a hub: everybody is told farewell and cut over a window, and it comes in time whatever hooks do."""

import asyncio
import os
import random
import signal
import threading
import time

import pytest
from support.waiting import eventually

from sfere_tornado import ANY, Hub, HubConfig, Key, Registry, StreamConfig, broadcast, send
from sfere_tornado.errors import HubError, RegistryError, StageAwaitError
from sfere_tornado.hub.draining import CUTS_PER_SECOND, TIMEOUT
from sfere_tornado.testing.recording import recording_connection

EVERYBODY = (ANY, ANY)


def enter(hub, name):
    """Store an open connection without a socket, as the web room does."""
    connection, transport = recording_connection(on_end=hub.streams.end, writer=hub.streams.writer)
    connection.key = Key("default", ("lobby", name))
    hub.store.put(connection.key, connection)
    hub.streams.opened(connection)
    return connection, transport


def begin(hub, name):
    """Open a stream whose client is still being greeted, in the present task, as the web room does."""
    connection, transport = recording_connection(
        on_end=hub.streams.end, writer=hub.streams.writer, opened=False
    )
    connection.open(transport, live=False)
    hub.streams.opened(connection)
    return connection, transport


def retry_of(transport):
    """Return the reconnection time that a client was told, in seconds."""
    lines = [line for line in transport.written.split(b"\n") if line.startswith(b"retry: ")]
    assert len(lines) == 1
    return int(lines[0].removeprefix(b"retry: ")) / 1000


# -- draining


def test_everybody_is_told_farewell_and_when_to_come_back():
    """Each client gets the farewell, then a reconnection time of its own, spread over the window; then it is cut."""

    async def main():
        hub = Hub(HubConfig(stream=StreamConfig(retry=3.0)))
        hub.start()
        opened = [enter(hub, str(n)) for n in range(200)]
        await hub.drain(window=0.2, timeout=5, farewell=send("restarting", event="notice"))
        return opened

    opened = asyncio.run(main())
    assert {(connection.reason, transport.ending) for connection, transport in opened} == {
        ("shutdown", "aborted")
    }
    for _, transport in opened:
        assert [(event.event, event.data) for event in transport.events()] == [
            ("notice", "restarting")
        ]
    retries = [retry_of(transport) for _, transport in opened]
    assert 3.0 <= min(retries) < 3.05
    assert 3.15 < max(retries) <= 3.2


def test_the_cuts_are_paced_over_the_window():
    """Nobody is cut in one crowd: each step of the window cuts its part, the first at once, the last before its end."""

    async def main():
        hub = Hub()
        hub.start()
        for n in range(100):
            enter(hub, str(n))
        loop = asyncio.get_running_loop()
        began, cuts = loop.time(), []
        watch = hub.streams._watch
        remove = watch.remove
        watch.remove = lambda connection: (cuts.append(loop.time() - began), remove(connection))
        await hub.drain(window=0.5, timeout=5)
        return cuts

    cuts = asyncio.run(main())
    assert len(cuts) == 100
    steps = round(0.5 * CUTS_PER_SECOND)
    assert cuts[0] < 0.05
    for step in range(steps):
        # Never ahead of its time; how late it is, is the machine's affair.
        assert cuts[step * 10] >= step * 0.05 - 0.005


def test_a_drain_ends_when_nobody_is_left():
    """Without streams there is no window to wait for."""

    async def main():
        hub = Hub()
        hub.start()
        began = time.monotonic()
        await hub.drain(window=30, timeout=60)
        return time.monotonic() - began

    assert asyncio.run(main()) < 1


def test_the_timeout_bounds_the_window():
    """A window that is longer than the time-out is as long as that."""

    async def main():
        hub = Hub()
        hub.start()
        opened = [enter(hub, str(n)) for n in range(5)]
        began = time.monotonic()
        await hub.drain(window=60, timeout=0.3)
        return time.monotonic() - began, opened

    took, opened = asyncio.run(main())
    assert 0.2 < took < 1.3
    assert {connection.reason for connection, _ in opened} == {"shutdown"}
    assert max(retry_of(transport) for _, transport in opened) <= 2.3


def test_from_its_beginning_nobody_is_welcome_and_the_store_is_empty():
    """Readiness is false first; callbacks broadcasting farewells meet nobody, instead of everybody who is about to go."""

    async def main():
        hub = Hub()
        hub.start()
        assert hub.ready
        opened = [enter(hub, str(n)) for n in range(3)]
        seen = []

        @hub.on_evict
        def left(key, connection, cause):
            seen.append((hub.ready, connection.reason, hub.store.count()))
            hub.dispatch(broadcast(EVERYBODY, send(f"{key.id} left")))

        await hub.drain(window=0, timeout=5)
        assert (hub.ready, "new" in repr(hub)) == (False, True)
        return opened, seen

    opened, seen = asyncio.run(main())
    assert seen == [(False, None, 0)] * 3
    assert [transport.events() for _, transport in opened] == [[]] * 3


def test_who_opens_a_stream_during_the_drain_is_cut_with_the_others():
    """A stream whose opening was under way when everybody was told is cut when the window is over, or at the end."""

    async def main():
        hub = Hub()
        hub.start()
        early, _ = enter(hub, "early")
        enter(hub, "another")
        loop = asyncio.get_running_loop()
        late = []
        loop.call_later(0.05, lambda: late.append(enter(hub, "late")))
        await hub.drain(window=0.2, timeout=5)
        return early, late[0], hub

    early, (late, transport), hub = asyncio.run(main())
    assert (early.reason, late.reason, transport.ending) == ("shutdown", "shutdown", "aborted")
    assert (len(hub.streams), hub.store.keys()) == (0, [])


def test_a_farewell_that_fails_is_logged_and_the_drain_goes_on(caplog):
    """Errors of the farewell are those of any dispatch."""

    async def main():
        hub = Hub()
        hub.start()
        connection, _ = enter(hub, "brian")
        await hub.drain(window=0, timeout=5, farewell=("no_such_effect",))
        return connection

    assert asyncio.run(main()).reason == "shutdown"
    assert len(caplog.records) == 1


def test_a_hub_that_never_started_drains_too():
    """Nothing has begun, so nothing is left to be done."""
    hub = Hub()
    asyncio.run(hub.drain())
    assert not hub.ready


def test_a_drained_hub_may_be_started_again():
    """Afterwards it is as before its first start."""
    hub = Hub()

    async def main():
        hub.start()
        await hub.drain(window=0, timeout=5)
        hub.start()
        _, transport = enter(hub, "brian")
        hub.dispatch(broadcast(EVERYBODY, send("again")))
        await asyncio.sleep(0)
        await hub.stop()
        return transport.events()

    assert [event.data for event in asyncio.run(main())] == ["again"]


def test_a_cancelled_drain_cuts_everybody_at_once():
    """Whoever has no patience for the window leaves nobody behind."""

    async def main():
        hub = Hub()
        hub.start()
        opened = [enter(hub, str(n)) for n in range(100)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(hub.drain(window=30, timeout=60), 0.1)
        return opened

    opened = asyncio.run(main())
    assert {(connection.reason, transport.ending) for connection, transport in opened} == {
        ("shutdown", "aborted")
    }


def test_who_is_still_being_greeted_gets_farewell_and_retry_as_last_words():
    """What it waits for does not come any more, so these two overtake it; what else waits is not written, there would be a hole."""

    async def main():
        hub = Hub()
        hub.start()
        greeted, transport = begin(hub, "greeted")
        _, other = enter(hub, "other")
        greeted.deliver(b"data: waits\n\n")
        # Of the very same receivers, in the same turn: no part of the farewell.
        hub.streams.writer.deliver(
            [greeted, *hub.store.connections(EVERYBODY)], b"data: waits too\n\n"
        )
        await hub.drain(
            window=0, timeout=5, farewell=[send("restarting", event="notice"), send("soon")]
        )
        assert [event.data for event in transport.events()] == ["restarting", "soon"]
        assert 2 <= retry_of(transport) <= 2.1
        assert transport.written.endswith(b"\n\n")
        assert (greeted.reason, transport.ending) == ("shutdown", "aborted")
        assert [event.data for event in other.events()] == ["waits too", "restarting", "soon"]

    asyncio.run(main())


def test_who_goes_live_in_time_gets_everything_in_order(monkeypatch):
    """A greeting that ends within the window is followed by all that waited, and nothing is said twice."""

    async def main():
        hub = Hub()
        hub.start()
        greeted, transport = begin(hub, "greeted")
        greeted.deliver(b"data: waits\n\n")
        enter(hub, "other")
        # Of two it is not the one that is cut first.
        monkeypatch.setattr(random, "sample", lambda streams, count: streams[::-1])
        draining = asyncio.ensure_future(
            hub.drain(window=60, timeout=60, farewell=send("restarting"))
        )
        await asyncio.sleep(0)
        assert list(hub.streams) == [greeted]
        greeted.go_live()
        draining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await draining
        return transport

    transport = asyncio.run(main())
    assert [event.data for event in transport.events()] == ["waits", "restarting"]
    retry_of(transport)


def test_a_single_stream_is_told_once():
    """Where farewell and reconnection time are for the same receivers, in one turn, last words have each of them once."""

    async def main():
        hub = Hub()
        hub.start()
        _, transport = begin(hub, "greeted")
        await hub.drain(window=0, timeout=5, farewell=send("restarting"))
        return transport

    transport = asyncio.run(main())
    assert [event.data for event in transport.events()] == ["restarting"]
    retry_of(transport)


def test_who_is_held_is_cut_without_a_word():
    """While nobody knows whether a client may stay it is told nothing, not even farewell."""

    async def main():
        hub = Hub()
        hub.start()
        connection, transport = enter(hub, "brian")
        connection.pause()
        await hub.drain(window=0, timeout=5, farewell=send("restarting"))
        return connection, transport

    connection, transport = asyncio.run(main())
    assert (connection.reason, transport.ending, transport.writes) == ("shutdown", "aborted", [])


# -- being asked from within


@pytest.mark.parametrize("end", ["drain", "stop"])
def test_a_dispatch_may_end_the_hub(end):
    """An effect that awaits the end does not wait for itself; other dispatches are waited for as ever."""
    registry = waiting_registry()
    ended = []

    @registry.effect("end")
    async def end_it(ctx):
        """End the hub."""
        await (
            ctx.system["hub"].drain(window=0, timeout=60)
            if end == "drain"
            else ctx.system["hub"].stop()
        )
        ended.append("hub")

    @registry.effect("finish")
    async def finish(ctx):
        """Take a while."""
        await turns()
        ended.append("other")

    async def main():
        hub = Hub(registries=[registry])
        hub.serving.system["hub"] = hub
        hub.start()
        connection, _ = enter(hub, "brian")
        hub.dispatch(("finish",))
        told = hub.dispatch(("end",))
        await asyncio.wait_for(told, 5)
        assert (told.errors, connection.reason, ended) == ([], "shutdown", ["other", "hub"])
        await asyncio.sleep(0)
        assert hub._life.tasks == set()

    asyncio.run(main())


def test_a_dispatch_that_drains_is_not_cancelled_with_the_others():
    """What does not end in time is cancelled, but for the dispatch that asked for the end."""
    registry = waiting_registry()

    @registry.effect("drain")
    async def drain(ctx):
        """Drain the hub."""
        await ctx.system["hub"].drain(window=0, timeout=0.05)
        return "drained"

    async def main():
        hub = Hub(registries=[registry])
        hub.serving.system["hub"] = hub
        hub.start()
        waiting = hub.dispatch(("wait",))
        told = await asyncio.wait_for(hub.dispatch(("drain",)), 5)
        assert waiting.task.cancelled()
        return [result.value for result in told.results]

    assert asyncio.run(main()) == ["drained"]


def test_a_stop_that_is_cancelled_has_left_the_loop():
    """Whoever has no patience for a dispatch that never ends can start the hub again in another loop."""
    hub = Hub(registries=[waiting_registry()])

    async def main():
        hub.start()
        hub.dispatch(("wait",))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(hub.stop(), 0.05)
        assert "new" in repr(hub)

    async def again():
        hub.start()
        await hub.stop()

    asyncio.run(main())
    asyncio.run(again())


def test_a_request_does_not_start_a_hub_that_was_drained_before_its_first_stream():
    """A hub that nothing has started yet sends newcomers away too, while it is drained and afterwards, in that loop."""

    async def main():
        hub = Hub()
        draining = asyncio.ensure_future(hub.drain(window=0, timeout=5))
        await asyncio.sleep(0)
        during = hub.streams.welcome()
        await draining
        assert (during, hub.streams.welcome(), hub.ready) == (False, False, False)
        return hub

    hub = asyncio.run(main())

    async def again():
        assert hub.streams.welcome() is True
        await hub.stop()

    asyncio.run(again())


# -- being a lame duck


def test_a_lame_duck_serves_and_is_not_ready():
    """For so long newcomers are welcome and stored, and what is sent arrives; only the readiness probe says no."""

    async def main():
        hub = Hub()
        hub.start()
        draining = asyncio.ensure_future(
            hub.drain(window=0, timeout=5, farewell=send("bye"), lame_duck=0.1)
        )
        await asyncio.sleep(0)
        assert (hub.ready, hub.streams.draining, hub.streams.welcome()) == (False, False, True)
        connection, transport = enter(hub, "newcomer")
        await hub.dispatch(broadcast(EVERYBODY, send("welcome")))
        await draining
        assert (hub.ready, hub.streams.draining, hub.streams.welcome()) == (False, True, False)
        assert ([event.data for event in transport.events()], connection.reason) == (
            ["welcome", "bye"],
            "shutdown",
        )
        hub.start()
        assert hub.ready
        await hub.stop()

    asyncio.run(main())


def test_the_timeout_bounds_the_lame_duck_too():
    """Time to be a lame duck is a part of the time-out, which the process manager's grace must cover."""

    async def main():
        hub = Hub()
        hub.start()
        connection, _ = enter(hub, "brian")
        began = time.monotonic()
        await hub.drain(window=10, timeout=0.2, lame_duck=60)
        return time.monotonic() - began, connection.reason

    took, reason = asyncio.run(main())
    assert 0.2 <= took < 1
    assert reason == "shutdown"


def test_a_lame_duck_that_is_cancelled_is_drained_at_once():
    """Whoever has no patience leaves nobody behind, and nobody is welcome afterwards."""

    async def main():
        hub = Hub()
        hub.start()
        connection, _ = enter(hub, "brian")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(hub.drain(timeout=60, lame_duck=60), 0.05)
        assert (connection.reason, hub.streams.draining, hub.store.keys()) == ("shutdown", True, [])

    asyncio.run(main())


# -- what never ends


def waiting_registry(*, stubborn=False):
    registry = Registry("mine")

    @registry.effect("wait")
    async def wait(ctx):
        """Wait for ever."""
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if not stubborn:
                    raise

    return registry


def test_a_dispatch_that_never_ends_is_cancelled_when_time_is_over():
    """The drain waits for what has begun, but no longer than its time-out; another thread that waits is told."""

    async def main():
        hub = Hub(registries=[waiting_registry()])
        hub.start()
        dispatched = hub.dispatch(("wait",))
        told = hub.dispatch_threadsafe(("wait",))
        await asyncio.sleep(0)
        began = time.monotonic()
        await hub.drain(window=0, timeout=0.3)
        took = time.monotonic() - began
        assert dispatched.task.cancelled()
        return took, told

    took, told = asyncio.run(main())
    assert 0.3 <= took < 0.8
    with pytest.raises(HubError, match="stopped before"):
        told.result(timeout=0)


def test_a_dispatch_that_ignores_being_cancelled_is_left_behind(caplog):
    """Its refusal does not keep the process alive; the log says how many there were."""

    async def main():
        hub = Hub(registries=[waiting_registry(stubborn=True)])
        hub.start()
        hub.dispatch(("wait",))
        await hub.drain(window=0, timeout=0.1)
        assert "left behind" in caplog.text
        assert not hub._life.tasks

    loop = asyncio.new_event_loop()
    began = time.monotonic()
    loop.run_until_complete(main())
    assert time.monotonic() - began < 1.1
    (task,) = asyncio.all_tasks(loop)
    task._log_destroy_pending = False
    loop.close()


@pytest.mark.parametrize("end", ["drain", "stop"])
def test_a_stage_that_must_be_awaited_does_not_delay_a_departure(end, caplog):
    """Around a closing no stage may wait: it is an error, the stream is gone, and no task is left."""

    async def never():
        await asyncio.Event().wait()

    def wait(ctx):
        return never() if ctx.kind == "closing" else None

    async def main():
        hub = Hub(interceptors=[{"id": "waits", "before_dispatch": wait}])
        hub.start()
        enter(hub, "brian")
        await (hub.drain(window=0, timeout=5) if end == "drain" else hub.stop())
        assert (len(hub.streams), hub.store.keys(), hub._life.tasks) == (0, [], set())

    asyncio.run(main())
    [line] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert isinstance(line.exc_info[1], StageAwaitError)


def test_a_coroutine_function_is_refused_as_a_stage_of_the_hub():
    """It would run around every dispatch, and the order of what is sent would depend on it."""

    async def slow(ctx):
        await asyncio.sleep(0)

    with pytest.raises(RegistryError, match="'slow': before_dispatch is a coroutine function"):
        Hub(interceptors=[{"id": "slow", "before_dispatch": slow}])


@pytest.mark.parametrize("end", ["drain", "stop"])
def test_a_question_about_rights_that_hangs_holds_the_end_up_no_longer_than_anybody(end):
    """Its stream is cut at once; the hub ticks on until the hook has been given up."""

    async def revalidate(connection):
        await asyncio.Event().wait()

    async def main():
        hub = Hub(HubConfig(stream=StreamConfig(heartbeat=1.0, revalidate_timeout=0.1)))
        hub.start()
        connection, transport = enter(hub, "brian")
        hub.streams._watch.streams[connection].revalidate = revalidate
        await eventually(lambda: connection.state.paused, patience=5)
        connection.deliver(b"data: secret\n\n")
        began = time.monotonic()
        await (hub.drain(window=0, timeout=60) if end == "drain" else hub.stop())
        assert time.monotonic() - began < 2
        assert (connection.reason, hub._life.tasks, b"secret" in transport.written) == (
            "shutdown",
            set(),
            False,
        )

    asyncio.run(main())


def test_a_stream_that_opens_late_does_not_prolong_the_end():
    """An effect that never ends, for a stream that was cut after everything else, is cancelled too."""
    registry = waiting_registry()

    async def main():
        hub = Hub(registries=[registry])
        hub.start()
        hub.on_evict(lambda key, connection, cause: hub.dispatch(("wait",)))

        class Closing:
            """A server that takes its time, in which a stream opens."""

            def stop(self):
                pass

            async def close_all_connections(self):
                enter(hub, "late")

        hub._life.servers.append(Closing())
        began = time.monotonic()
        await hub.drain(window=0, timeout=0.2)
        return time.monotonic() - began, hub

    took, hub = asyncio.run(main())
    assert took < 0.7
    assert (len(hub.streams), hub._life.tasks) == (0, set())


# -- signals


@pytest.fixture
def exits(monkeypatch):
    """The exit codes with which the process would have been ended; the handlers of signals are put back."""
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield codes
    for number, handler in before.items():
        signal.signal(number, handler)


async def turns():
    """Give the event loop some turns, in which a signal is taken and what it sets off begins."""
    for _ in range(5):
        await asyncio.sleep(0)


async def signalled(hub, *numbers, **arguments):
    """Run until signals come; returns when the process would have been ended in any case."""
    running = asyncio.ensure_future(hub.run_until_signal(**arguments))
    await turns()
    for number in numbers:
        assert not running.done()
        signal.raise_signal(number)
        await turns()
    await running


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains(exits, number):
    """SIGINT and SIGTERM are the same; once everything has ended, what the application closes has its own time."""

    async def main():
        hub = Hub()
        hub.start()

        async def handle():
            return enter(hub, "brian")

        connection, transport = await asyncio.ensure_future(handle())
        await signalled(hub, number, window=0, timeout=0.1, farewell=send("bye"))
        assert ([event.data for event in transport.events()], connection.reason) == (
            ["bye"],
            "shutdown",
        )
        # Longer than the process would have had.
        await asyncio.sleep(0.8)
        assert exits == []
        # Only who asked for the end a second time does not wait for that.
        signal.raise_signal(number)

    asyncio.run(main())
    assert exits == [0]


@pytest.mark.parametrize("left", ["dispatch", "greeting"])
def test_the_process_is_ended_where_something_was_left_behind(exits, left, caplog):
    """What ignores that it is cancelled keeps the event loop from ending: half a second after the time-out nothing is left."""
    over = []

    async def never():
        while not over:
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                continue

    async def main():
        hub = Hub()
        hub.start()

        async def greet():
            begin(hub, "greeted")
            await never()

        left_behind = (
            hub._life.spawn(never()) if left == "dispatch" else asyncio.ensure_future(greet())
        )
        began = time.monotonic()
        await signalled(hub, signal.SIGTERM, window=0, timeout=0.1)
        assert (len(hub.streams), hub._life.tasks) == (0, set())
        await eventually(lambda: exits, patience=2)
        took = time.monotonic() - began
        over.append(True)
        await left_behind
        return took

    assert 0.55 <= asyncio.run(main()) < 1.2
    assert exits == [0]
    lines = [record.getMessage() for record in caplog.records]
    assert sum("left behind" in line for line in lines) == (left == "dispatch")
    assert sum("time is over" in line for line in lines) == 1


def test_a_signal_makes_a_lame_duck_first(exits):
    """The time of the lame duck is handed on."""

    async def main():
        hub = Hub()
        hub.start()
        running = asyncio.ensure_future(hub.run_until_signal(window=0, timeout=5, lame_duck=0.1))
        await turns()
        signal.raise_signal(signal.SIGTERM)
        await turns()
        assert (hub.ready, hub.streams.draining) == (False, False)
        await running
        assert hub.streams.draining

    asyncio.run(main())
    assert exits == []


def test_who_stops_waiting_for_a_signal_leaves_nothing_behind(exits):
    """Cancelled before there was a signal, it puts the handlers back that were there, and its thread ends."""

    async def main():
        hub = Hub()
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        threads = set(threading.enumerate())
        running = asyncio.ensure_future(hub.run_until_signal(window=0, timeout=0.1))
        await turns()
        (watchdog,) = set(threading.enumerate()) - threads
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
        watchdog.join(2)
        assert not watchdog.is_alive()
        await hub.stop()

    asyncio.run(main())
    assert exits == []


def test_who_is_cancelled_after_a_signal_is_ended_all_the_same(exits, caplog):
    """A signal was heard: the process ends in time, and at once at the second one."""

    async def main():
        hub = Hub(registries=[waiting_registry()])
        hub.start()
        hub.dispatch(("wait",))
        running = asyncio.ensure_future(hub.run_until_signal(window=0, timeout=0.1))
        await turns()
        signal.raise_signal(signal.SIGTERM)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        signal.raise_signal(signal.SIGTERM)
        assert exits == [0]
        await eventually(lambda: len(exits) == 2, patience=2)
        await hub.drain(window=0, timeout=0)

    asyncio.run(main())


def test_by_default_the_end_comes_before_kubernetes_kills():
    """It gives thirty seconds from its signal on; the application's own closing is to fit in as well."""
    assert TIMEOUT <= 25


def test_a_second_signal_ends_the_process_at_once(exits):
    """It does not wait for the window, the time-out or anything else."""

    async def main():
        hub = Hub(registries=[waiting_registry()])
        hub.start()
        hub.dispatch(("wait",))
        await signalled(hub, signal.SIGTERM, signal.SIGINT, window=0, timeout=0.3)
        assert exits == [0]

    asyncio.run(main())


def test_signals_are_heard_while_a_hook_does_not_give_the_loop_back(exits, caplog):
    """The first one starts the time-out, the second one ends the process, both in the middle of the hook."""
    heard = []

    async def main():
        hub = Hub()
        hub.start()
        running = asyncio.ensure_future(hub.run_until_signal(window=0, timeout=0.1))
        await turns()
        # A hook that blocks.
        signal.raise_signal(signal.SIGTERM)
        heard.append(list(exits))
        signal.raise_signal(signal.SIGTERM)
        heard.append(list(exits))
        time.sleep(0.8)  # noqa: ASYNC251  # it is the block that is under test
        heard.append(list(exits))
        await running

    asyncio.run(main())
    assert heard == [[], [0], [0, 0]]

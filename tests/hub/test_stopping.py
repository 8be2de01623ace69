"""The end of a hub: everybody is told farewell and cut over a window, and it comes in time whatever hooks do."""

import asyncio
import os
import signal
import time

import pytest
from support.waiting import eventually

from sfere_tornado import ANY, Hub, HubConfig, Key, Registry, StreamConfig, broadcast, send
from sfere_tornado.errors import HubError
from sfere_tornado.hub.stopping import CUTS_PER_SECOND, _Watchdog
from sfere_tornado.testing.recording import recording_connection

EVERYBODY = (ANY, ANY)


def enter(hub, name):
    """Store an open connection without a socket, as the web room does."""

    def ended(connection):
        hub.ended(connection)
        hub.dispatch([("sse_closed",)], system={"sse": connection})

    connection, transport = recording_connection(on_end=ended, writer=hub.writer)
    connection.key = Key("default", ("lobby", name))
    hub.store.put(connection.key, connection)
    hub.opened(connection)
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
    assert {(connection.reason, transport.ending) for connection, transport in opened} == {("shutdown", "aborted")}
    for _, transport in opened:
        assert [(event.event, event.data) for event in transport.events()] == [("notice", "restarting")]
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
        ended = hub.ended
        hub.ended = lambda connection: (cuts.append(loop.time() - began), ended(connection))
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
    assert (hub.streams, hub.store.keys()) == ({}, [])


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
    assert {(connection.reason, transport.ending) for connection, transport in opened} == {("shutdown", "aborted")}


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
        assert not hub.tasks

    loop = asyncio.new_event_loop()
    began = time.monotonic()
    loop.run_until_complete(main())
    assert time.monotonic() - began < 1.1
    (task,) = asyncio.all_tasks(loop)
    task._log_destroy_pending = False
    loop.close()


@pytest.mark.parametrize("end", ["drain", "stop"])
def test_a_stage_that_waits_for_the_departed_ends_with_the_hub(end):
    """What closing sets off is waited for, and no task is left over."""
    ended = []

    async def slow(ctx):
        if ctx.actions == [("sse_closed",)]:
            await asyncio.sleep(0.05)
            ended.append(ctx.system["sse"].key.id)

    async def main():
        hub = Hub(interceptors=[{"id": "slow", "before_dispatch": slow}])
        hub.start()
        enter(hub, "brian")
        await (hub.drain(window=0, timeout=5) if end == "drain" else hub.stop())
        assert not hub.tasks

    asyncio.run(main())
    assert ended == ["brian"]


def test_a_stream_that_opens_late_does_not_prolong_the_end():
    """A stage that never ends, for a stream that was cut after everything else, is cancelled too."""

    async def never(ctx):
        if ctx.actions == [("sse_closed",)]:
            await asyncio.Event().wait()

    async def main():
        hub = Hub(interceptors=[{"id": "never", "before_dispatch": never}])
        hub.start()

        class Closing:
            """A server that takes its time, in which a stream opens."""

            def stop(self):
                pass

            async def close_all_connections(self):
                enter(hub, "late")

        hub.servers.append(Closing())
        began = time.monotonic()
        await hub.drain(window=0, timeout=0.2)
        return time.monotonic() - began, hub

    took, hub = asyncio.run(main())
    assert took < 0.7
    assert (hub.streams, hub.tasks) == ({}, set())


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


async def signalled(hub, *numbers, **arguments):
    """Run until signals come; returns when the process would have been ended in any case."""
    running = asyncio.ensure_future(hub.run_until_signal(**arguments))
    await asyncio.sleep(0.01)
    for number in numbers:
        assert not running.done()
        signal.raise_signal(number)
        await asyncio.sleep(0.01)
    await running


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains(exits, number):
    """SIGINT and SIGTERM are the same; half a second after the time-out the process is ended in any case."""

    async def main():
        hub = Hub()
        hub.start()
        connection, transport = enter(hub, "brian")
        began = time.monotonic()
        await signalled(hub, number, window=0, timeout=0.1, farewell=send("bye"))
        assert ([event.data for event in transport.events()], connection.reason) == (["bye"], "shutdown")
        assert exits == []
        await eventually(lambda: exits, patience=2)
        return time.monotonic() - began

    assert 0.55 <= asyncio.run(main()) < 1.1
    assert exits == [0]


def test_a_second_signal_ends_the_process_at_once(exits):
    """It does not wait for the window, the time-out or anything else."""

    async def main():
        hub = Hub(registries=[waiting_registry()])
        hub.start()
        hub.dispatch(("wait",))
        await signalled(hub, signal.SIGTERM, signal.SIGINT, window=0, timeout=0.3)
        assert exits == [0]
        await eventually(lambda: len(exits) == 2, patience=2)

    asyncio.run(main())


def test_signals_are_heard_while_a_hook_does_not_give_the_loop_back(exits):
    """The first one starts the time-out, the second one ends the process, both in the middle of the hook."""
    heard = []

    async def main():
        hub = Hub()
        hub.start()
        running = asyncio.ensure_future(hub.run_until_signal(window=0, timeout=0.1))
        await asyncio.sleep(0.01)
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


def test_the_watchdog_says_whether_it_is_loose(exits):
    """What is looked at in a debugger is told in words."""
    watchdog = _Watchdog(0.0)
    assert repr(watchdog) == "<_Watchdog on its leash>"
    watchdog.let_loose()
    assert repr(watchdog) == "<_Watchdog loose>"
    while not exits:
        time.sleep(0.001)

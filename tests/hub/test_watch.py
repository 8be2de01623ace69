"""Looking after open streams, tick by tick: heartbeats, signs of life, stalls, lifetimes, rights."""

import asyncio
import itertools

import pytest
from support.logs import raised

from sfere_tornado import Hub, HubConfig, Key, StreamConfig
from sfere_tornado.hub.watch import AGE_JITTER, TICKS_PER_HEARTBEAT, Watch
from sfere_tornado.stores import ExpiringStore
from sfere_tornado.streams.connection import AWAY
from sfere_tornado.streams.writer import Writer
from sfere_tornado.testing import FakeClock
from sfere_tornado.testing.parser import Parser
from sfere_tornado.testing.recording import recording_connection

#: Seconds between two ticks with the default heartbeat.
TICK = 5.0


class Ward:
    """A watch without a hub: a clock, a store, a writer that writes at once, and an event loop that turns when told to."""

    #: Those of the present test.
    loops = []

    def __init__(self, *, ttl=600.0, **settings):
        self.loop = asyncio.new_event_loop()
        self.loops.append(self.loop)
        self.clock = FakeClock()
        self.store = ExpiringStore(ttl, timer=self.clock)
        self.writer = Writer()
        self.watch = Watch(
            StreamConfig(**settings), self.store, self.writer, self.clock, self.loop.create_task
        )

    def answer(self):
        """Let every question that was asked be answered, or be cancelled; returns how many there were."""
        asked = asyncio.all_tasks(self.loop)
        for task in asked:
            self.loop.run_until_complete(asyncio.wait({task}))
        return len(asked)

    def open(self, name="brian", revalidate=None):
        def ended(connection):
            self.watch.remove(connection)
            self.store.purge_connection(connection)

        connection, transport = recording_connection(writer=self.writer, on_end=ended)
        self.store.put(Key("default", ("lobby", name)), connection)
        self.watch.add(connection, revalidate)
        return connection, transport

    def watched(self, connection):
        """Return what the watch knows of a stream."""
        return self.watch.streams[connection]

    def holds(self, connection):
        return bool(self.store.keys_of(connection))

    def tick(self, times=1):
        for _ in range(times):
            self.clock.advance(self.watch.tick_seconds)
            self.watch.begin()
            while self.watch.go_on():
                pass


@pytest.fixture(autouse=True)
def _loops_are_closed():
    """Close the event loop of each ward; tasks that a test has left in it are seen as such."""
    yield
    left = [task for loop in Ward.loops for task in asyncio.all_tasks(loop)]
    for loop in Ward.loops:
        loop.close()
    Ward.loops.clear()
    assert left == []


def beats(transport):
    return transport.written.count(b":\n")


# -- heartbeats


def test_an_idle_stream_beats_once_in_each_interval():
    """Between two heartbeats there is one interval; the first one comes earlier, at random."""
    ward = Ward()
    assert ward.watch.tick_seconds == TICK
    transports = [ward.open(str(n))[1] for n in range(50)]
    ward.tick()
    # Opened together, they do not beat together for ever.
    assert {beats(transport) for transport in transports} == {0, 1}
    ward.tick(TICKS_PER_HEARTBEAT - 1)
    assert {beats(transport) for transport in transports} == {1}
    ward.tick(TICKS_PER_HEARTBEAT * 3)
    assert {beats(transport) for transport in transports} == {4}


def test_a_heartbeat_comes_an_interval_after_the_last_event_at_the_latest():
    """Counted in ticks, of which the first comes at any time after the event: not before two thirds of an interval have gone."""
    ward = Ward()
    connection, transport = ward.open()
    ward.tick(2)
    connection.deliver(b"data: x\n\n")
    ward.tick(TICKS_PER_HEARTBEAT - 1)
    before = beats(transport)
    ward.tick()
    assert beats(transport) == before + 1


def test_a_busy_stream_does_not_beat():
    """A stream that was written to within the interval needs no heartbeat."""
    ward = Ward()
    connection, transport = ward.open()
    for _ in range(20):
        connection.deliver(b"data: x\n\n")
        ward.tick()
    assert beats(transport) == 0


def test_a_stream_with_something_waiting_does_not_beat():
    """A heartbeat behind what the client does not read tells nobody anything, and costs."""
    ward = Ward(stall=3600.0)
    connection, transport = ward.open()
    transport.stalled = True
    connection.deliver(b"data: x\n\n")
    ward.tick(20)
    assert beats(transport) == 0
    transport.stalled = False
    transport.drain()
    ward.tick()
    assert beats(transport) == 1


def test_all_streams_are_looked_at_in_slices():
    """No more than a slice is looked at before the loop may turn; what comes meanwhile is looked at next time."""
    ward = Ward(fan_out_slice=10)
    transports = [ward.open(str(n))[1] for n in range(25)]
    for _ in range(TICKS_PER_HEARTBEAT):
        ward.clock.advance(TICK)
        ward.watch.begin()
        assert repr(ward.watch) == "<Watch: 25 streams, 25 to be looked at>"
        assert [ward.watch.go_on() for _ in range(3)] == [True, True, False]
    assert ward.watch.go_on() is False
    assert {beats(transport) for transport in transports} == {1}


def test_who_ends_during_a_look_is_left_alone():
    """A stream that ended after the look began gets neither heartbeat nor question, and is ended once."""
    ward = Ward(fan_out_slice=10)
    first = [ward.open(str(n))[1] for n in range(10)]
    later = [ward.open(str(n))[1] for n in range(10, 20)]
    ward.tick(TICKS_PER_HEARTBEAT - 1)
    written = [transport.written for transport in later]
    ward.watch.begin()
    assert ward.watch.go_on()
    for transport in later:
        transport.leave()
    assert ward.watch.go_on() is False
    assert [transport.written for transport in later] == written
    assert {beats(transport) for transport in first} == {1}


# -- signs of life


def test_acknowledged_bytes_renew_the_lease_and_silence_does_not():
    """The kernel's acknowledgement of anything new is a sign of life; the same number again is none."""
    ward = Ward(ttl=30.0)
    (alive, kernel), (silent, _) = ward.open("alive"), ward.open("silent")
    for n in range(6):
        kernel.acknowledged_bytes = n + 1
        ward.tick()
    assert (ward.holds(alive), ward.holds(silent)) == (True, False)
    assert alive.health().kernel.acknowledged == 6
    ward.tick(5)
    assert ward.holds(alive)
    ward.tick()
    assert not ward.holds(alive)


# -- stalls


def test_a_client_that_takes_nothing_is_cut_after_the_stall_time():
    """Something waits for it, nothing of it gets on for stall seconds: cut with reason slow by the next tick, not earlier."""
    ward = Ward(stall=30.0)
    connection, transport = ward.open()
    transport.stalled = True
    connection.deliver(b"data: x\n\n")
    ward.tick(6)
    assert connection.reason is None
    assert ward.watched(connection).stalled_ticks == 6
    ward.tick()
    assert (connection.reason, transport.ending) == ("slow", "aborted")


def test_a_client_that_reads_slowly_but_steadily_is_never_cut():
    """Each acknowledgement begins the stall time anew, however much still waits."""
    ward = Ward(stall=30.0)
    connection, transport = ward.open()
    transport.stalled = True
    connection.deliver(b"data: x\n\n")
    for n in range(50):
        transport.acknowledged_bytes = n
        ward.tick(5)
    assert connection.reason is None


def test_a_client_that_drains_begins_anew():
    """What waited has gone, so there is no stall; the next one is counted from its own beginning."""
    ward = Ward(stall=30.0)
    connection, transport = ward.open()
    for _ in range(5):
        transport.stalled = True
        connection.deliver(b"data: x\n\n")
        ward.tick(5)
        transport.stalled = False
        transport.drain()
    ward.tick()
    assert (connection.reason, ward.watched(connection).stalled_ticks) == (None, 0)


# -- lifetimes


def test_max_age_cuts_so_that_the_client_comes_back():
    """Between 80 and 100 % of max_age, at random, a stream is cut: many that opened together do not come back together."""
    ward = Ward(max_age=1000.0)
    opened = [ward.open(str(n)) for n in range(100)]
    began = ward.clock()
    ends = [ward.watched(connection).ends_at - began for connection, _ in opened]
    assert min(ends) >= 1000 * (1 - AGE_JITTER)
    assert max(ends) <= 1000
    assert max(ends) - min(ends) > 100
    ward.tick(159)
    assert {connection.reason for connection, _ in opened} == {None}
    ward.tick(41)
    assert {(connection.reason, transport.ending) for connection, transport in opened} == {
        ("server", "aborted")
    }
    assert not ward.watch.streams


def test_without_max_age_a_stream_has_no_end():
    """By default a stream lives for ever."""
    ward = Ward(ttl=10**7)
    connection, _ = ward.open()
    ward.tick(10_000)
    assert connection.reason is None


# -- rights


def test_rights_that_end_at_a_time_end_the_stream_before_anything_more_is_written():
    """From expires_at on: no heartbeat any more, reason revoked, told to stay away."""
    ward = Ward()
    connection, transport = ward.open()
    connection.expires_at = ward.clock() + 3 * TICK
    ward.tick(2)
    assert connection.reason is None
    written = transport.written
    ward.tick()
    assert (connection.reason, transport.ending) == ("revoked", "finished")
    last_words = transport.written[len(written) :]
    parser = Parser()
    assert parser.feed(last_words) == []
    assert (parser.retry, beats(transport) - written.count(b":\n")) == (AWAY, 0)


@pytest.mark.parametrize("busy", [False, True])
def test_the_application_is_asked_at_each_heartbeat_interval_however_busy_the_stream(busy):
    """Rights end on busy streams too; nobody is asked twice in one interval."""
    ward = Ward()
    asked = []

    async def revalidate(connection):
        asked.append(ward.clock())
        return len(asked) < 4

    connection, transport = ward.open(revalidate=revalidate)
    for _ in range(TICKS_PER_HEARTBEAT * 4):
        if busy:
            connection.deliver(b"data: x\n\n")
        ward.tick()
        ward.answer()
        if connection.reason is not None:
            break
    assert len(asked) == 4
    assert {b - a for a, b in itertools.pairwise(asked)} == {TICKS_PER_HEARTBEAT * TICK}
    assert (connection.reason, transport.ending) == ("revoked", "finished")
    assert transport.written.endswith(b"retry: %d\n\n" % AWAY)
    assert not ward.watch.streams


def test_while_the_application_is_asked_nothing_is_written():
    """The heartbeat of that tick waits too, and follows a yes."""
    ward = Ward()

    async def revalidate(connection):
        return True

    connection, transport = ward.open(revalidate=revalidate)
    while not connection.state.paused:
        connection.idle, ward.watched(connection).idle_ticks = True, TICKS_PER_HEARTBEAT
        written = transport.written
        ward.tick()
    assert (transport.written, connection.outbox) == (written, len(b":\n"))
    connection.deliver(b"data: x\n\n")
    assert ward.answer() == 1
    assert transport.written == written + b":\ndata: x\n\n"


def test_a_question_is_given_up_on_the_tick_after_its_time(caplog):
    """Nobody is asked a second time before that; what waited follows, and an interval later the application is asked again."""
    ward = Ward(revalidate_timeout=2 * TICK)
    asked = []

    async def revalidate(connection):
        asked.append(ward.clock())
        await asyncio.Event().wait()

    connection, transport = ward.open(revalidate=revalidate)
    while not connection.state.paused:
        ward.tick()
    ward.loop.run_until_complete(asyncio.sleep(0))
    connection.deliver(b"data: x\n\n")
    ward.tick()
    assert b"data" not in transport.written
    ward.tick()
    assert b"data" in transport.written
    assert (ward.answer(), len(asked)) == (1, 1)
    ward.tick(TICKS_PER_HEARTBEAT)
    assert connection.state.paused
    ward.loop.run_until_complete(asyncio.sleep(0))
    assert len(asked) == 2
    ward.tick(2)
    ward.answer()
    assert len(caplog.records) == 2


def test_a_client_does_not_stall_while_the_application_is_asked():
    """What waits for an answer is not the client's fault: it is not cut for taking nothing."""
    ward = Ward(stall=TICK, revalidate_timeout=60.0)

    async def revalidate(connection):
        return True

    connection, _ = ward.open(revalidate=revalidate)
    while not connection.state.paused:
        ward.tick()
    connection.deliver(b"data: x\n\n")
    ward.tick(5)
    assert (connection.reason, ward.watched(connection).stalled_ticks) == (None, 0)
    ward.answer()


def test_rights_that_end_write_nothing_of_what_waits():
    """What a slow client has not taken when its rights end, it never gets."""
    ward = Ward()
    connection, transport = ward.open()
    transport.stalled = True
    connection.deliver(b"data: on its way\n\n")
    connection.deliver(b"data: waits\n\n")
    connection.expires_at = ward.clock() + TICK
    ward.tick()
    assert (connection.reason, transport.ending) == ("revoked", "finished")
    assert transport.written == b"data: on its way\n\nretry: %d\n\n" % AWAY


def test_who_is_ended_by_anothers_end_is_not_asked_about():
    """A stream that the application closes when told of another's departure is forgotten, and its client not asked about."""
    ward = Ward()
    asked = []

    async def revalidate(connection):
        asked.append(connection)
        return True

    (first, _), (second, _) = ward.open("first", revalidate), ward.open("second")
    ward.store.on_evict = lambda key, connection, cause: first.close()
    while ward.watched(first).asked_ticks != TICKS_PER_HEARTBEAT - 1:
        ward.tick()
        ward.answer()
    before = len(asked)
    # In this tick its client would be asked about, after the other has ended.
    second.expires_at = ward.clock()
    ward.tick()
    assert first.reason == "server"
    assert (len(asked), ward.answer(), ward.watch.streams) == (before, 0, {})


def test_a_question_that_fails_keeps_the_stream_and_is_asked_again(caplog):
    """A database that is down throws nobody out: one line in the log, and the next interval asks again."""
    ward = Ward(revalidate_timeout=60.0)
    answers = [ZeroDivisionError(), False]

    async def revalidate(connection):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    connection, _ = ward.open(revalidate=revalidate)
    ward.tick(TICKS_PER_HEARTBEAT)
    assert ward.answer() == 1
    assert connection.reason is None
    assert len(raised(caplog, "ZeroDivisionError")) == 1
    ward.tick(TICKS_PER_HEARTBEAT)
    assert ward.answer() == 1
    assert connection.reason == "revoked"


def test_the_loop_turns_between_slices():
    """A hub with more streams than a slice looks at the first part in its tick, at the others in the next turns."""
    clock = FakeClock()
    hub = Hub(HubConfig(stream=StreamConfig(fan_out_slice=10)), timer=clock)

    async def main():
        hub.start()
        transports = []
        for _ in range(25):
            connection, transport = recording_connection(
                on_end=hub.streams.end, writer=hub.streams.writer
            )
            hub.streams.opened(connection)
            hub.streams._watch.streams[connection].idle_ticks = TICKS_PER_HEARTBEAT
            transports.append(transport)
        clock.advance(TICK)
        hub.clock.tick()
        seen = [len(hub.streams._watch._left_to_see)]
        while hub.streams._watch._left_to_see:
            await asyncio.sleep(0)
            seen.append(len(hub.streams._watch._left_to_see))
        await asyncio.sleep(0)
        assert {beats(transport) for transport in transports} == {1}
        clock.advance(TICK)
        hub.clock.tick()
        await hub.stop()
        return seen

    assert asyncio.run(main()) == [15, 5, 0]


def test_a_hub_without_a_loop_looks_at_all_in_one_go():
    """In a test that moves the clock by hand there is no turn to wait for."""
    clock = FakeClock()
    hub = Hub(HubConfig(stream=StreamConfig(fan_out_slice=10)), timer=clock)
    for _ in range(25):
        hub.streams.opened(
            recording_connection(on_end=hub.streams.end, writer=hub.streams.writer)[0]
        )
    clock.advance(TICK)
    hub.clock.tick()
    assert hub.streams._watch._left_to_see == []

"""What was dispatched in one turn of the event loop, and its writing."""

import asyncio
import gc
import sys
import weakref
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfere_tornado.defaults import SLICE
from sfere_tornado.streams import writer as writer_module
from sfere_tornado.streams.connection import Connection
from sfere_tornado.streams.delivery import Failure
from sfere_tornado.streams.writer import AT_ONCE, MAX_TURN, Writer
from sfere_tornado.testing.recording import RecordingTransport, recording_connection
from sfere_tornado.wire.compression import HEADER, SharedCompressor
from sfere_tornado.wire.framing import chunked


class Turns:
    """An event loop that takes a turn when the test says so."""

    def __init__(self):
        self.waiting = []

    def call_soon(self, callback):
        self.waiting.append(callback)

    def get_debug(self):
        return False

    def create_future(self):
        return asyncio.Future(loop=self)

    def turn(self):
        """Run what waited when the turn began."""
        callbacks, self.waiting = self.waiting, []
        for callback in callbacks:
            callback()

    def finish(self):
        """Take turns until nothing waits; returns how many."""
        taken = 0
        while self.waiting:
            self.turn()
            taken += 1
            assert taken < 1000, "the turns do not end"
        return taken


def turning(**arguments):
    """A writer, and the event loop whose turns it follows."""
    turns, writer = Turns(), Writer(**arguments)
    writer.meet(turns.call_soon, turns.create_future)
    return writer, turns


def some(number, writer=AT_ONCE, **arguments):
    """A number of connections with the direct way, and their transports."""
    pairs = [
        recording_connection(frame=chunked, direct=True, writer=writer, **arguments)
        for _ in range(number)
    ]
    return [connection for connection, _ in pairs], [transport for _, transport in pairs]


def written(transports):
    return [transport.written for transport in transports]


def unchunked(transport):
    """What a client has got, however it was cut into chunks and writes; strictly read."""
    data, body = transport.written, b""
    while data:
        size, _, data = data.partition(b"\r\n")
        assert data[int(size, 16) :].startswith(b"\r\n")
        body, data = body + data[: int(size, 16)], data[int(size, 16) + 2 :]
    return body


class Leaving:
    """Which events of a turn leave in the call that delivers them, said as plainly as can be."""

    def __init__(self):
        self.fanned_out = False
        self.reached = set()
        self.gathered = False

    def deliver(self, members, *, fails=False):
        """Return whether an event to these members leaves now."""
        first = len(members) == 1 and not self.fanned_out and members[0] not in self.reached
        self.fanned_out = self.fanned_out or len(members) != 1
        self.reached |= set(members)
        self.gathered = self.gathered or not first or fails
        return first and not fails

    def flush(self):
        """Write what waits; a turn in which nothing waits goes on."""
        if self.gathered:
            self.__init__()


# -- turns


def test_nothing_is_written_before_the_turn_is_over():
    """What is delivered in a turn of the loop is written after it, and one callback does it all."""
    writer, turns = turning()
    connections, transports = some(2, writer)
    delivery = writer.deliver(connections, b"a")
    writer.deliver(connections[:1], b"b")
    assert written(transports) == [b"", b""]
    assert (delivery.done, writer.pending, len(turns.waiting)) == (False, True, 1)
    turns.turn()
    assert written(transports) == [chunked(b"ab"), chunked(b"a")]
    assert (delivery.done, writer.pending, turns.waiting) == (True, False, [])


def test_the_first_event_of_a_turn_for_a_client_leaves_in_the_same_call():
    """A model's tokens, a log, a progress bar: one stream, fed by itself, waits for nothing."""
    writer, turns = turning()
    connections, transports = some(3, writer)
    first = [writer.deliver([each], b"a") for each in connections[:2]]
    assert written(transports) == [chunked(b"a"), chunked(b"a"), b""]
    assert all(delivery.done for delivery in first)
    second = writer.deliver(connections[:1], b"b")
    assert writer.deliver(connections[:1], b"c") is second
    assert not second.done
    # Others are still first.
    assert writer.deliver(connections[2:], b"d").done
    turns.turn()
    assert [transport.writes for transport in transports] == [
        [chunked(b"a"), chunked(b"bc")],
        [chunked(b"a")],
        [chunked(b"d")],
    ]
    assert writer.deliver(connections[:1], b"e").done
    turns.finish()
    assert turns.waiting == []


def test_what_leaves_in_the_call_never_overtakes():
    """Behind a fan-out of the turn, and behind one whose slices are not all written, events wait."""
    writer, turns = turning(slice_size=1)
    connections, transports = some(3, writer)
    writer.deliver(connections, b"1")
    assert not writer.deliver(connections[2:], b"2").done
    turns.turn()
    assert writer.pending
    assert not writer.deliver(connections[2:], b"3").done
    turns.finish()
    assert unchunked(transports[2]) == b"123"
    assert writer.deliver(connections[2:], b"4").done
    turns.finish()


def test_a_client_that_has_gone_ends_after_the_turn():
    """In the middle of an effect nothing ends: the callback of an end may dispatch."""
    ended = []
    writer, turns = turning()
    (connection,), (transport,) = some(1, writer, on_end=ended.append)
    transport.break_silently()
    delivery = writer.deliver([connection], b"a")
    assert (delivery.done, ended, connection.reason) == (False, [], None)
    turns.turn()
    assert (delivery.failures, ended) == ([Failure(None, connection, "client")], [connection])


def test_many_tasks_that_each_feed_one_stream_are_written_in_one_turn():
    """Single receivers do not count against the slice: their producers would outrun the writer."""
    writer, turns = turning(slice_size=1)
    connections, transports = some(50, writer)
    for connection in connections:
        writer.deliver([connection], b"a")
        writer.deliver([connection], b"b")
    turns.turn()
    assert [unchunked(transport) for transport in transports] == [b"ab"] * 50
    assert not writer.pending


@pytest.mark.parametrize("compressed", [False, True])
def test_a_compressed_stream_gets_its_events_at_the_end_of_the_turn(compressed):
    """It shares its context with others; a plain stream of the same writer does not wait."""
    writer, turns = turning(compressor=SharedCompressor())
    connection, transport = recording_connection(
        frame=chunked, direct=True, writer=writer, opened=False
    )
    writer.deliver([connection], b"early ")
    transport.writes += [chunked(HEADER)] if compressed else []
    connection.open(transport, compressed=compressed)
    turns.finish()
    for word in (b"one ", b"two ", b"one "):
        assert writer.deliver([connection], word).done is not compressed
        turns.finish()
    text = unchunked(transport)
    assert (
        zlib.decompressobj(31).decompress(text) if compressed else text
    ) == b"early one two one "


def test_a_client_that_is_busy_gets_its_event_with_the_others():
    """What waits is joined at the end of the turn: a clean end of the turn still comes after it."""
    writer, turns = turning()
    (connection,), (transport,) = some(1, writer)
    transport.stalled = True
    assert writer.deliver([connection], b"fills the socket").done
    turns.finish()
    delivery = writer.deliver([connection], b"waits")
    assert not delivery.done
    connection.close(reconnect=False)
    turns.finish()
    assert not delivery.done
    transport.leave()
    assert delivery.failures == [Failure(None, connection, "server")]


def test_without_an_event_loop_everything_is_written_at_once():
    """A writer that has met no loop has written when the call returns, each delivery on its own."""
    writer = Writer()
    connections, transports = some(2, writer)
    first = writer.deliver(connections, b"a")
    assert first.done
    second = writer.deliver(connections, b"b")
    assert second.done
    assert first is not second
    assert [transport.writes for transport in transports] == [[chunked(b"a"), chunked(b"b")]] * 2
    assert not writer.pending


def test_what_one_receiver_gets_in_a_turn_leaves_in_one_write():
    """Ten events of one turn are one chunk in one write, made once, the very same bytes for all that share it."""
    writer, turns = turning()
    connections, transports = some(50, writer)
    deliveries = {writer.deliver(connections, b"%d" % number) for number in range(10)}
    turns.turn()
    assert [transport.writes for transport in transports] == [[chunked(b"0123456789")]] * 50
    assert len({id(transport.writes[0]) for transport in transports}) == 1
    assert len(deliveries) == 1


def test_events_for_the_same_receivers_share_a_delivery():
    """Equal receivers share what becomes of their events while nothing for others comes between, in one turn only."""
    writer, turns = turning()
    connections, transports = some(3, writer)
    first = writer.deliver(connections, b"a")
    assert writer.deliver(list(connections), b"b") is first
    other = writer.deliver(connections[:2], b"c")
    third = writer.deliver(connections, b"d")
    assert len({first, other, third}) == 3
    turns.turn()
    assert writer.deliver(connections, b"e") not in {first, other, third}
    turns.turn()
    assert written(transports) == [chunked(b"abcd") + chunked(b"e")] * 2 + [
        chunked(b"abd") + chunked(b"e")
    ]


def test_one_payload_is_not_copied():
    """A single event reaches receivers without the direct way as the very bytes that were delivered."""
    writer, turns = turning()
    connection, transport = recording_connection(writer=writer)
    payload = b"data: x\n\n"
    writer.deliver([connection], payload)
    turns.turn()
    assert transport.writes[0] is payload


def test_a_delivery_to_nobody_is_done_when_the_turn_is():
    """Deliveries without receivers are done with the turn, alone or among others."""
    writer, turns = turning()
    nobody = writer.deliver([], b"a")
    turns.turn()
    assert (nobody.done, nobody.reached) == (True, 0)
    connections, transports = some(1, writer)
    deliveries = [
        writer.deliver([], b"b"),
        writer.deliver(connections, b"c"),
        writer.deliver([], b"d"),
    ]
    turns.turn()
    assert [delivery.done for delivery in deliveries] == [True] * 3
    assert transports[0].writes == [chunked(b"c")]


MEMBERS = 5
SUBSETS = st.lists(st.integers(0, MEMBERS - 1), unique=True, max_size=MEMBERS)


@settings(deadline=None, max_examples=300)
@given(
    script=st.lists(st.lists(SUBSETS, max_size=6), max_size=6),
    slice_size=st.integers(1, MEMBERS + 1),
    direct=st.lists(st.booleans(), min_size=MEMBERS, max_size=MEMBERS),
)
def test_each_receiver_gets_exactly_what_was_delivered_to_it(script, slice_size, direct):
    """However receivers differ, each gets its events in the order of dispatch, in one write a turn, shared where equal."""
    writer, turns = turning(slice_size=slice_size)
    pairs = [recording_connection(frame=chunked, direct=one, writer=writer) for one in direct]
    expected = [[] for _ in pairs]
    number = 0
    for turn in script:
        got = [b""] * MEMBERS
        leaving = Leaving()
        deliveries = []
        for subset in turn:
            number += 1
            payload = b"<%d>" % number
            deliveries.append(writer.deliver([pairs[member][0] for member in subset], payload))
            if leaving.deliver(subset, fails=not all(direct[member] for member in subset)):
                expected[subset[0]].append(chunked(payload))
                assert pairs[subset[0]][1].writes == expected[subset[0]]
                continue
            for member in subset:
                got[member] += payload
        turns.finish()
        for member, payload in enumerate(got):
            if payload:
                expected[member].append(chunked(payload))
        assert [transport.writes for _, transport in pairs] == expected
        assert all(delivery.done and not delivery.failures for delivery in deliveries)
        # Those that share what they got and how, share the bytes.
        shared = {}
        for member, (_, transport) in enumerate(pairs):
            if got[member] and direct[member]:
                assert shared.setdefault(got[member], transport.writes[-1]) is transport.writes[-1]


@settings(deadline=None, max_examples=300)
@given(
    script=st.lists(st.one_of(SUBSETS, st.sampled_from(("turn", "flush"))), max_size=30),
    slice_size=st.integers(1, MEMBERS),
)
def test_the_order_of_writing_is_the_order_of_dispatch(script, slice_size):
    """Whenever slices, turns and flushes come, nothing is lost, doubled or overtaken, and done means written to all."""
    writer, turns = turning(slice_size=slice_size)
    connections, transports = some(MEMBERS, writer)
    expected = [b""] * MEMBERS
    told = []
    for number, step in enumerate(script):
        if step == "turn":
            turns.turn()
        elif step == "flush":
            writer.flush()
            assert not writer.pending
        else:
            payload = b"<%d>" % number
            delivery = writer.deliver([connections[member] for member in step], payload)
            told += [(delivery, transports[member], payload) for member in step]
            for member in step:
                expected[member] += payload
        for delivery, transport, payload in told:
            assert payload in transport.written or not delivery.done
    assert turns.finish() or not writer.pending
    assert all(delivery.done for delivery, _, _ in told)
    for transport, payload in zip(transports, expected, strict=True):
        assert unchunked(transport) == payload


# -- slices


def test_a_large_fan_out_is_written_in_slices():
    """No turn writes to more receivers than a slice has; the loop turns in between, and the last turn is the last."""
    writer, turns = turning(slice_size=4)
    connections, transports = some(10, writer)
    delivery = writer.deliver(connections, b"x")
    reached = []
    while turns.waiting:
        turns.turn()
        reached.append(sum(bool(transport.writes) for transport in transports))
        assert delivery.done == (reached[-1] == 10)
    assert reached == [4, 8, 10]


def test_a_slice_is_counted_over_all_that_was_delivered():
    """Many small fan-outs are no more work for one turn than a large one."""
    writer, turns = turning(slice_size=4)
    connections, transports = some(9, writer)
    deliveries = [writer.deliver(connections[begin : begin + 3], b"x") for begin in (0, 3, 6)]
    done = []
    while turns.waiting:
        turns.turn()
        done.append(
            (sum(bool(one.writes) for one in transports), sum(one.done for one in deliveries))
        )
    assert done == [(4, 1), (8, 2), (9, 3)]


def test_what_is_delivered_between_slices_comes_after_them():
    """A turn's events are all written before the next turn's, which then leave joined, also to those already served."""
    writer, turns = turning(slice_size=2)
    connections, transports = some(3, writer)
    writer.deliver(connections, b"a")
    turns.turn()
    writer.deliver(connections, b"b")
    writer.deliver(connections, b"c")
    assert len(turns.waiting) == 1
    turns.turn()
    assert [transport.writes for transport in transports] == [[chunked(b"a")]] * 3
    turns.finish()
    assert [transport.writes for transport in transports] == [[chunked(b"a"), chunked(b"bc")]] * 3


def test_a_slice_is_as_large_as_is_said():
    """The default slice is about a millisecond of work."""
    assert Writer().slice_size == SLICE == 100
    assert Writer(slice_size=7).slice_size == 7


# -- failures


def test_failures_are_told_in_every_delivery_they_missed():
    """Who failed is listed, with key and reason, in each delivery of the turn that was for him, and in no other."""
    writer, turns = turning()
    connections, transports = some(3, writer)
    connections[0].key = ("default", ("lobby", "ann"))
    transports[0].break_silently()
    first = writer.deliver(connections, b"a")
    second = writer.deliver(connections[1:], b"b")
    third = writer.deliver(connections[:2], b"c")
    turns.turn()
    failure = Failure(("default", ("lobby", "ann")), connections[0], "client")
    assert [delivery.failures for delivery in (first, second, third)] == [[failure], [], [failure]]
    assert [delivery.reached for delivery in (first, second, third)] == [2, 2, 1]
    assert written(transports[1:]) == [chunked(b"abc"), chunked(b"ab")]


@pytest.mark.parametrize(
    "error", [BrokenPipeError(), ConnectionResetError(), OSError(9, "bad descriptor")]
)
def test_an_error_of_a_socket_stops_nobody(error):
    """Whatever error a send meets, the others get the event, and the one is ended with the reason client."""
    connections, transports = some(3)
    transports[1].outcome = error
    delivery = Writer().deliver(connections, b"x")
    assert (delivery.done, delivery.failures) == (True, [Failure(None, connections[1], "client")])
    assert written(transports) == [chunked(b"x"), b"", chunked(b"x")]
    assert [transport.ending for transport in transports] == [None, "aborted", None]


def test_short_sends_are_reached_and_counted():
    """Who took a part, or could take nothing now, is reached and counted as one that waits, in each delivery."""
    writer, turns = turning()
    connections, transports = some(4, writer)
    transports[0].outcome, transports[0].stalled = 3, True
    transports[2].stalled = True
    first = writer.deliver(connections, b"a")
    second = writer.deliver(connections[:1], b"b")
    turns.turn()
    assert [(one.reached, one.waited, one.failures) for one in (first, second)] == [
        (4, 2, []),
        (1, 1, []),
    ]
    assert written(transports) == [chunked(b"ab"), chunked(b"a"), chunked(b"a"), chunked(b"a")]
    assert [connection.outbox for connection in connections] == [4, 0, 6, 0]


def test_who_took_everything_by_another_way_has_not_waited():
    """A receiver without the direct way, such as one of HTTP/1.0, for which nothing waits is not counted as waiting."""
    connection, transport = recording_connection()
    delivery = Writer().deliver([connection], b"x")
    assert (transport.written, connection.outbox) == (b"x", 0)
    assert delivery.waited == 0


def test_a_receiver_that_overflows_stops_nobody():
    """A slow receiver is ended where its outbox overflows, and told with the reason slow; the others get everything."""
    writer, turns = turning()
    connections, transports = some(3, writer, max_outbox=10)
    transports[1].stalled = True
    for payload in (b"1", b"2345", b"6789ab"):
        told = [writer.deliver(connections, payload), writer.deliver(connections[1:], b"!")]
        turns.turn()
        # The first is on its way, 7 bytes in its chunk; of the second turn five bytes do not fit.
        expected = [] if payload == b"1" else [Failure(None, connections[1], "slow")]
        assert [delivery.failures for delivery in told] == [expected] * 2
    assert written(transports) == [
        b"".join(map(chunked, (b"1", b"2345", b"6789ab"))),
        chunked(b"1!"),
        b"".join(map(chunked, (b"1!", b"2345!", b"6789ab!"))),
    ]


TROUBLE = st.one_of(
    SUBSETS,
    st.tuples(st.sampled_from(("break", "leave", "close")), st.integers(0, MEMBERS - 1)),
    st.tuples(
        st.just("short"), st.integers(0, MEMBERS - 1), st.one_of(st.none(), st.integers(0, 9))
    ),
)


@settings(deadline=None, max_examples=300)
@given(
    script=st.lists(st.lists(TROUBLE, max_size=6), max_size=6), slice_size=st.integers(1, MEMBERS)
)
def test_trouble_of_some_is_told_and_no_trouble_of_others(script, slice_size):
    """Whoever breaks, leaves, is closed or takes little, the others get all of theirs, and each delivery tells who did not."""
    writer, turns = turning(slice_size=slice_size)
    connections, transports = some(MEMBERS, writer)
    expected = [b""] * MEMBERS
    broken, dead, told = set(), {}, []
    number = 0
    for turn in script:
        deliveries = []
        leaving = Leaving()
        got = [b""] * MEMBERS

        def write_down(deliveries=deliveries, got=got):
            """What is written now reaches those that live, and shows who does not."""
            for member, payload in enumerate(got):
                if payload and member in broken:
                    dead.setdefault(member, "client")
                if payload and member not in dead:
                    expected[member] += payload
                got[member] = b""
            for delivery, to in deliveries:
                told.append((delivery, [(member, dead[member]) for member in to if member in dead]))
            deliveries.clear()

        for step in turn:
            if isinstance(step, list):
                number += 1
                payload = b"<%d>" % number
                delivery = writer.deliver([connections[member] for member in step], payload)
                if leaving.deliver(step, fails=bool(step) and step[0] in broken | dead.keys()):
                    expected[step[0]] += payload
                    told.append((delivery, []))
                    continue
                deliveries.append((delivery, step))
                for member in step:
                    got[member] += payload
                continue
            kind, member, *outcome = step
            if kind == "break":
                transports[member].break_silently()
                broken.add(member)
            elif kind == "short":
                transports[member].outcome = outcome[0]
            elif kind == "leave":
                transports[member].leave()
                dead.setdefault(member, "client")
            elif member not in dead:
                # How much a close has written is not the matter here.
                write_down()
                writer.flush()
                leaving.flush()
                connections[member].close()
                dead.setdefault(member, "server")
        write_down()
        turns.finish()
        assert [unchunked(transport) for transport in transports] == expected
        for delivery, failed in told:
            assert delivery.done
            assert sorted(
                (connections.index(one.connection), one.reason) for one in delivery.failures
            ) == sorted(failed)


# -- what ends set off


def test_what_an_end_delivers_is_written_in_the_next_turn():
    """What is delivered by somebody who was told of an end comes after the event, joined, one turn later."""
    writer, turns = turning()
    connections = []
    gone, gone_transports = some(2, writer, on_end=lambda one: writer.deliver(connections, b"bye"))
    live, transports = some(2, writer)
    connections += live
    for transport in gone_transports:
        transport.break_silently()
    writer.deliver([*gone, *live], b"x")
    turns.turn()
    assert written(transports) == [chunked(b"x")] * 2
    turns.turn()
    assert written(transports) == [chunked(b"x") + chunked(b"byebye")] * 2
    assert turns.waiting == []


def test_a_turn_is_asked_for_once():
    """What is left of a turn's slices and what ends deliver meanwhile are written by one and the same callback."""
    writer, turns = turning(slice_size=1)
    live, transports = some(2, writer)
    gone, gone_transports = some(1, writer, on_end=lambda one: writer.deliver(live, b"bye"))
    gone_transports[0].break_silently()
    writer.deliver([*gone, *live], b"x")
    asked = []
    while turns.waiting:
        asked.append(len(turns.waiting))
        turns.turn()
    assert asked == [1] * 5
    assert written(transports) == [chunked(b"x") + chunked(b"bye")] * 2


def test_a_thousand_dead_do_not_recurse():
    """However many have gone, what their ends deliver at once is written by the outermost call, in one write."""
    live, transports = some(3)
    writer = Writer()
    depths = []

    def farewell(gone):
        depths.append(len(_stack()))
        writer.deliver(live, b"bye")

    gone, gone_transports = some(1000, on_end=farewell)
    for transport in gone_transports:
        transport.break_silently()
    delivery = writer.deliver([*gone, *live], b"x")
    assert (delivery.done, delivery.reached, len(depths), len(set(depths))) == (True, 3, 1000, 1)
    assert [transport.writes for transport in transports] == [
        [chunked(b"x"), chunked(b"bye" * 1000)]
    ] * 3


def _stack():
    frames, frame = [], sys._getframe()
    while frame is not None:
        frames.append(frame.f_code.co_name)
        frame = frame.f_back
    return frames


@pytest.mark.parametrize("by_turns", [False, True])
def test_many_dead_whose_ends_close_others_do_not_recurse(by_turns):
    """An end that says goodbye and closes somebody else, as a purge does, is no deeper for the last than for the first."""
    writer, turns = turning() if by_turns else (Writer(), Turns())
    depths = []
    live, transports = some(1, writer)
    others, other_transports = some(200, writer)

    def farewell(gone):
        depths.append(len(_stack()))
        writer.deliver([*rest, *live], b"!")
        others[len(depths) - 1].close()

    gone, gone_transports = some(200, writer, on_end=farewell)
    rest = list(gone)
    for transport in gone_transports:
        transport.break_silently()
    delivery = writer.deliver([*gone, *live], b"x")
    turns.finish()
    assert max(depths) - min(depths) < 50
    assert (delivery.done, delivery.reached, len(depths)) == (True, 1, 200)
    assert sum(write.count(b"!") for write in transports[0].writes) == 200
    assert {transport.ending for transport in other_transports} == {"aborted"}


@pytest.mark.parametrize("by_turns", [False, True])
def test_ends_that_deliver_much_do_not_recurse(by_turns, monkeypatch):
    """Ends that each deliver more than a turn may hold are no deeper for the last than for the first."""
    monkeypatch.setattr(writer_module, "MAX_TURN", 10)
    writer, turns = turning() if by_turns else (Writer(), Turns())
    depths = []
    live, transports = some(1, writer)

    def farewell(gone):
        depths.append(len(_stack()))
        writer.deliver([*rest, *live], b"12345678901")

    gone, gone_transports = some(200, writer, on_end=farewell)
    rest = list(gone)
    for transport in gone_transports:
        transport.break_silently()
    delivery = writer.deliver([*gone, *live], b"x")
    turns.finish()
    assert max(depths) - min(depths) < 50
    assert (delivery.done, delivery.reached, len(depths)) == (True, 1, 200)
    assert sum(write.count(b"12345678901") for write in transports[0].writes) == 200


@pytest.mark.parametrize("act", ["flush", "close"])
def test_an_end_between_slices_that_writes_the_rest(act):
    """An end in a slice may have everything written, or close somebody; order and account stay right."""
    writer, turns = turning(slice_size=2)
    live, transports = some(3, writer)

    def farewell(gone):
        writer.deliver(live, b"bye")
        writer.flush() if act == "flush" else live[2].close()

    gone, gone_transports = some(2, writer, on_end=farewell)
    for transport in gone_transports:
        transport.break_silently()
    delivery = writer.deliver([gone[0], live[0], gone[1], *live[1:]], b"x")
    turns.finish()
    assert delivery.done
    assert sorted(failure.connection is gone[1] for failure in delivery.failures) == [False, True]
    for transport in transports[:2]:
        assert unchunked(transport) == b"xbyebye"
    # Who is closed gets everything at once; who is not, in its turn.
    assert unchunked(transports[2]).startswith(b"x")
    assert not writer.pending


def test_a_delivery_is_not_done_before_its_last_failure_is_told():
    """Whoever sees a delivery done sees all of its failures, also from inside an end that has the rest written."""
    writer, turns = turning(slice_size=2)
    seen = []

    def farewell(one):
        writer.flush()
        seen.append((delivery.done, len(delivery.failures)))

    gone, gone_transports = some(2, writer, on_end=farewell)
    live, _ = some(1, writer)
    for transport in gone_transports:
        transport.break_silently()
    delivery = writer.deliver([*gone, *live], b"x")
    turns.finish()
    assert all(failures == 2 for done, failures in seen if done)
    assert (delivery.done, len(delivery.failures), len(seen)) == (True, 2, 2)


def test_a_receiver_that_missed_something_gets_nothing_more():
    """Whose send failed gets no later event before it is cut, although its socket would take it: no hole without a cut."""
    writer = Writer()
    connections, transports = some(2)

    def farewell(gone):
        transports[1].outcome = None
        writer.deliver([connections[1]], b"later")
        writer.flush()

    connections[0], transports[0] = recording_connection(
        frame=chunked, direct=True, on_end=farewell
    )
    transports[0].break_silently()
    transports[1].outcome = OSError(105, "no buffer space available")
    delivery = writer.deliver(connections, b"x")
    assert (delivery.reached, transports[1].writes, transports[1].ending) == (0, [], "aborted")


def test_an_end_that_closes_one_that_has_failed_too():
    """Of two that failed together, the first one's end may close the second: each ends once, and is told once."""
    ended = []

    def farewell(gone):
        ended.append(gone)
        for one in gone_ones:
            one.close(reason="revoked")

    gone_ones, transports = some(2, on_end=farewell)
    for transport in transports:
        transport.break_silently()
    delivery = Writer().deliver(gone_ones, b"x")
    assert ended == gone_ones
    assert [failure.connection for failure in delivery.failures] == gone_ones
    assert [connection.reason for connection in gone_ones] == ["client", "revoked"]
    assert [transport.ending for transport in transports] == ["aborted", "aborted"]


def test_an_end_that_closes_one_whose_turn_has_not_come():
    """Closing a receiver between slices comes after what was delivered to it before; it has been reached."""
    writer, turns = turning(slice_size=1)
    live, transports = some(1, writer)
    gone, gone_transports = some(1, writer, on_end=lambda one: live[0].close())
    gone_transports[0].break_silently()
    delivery = writer.deliver([*gone, *live], b"x")
    turns.finish()
    assert (transports[0].writes, transports[0].ending) == ([chunked(b"x")], "aborted")
    assert [failure.connection for failure in delivery.failures] == gone


def test_closing_somebody_has_nothing_written_for_others():
    """Who is closed and awaits nothing does not end the turn of others: what they get in it still leaves in one write."""
    writer, turns = turning()
    live, transports = some(3, writer)
    leaving, _ = some(50, writer)
    for connection in leaving:
        connection.close(reason="expired")
        writer.deliver(live, b"!")
    turns.finish()
    assert [transport.writes for transport in transports] == [[chunked(b"!" * 50)]] * 3


def test_last_words_are_handed_out_once():
    """Who is closed gets what awaits him from slices under way and from this turn, once; nobody else's is written for it."""
    writer, turns = turning(slice_size=1)
    connections, transports = some(3, writer)
    first = writer.deliver(connections, b"a")
    turns.turn()
    second = writer.deliver(connections[1:], b"b")
    connections[2].close()
    assert written(transports) == [chunked(b"a"), b"", chunked(b"ab")]
    turns.finish()
    assert written(transports) == [chunked(b"a"), chunked(b"a") + chunked(b"b"), chunked(b"ab")]
    assert [(one.done, one.reached, one.failures) for one in (first, second)] == [
        (True, 3, []),
        (True, 2, []),
    ]


def test_who_has_been_served_gets_no_last_words_twice():
    """Closing a receiver whose slice has been written, while others still await theirs, writes nothing again."""
    writer, turns = turning(slice_size=1)
    connections, transports = some(2, writer)
    writer.deliver(connections, b"a")
    turns.turn()
    connections[0].close()
    turns.finish()
    assert written(transports) == [chunked(b"a")] * 2


def test_a_writer_keeps_nobody_who_was_closed():
    """Once the turn is written, a writer holds on to no receiver, also not to one that was handed its last words."""
    writer, turns = turning()
    connections, transports = some(2, writer)
    writer.deliver(list(connections), b"a")
    connections[1].close()
    turns.finish()
    gone = [weakref.ref(connection) for connection in connections]
    connections.clear()
    transports.clear()
    gc.collect()
    assert [one() for one in gone] == [None, None]


def test_what_is_delivered_after_a_close_has_failed():
    """What comes for somebody who was closed in the same turn is told as a failure, although earlier words were written."""
    writer, turns = turning()
    connections, transports = some(2, writer)
    writer.deliver(connections, b"a")
    connections[1].close(reason="shutdown")
    late = writer.deliver([connections[1]], b"late")
    turns.finish()
    assert written(transports) == [chunked(b"a"), chunked(b"a")]
    assert (late.done, late.failures) == (True, [Failure(None, connections[1], "shutdown")])


def test_what_interrupts_the_process_leaves_a_writer_that_writes():
    """An interrupt in the midst of writing passes through, and later deliveries are written all the same."""

    def interrupt(gone):
        raise KeyboardInterrupt

    writer = Writer()
    gone, gone_transports = some(1, on_end=interrupt)
    live, transports = some(1)
    gone_transports[0].break_silently()
    with pytest.raises(KeyboardInterrupt):
        writer.deliver(gone, b"x")
    assert writer.deliver(live, b"y").done
    assert transports[0].writes == [chunked(b"y")]


# -- bounds, flushing, meeting a loop


def test_a_turn_that_does_not_end_is_written_at_its_bound():
    """Who delivers more than a turn may hold writes it himself, everything in order; at the bound nothing is written."""
    writer, turns = turning()
    connections, transports = some(2, writer)
    quarter = b"x" * (MAX_TURN // 4)
    for _ in range(4):
        delivery = writer.deliver(connections, quarter)
    assert transports[0].writes == []
    assert writer.deliver(connections[:1], b"y").done
    assert delivery.done
    assert transports[0].writes == [chunked(quarter * 4 + b"y")]
    assert transports[1].writes == [chunked(quarter * 4)]
    # It counts anew, and the callback that is still to come finds nothing.
    assert not writer.deliver(connections, b"z").done
    assert turns.finish() == 1
    assert transports[1].writes[1:] == [chunked(b"z")]


def test_flushing_writes_everything_now():
    """After a flush nothing is pending, however large the slices; the turn that was asked for has nothing to do."""
    writer, turns = turning(slice_size=1)
    connections, transports = some(3, writer)
    first = writer.deliver(connections, b"a")
    turns.turn()
    second = writer.deliver(connections, b"b")
    writer.flush()
    assert (first.done, second.done, writer.pending) == (True, True, False)
    assert [transport.writes for transport in transports] == [[chunked(b"a"), chunked(b"b")]] * 3
    assert turns.finish() == 1
    writer.flush()
    assert [len(transport.writes) for transport in transports] == [2, 2, 2]


def test_a_writer_that_leaves_its_loop_writes_at_once():
    """Told that there is no loop any more, a writer writes what is pending, and from then on at once."""
    writer, turns = turning()
    connections, transports = some(1, writer)
    delivery = writer.deliver(connections, b"a")
    writer.meet(None)
    assert (delivery.done, writer.pending) == (True, False)
    assert writer.deliver(connections, b"b").done
    assert transports[0].writes == [chunked(b"a"), chunked(b"b")]
    turns.turn()
    assert turns.waiting == []


def test_a_writer_that_meets_another_loop():
    """A writer that meets a second loop gathers by its turns; a callback left in the first one is asked for nothing."""
    writer, _ = turning()
    connections, transports = some(2, writer)
    writer.deliver(connections, b"a")
    second = Turns()
    writer.meet(second.call_soon)
    assert transports[0].writes == [chunked(b"a")]
    writer.deliver(connections, b"b")
    assert (len(transports[0].writes), len(second.waiting)) == (1, 1)
    second.turn()
    assert transports[0].writes == [chunked(b"a"), chunked(b"b")]


def test_an_end_that_takes_the_loop_away():
    """A writer that loses its loop in the midst of a slice asks it for no other turn, and has written everything."""
    writer, turns = turning(slice_size=1)
    gone, gone_transports = some(1, writer, on_end=lambda one: writer.meet(None))
    live, transports = some(2, writer)
    gone_transports[0].break_silently()
    writer.deliver([*gone, *live], b"x")
    turns.turn()
    assert (turns.waiting, writer.pending) == ([], False)
    assert written(transports) == [chunked(b"x")] * 2


def test_names_reach_the_receivers():
    """A receiver that conflates is given the name of each event of a turn, of one delivery or of several joined."""
    writer, turns = turning()
    connections, transports = some(2, writer, conflate=True)
    for transport in transports:
        transport.stalled = True
    writer.deliver(connections, b"first")
    turns.turn()
    writer.deliver(connections, b"[p1]", "price")
    writer.deliver(connections, b"[a]")
    writer.deliver(connections[:1], b"[q1]", "quote")
    writer.deliver(connections, b"[p2]", "price")
    writer.deliver(connections, b"[b]")
    turns.turn()
    assert [connection.outbox for connection in connections] == [10 + 14, 10 + 10]
    for transport in transports:
        transport.drain()
    assert [transport.writes[1] for transport in transports] == [
        chunked(b"[a][q1][p2][b]"),
        chunked(b"[a][p2][b]"),
    ]


# -- waiting for it


def test_settled_is_woken_when_the_delivery_is_done():
    """A task that awaits a delivery is woken once, when it is done, and gets the delivery."""
    writer, turns = turning(slice_size=2)
    connections, _ = some(5, writer)
    delivery = writer.deliver(connections, b"x")
    waiting = delivery.settled()
    wakeup = waiting.send(None)
    for _ in range(3):
        assert not wakeup.done()
        turns.turn()
    assert wakeup.done()
    with pytest.raises(StopIteration) as stopped:
        waiting.send(None)
    assert stopped.value.value is delivery


def test_a_wait_that_was_cancelled_is_not_woken():
    """The others that wait for the same delivery are."""
    writer, turns = turning()
    delivery = writer.deliver(some(2, writer)[0], b"x")
    first, second = delivery.settled(), delivery.settled()
    cancelled, wakeup = first.send(None), second.send(None)
    cancelled.cancel()
    turns.finish()
    assert wakeup.done()
    first.close()
    second.close()


def test_a_name_that_is_not_hashable_is_refused_before_anything_is_gathered():
    """The other clients get what was delivered, and the next event too."""
    writer, turns = turning()
    connections, transports = some(2, writer)
    writer.deliver(connections, b"[a]")
    with pytest.raises(TypeError, match=r"conflate=\['price'\] is not a valid name"):
        writer.deliver(connections, b"[b]", ["price"])
    writer.deliver(connections, b"[c]")
    turns.finish()
    assert [transport.writes for transport in transports] == [[chunked(b"[a][c]")]] * 2


def test_an_exception_of_one_transport_ends_its_stream_alone(caplog):
    """The receivers after it get the event, and the delivery is done and names the failure."""
    writer, turns = turning()
    connections, transports = some(3, writer)
    # A full socket makes the connection call the transport, whose fault is not an OSError.
    connections[1].write = lambda framed: 0
    transports[1].write = lambda data: data.missing
    delivery = writer.deliver(connections, b"x")
    turns.finish()
    assert delivery.done
    assert [failure.connection for failure in delivery.failures] == [connections[1]]
    assert connections[1].closed
    assert transports[0].writes == transports[2].writes == [chunked(b"x")]
    assert "failed to take an event" in caplog.text


def test_a_settled_delivery_is_not_waited_for():
    """Awaiting what is done already gives the loop no turn."""
    connections, _ = some(1)
    delivery = Writer().deliver(connections, b"x")
    with pytest.raises(StopIteration) as stopped:
        delivery.settled().send(None)
    assert stopped.value.value is delivery


def test_turns_of_a_real_event_loop():
    """In an event loop a fan-out is written in slices, between which others have their turn, and can be awaited."""

    async def fan_out():
        loop = asyncio.get_running_loop()
        writer = Writer(slice_size=10)
        writer.meet(loop.call_soon, loop.create_future)
        connections, transports = some(45, writer)
        seen = []

        def look():
            seen.append(sum(bool(transport.writes) for transport in transports))
            if seen[-1] < len(transports):
                loop.call_soon(look)

        loop.call_soon(look)
        delivery = await writer.deliver(connections, b"x").settled()
        assert delivery.done
        return seen

    assert asyncio.run(fan_out()) == [0, 10, 20, 30, 40, 45]


# -- compressing


def test_each_receiver_gets_the_bytes_that_it_can_read():
    """With compression an event is made once for each kind of receiver: plain, compressed, still opening."""
    writer, turns = turning(slice_size=2, compressor=SharedCompressor())
    pairs = [
        recording_connection(frame=chunked, direct=True, writer=writer, opened=False)
        for _ in range(7)
    ]
    for number, (connection, transport) in enumerate(pairs[:6]):
        if number % 2:
            transport.writes.append(chunked(HEADER))
        connection.open(transport, compressed=bool(number % 2))
    everybody = [connection for connection, _ in pairs]
    deliveries = [writer.deliver(everybody, b"data: %d\n\n" % number) for number in range(3)]
    deliveries.append(writer.deliver(everybody[:4], b"data: x\n\n"))
    turns.turn()
    assert not deliveries[0].done
    # Whether it compresses is decided while a slice is on its way.
    transport = pairs[6][1]
    transport.writes.append(chunked(HEADER))
    pairs[6][0].open(transport, compressed=True)
    turns.finish()
    assert all(delivery.done and not delivery.failures for delivery in deliveries)
    for number, (_, transport) in enumerate(pairs):
        body = unchunked(transport)
        text = b"data: 0\n\ndata: 1\n\ndata: 2\n\n" + (b"data: x\n\n" if number < 4 else b"")
        assert (zlib.decompressobj(31).decompress(body) if number in {1, 3, 5, 6} else body) == text
    for one, other in ((0, 2), (1, 3)):
        assert pairs[one][1].writes[-1] is pairs[other][1].writes[-1]


# -- what it costs


class Alarm:
    """Rings when an object that the garbage collector tracks is made between two writes, however briefly it lives.

    The first write leaves the youngest generation so full that the next new object starts a collection.
    """

    def __init__(self):
        self.armed = False
        self.rung = 0
        self.kept = None

    def ring(self, phase, facts):
        self.rung += self.armed and phase == "start"

    def first(self, framed):
        gc.collect()
        gc.set_threshold(10**6)
        # What is let go of here would lie ready to be used again, and then not be counted as new.
        self.kept = [[[] for _ in range(100)], gc.get_count()]
        gc.set_threshold(self.kept[1][0])
        self.armed = True
        return len(framed)

    def last(self, framed):
        self.armed = False
        return len(framed)


def listen(alarm, writes):
    """Deliver one event to connections whose sockets take it in these ways; returns how often the alarm rang."""
    receivers = []
    for write in (alarm.first, *writes, alarm.last):
        connection = Connection()
        transport = RecordingTransport(connection, frame=chunked, direct=True)
        transport.direct = write
        connection.open(transport)
        receivers.append(connection)
    thresholds, tracer = gc.get_threshold(), sys.gettrace()
    # A tracer, such as one that measures coverage, makes objects of its own.
    sys.settrace(None)
    gc.callbacks.append(alarm.ring)
    try:
        delivery = Writer().deliver(receivers, b"data: x\n\n")
    finally:
        sys.settrace(tracer)
        gc.callbacks.remove(alarm.ring)
        gc.set_threshold(*thresholds)
    assert (delivery.reached, delivery.waited) == (len(receivers), 0)
    return alarm.rung


def test_the_loop_over_receivers_makes_no_object():
    """One event to a thousand receivers makes no object that the garbage collector would have to look at, not one."""
    assert listen(Alarm(), [len] * 1000) == 0

    # The alarm is trusted because it rings for a single object of one receiver, forgotten at once.
    def wasteful(framed):
        return len([framed][0])

    assert listen(Alarm(), [*[len] * 500, wasteful, *[len] * 499]) == 1


@pytest.mark.parametrize("by_turns", [False, True])
def test_a_fan_out_keeps_nothing_for_each_receiver(by_turns):
    """What a delivery costs in memory is the same for a thousand receivers and for ten, before the first write, while it goes on and afterwards."""

    def cost(number):
        writer, turns = turning(slice_size=10**6) if by_turns else (Writer(), Turns())
        blocks = []

        def look(framed):
            blocks.append(sys.getallocatedblocks())
            return len(framed)

        receivers = []
        for write in (look, *[len] * number, look):
            connection = Connection(writer=writer)
            transport = RecordingTransport(connection, frame=chunked, direct=True)
            transport.direct = write
            connection.open(transport)
            receivers.append(connection)
        # What lies ready to be used again would not be counted as new.
        gc.collect()
        blocks.append(sys.getallocatedblocks())
        delivery = writer.deliver(receivers, b"x" * 300)
        turns.finish()
        blocks.append(sys.getallocatedblocks())
        assert delivery.reached == number + 2
        before, first, last, after = blocks
        return first - before, last - first, after - before

    for few, many in zip(cost(10), cost(1000), strict=True):
        assert many - few < 20


# -- what it shows


def test_what_a_writer_and_a_delivery_show():
    """Their reprs tell what is pending, and what became of it so far."""
    writer, turns = turning(slice_size=2)
    connections, transports = some(4, writer)
    transports[0].break_silently()
    transports[1].stalled = True
    delivery = writer.deliver(connections, b"a")
    assert repr(writer) == "<Writer: 1 deliveries gathered, 0 jobs under way>"
    assert repr(delivery) == "<Delivery under way: 4 reached, 0 waited, 0 failed>"
    turns.turn()
    assert repr(writer) == "<Writer: 0 deliveries gathered, 1 jobs under way>"
    assert repr(delivery) == "<Delivery under way: 3 reached, 1 waited, 1 failed>"
    turns.turn()
    assert repr(delivery) == "<Delivery done: 3 reached, 1 waited, 1 failed>"


class Walks(list):
    """Receivers that count how often a search goes through them."""

    count = 0

    def __contains__(self, receiver):
        self.count += 1
        return super().__contains__(receiver)


def test_ends_of_many_streams_walk_through_no_delivery_again():
    """A turn that ends each receiver of a fan-out looks each up, and each gets the event once."""
    writer, turns = turning()
    connections, transports = some(20, writer)
    receivers = Walks(connections)
    writer.deliver(receivers, b"x")
    for connection in connections:
        connection.close()
    turns.finish()
    assert receivers.count == 0
    assert [transport.writes for transport in transports] == [[chunked(b"x")]] * 20

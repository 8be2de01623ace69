"""The hub's one timer: it rings when something is due, and survives what it meets."""

import asyncio
import heapq

import pytest
from support.logs import raised

from sfere_tornado.hub.alarm import AFTER_FAILURE, LATE_DELAY, Alarm
from sfere_tornado.hub.lease_clock import LATE, LeaseClock


class Loop:
    """An event loop's timers in the hand of a test."""

    def __init__(self):
        self.now = 100.0
        self._timers = []

    def time(self):
        return self.now

    def call_at(self, when, callback):
        handle = asyncio.TimerHandle(when, callback, (), self)
        heapq.heappush(self._timers, handle)
        return handle

    def advance(self, seconds):
        end = self.now + seconds
        while self._timers and self._timers[0].when() <= end:
            handle = heapq.heappop(self._timers)
            self.now = max(self.now, handle.when())
            if not handle.cancelled():
                handle._run()
        self.now = end

    def get_debug(self):
        return False

    def _timer_handle_cancelled(self, handle):
        pass

    def pending(self):
        return [handle.when() for handle in sorted(self._timers) if not handle.cancelled()]


class Due:
    """Something that is due at a time, and again some seconds after each ring."""

    def __init__(self, loop, at, every=10.0):
        self.loop, self.at, self.every = loop, at, every
        self.rings = []

    def due_in(self):
        return self.at - self.loop.now

    def ring(self):
        self.rings.append(self.loop.now)
        self.at = self.loop.now + self.every


def test_it_rings_when_something_is_due_and_not_before():
    """One timer, always set for the next thing."""
    loop = Loop()
    due = Due(loop, at=103.0)
    alarm = Alarm(loop, LeaseClock(loop.time), due.due_in, due.ring)
    assert repr(alarm) == "<Alarm not set>"
    alarm.set()
    assert repr(alarm) == "<Alarm set>"
    loop.advance(2.9)
    assert due.rings == []
    loop.advance(30)
    assert due.rings == [103.0, 113.0, 123.0]
    assert loop.pending() == [133.0]


def test_it_is_set_earlier_but_never_needs_to_be_set_later():
    """What is due earlier moves it; what moved later lets it ring once for nothing, and no second timer is left."""
    loop = Loop()
    due = Due(loop, at=110.0)
    alarm = Alarm(loop, LeaseClock(loop.time), due.due_in, due.ring)
    alarm.set()
    due.at = 104.0
    alarm.set()
    assert loop.pending() == [104.0]
    due.at = 108.0
    alarm.set()
    assert loop.pending() == [104.0]
    loop.advance(4)
    assert due.rings == [104.0]


def test_what_is_overdue_rings_in_the_next_turn():
    """A time in the past is now."""
    loop = Loop()
    due = Due(loop, at=50.0)
    Alarm(loop, LeaseClock(loop.time), due.due_in, due.ring).set()
    assert loop.pending() == [100.0]


def test_stopped_it_never_rings_again():
    """Neither after stop() nor when the ring itself stops it."""
    loop = Loop()
    due = Due(loop, at=101.0)
    alarm = Alarm(loop, LeaseClock(loop.time), due.due_in, due.ring)
    alarm.stop()
    alarm.set()
    alarm.stop()
    loop.advance(100)
    assert due.rings == []
    assert repr(alarm) == "<Alarm stopped>"

    rings = []
    alarm = Alarm(
        loop, LeaseClock(loop.time), lambda: 1.0, lambda: (rings.append(loop.now), alarm.stop())
    )
    alarm.set()
    loop.advance(100)
    assert len(rings) == 1
    assert loop.pending() == []


def test_a_failing_ring_is_logged_and_tried_again_later(caplog):
    """What fails is due at once again: it is not tried in every turn of the loop, which would do nothing else."""
    loop = Loop()
    rings = []

    def fail():
        rings.append(loop.now)
        raise ZeroDivisionError

    alarm = Alarm(loop, LeaseClock(loop.time), lambda: -5.0, fail)
    alarm.set()
    for _ in range(7):
        loop.advance(0.5)
        # As each stream that is opened does.
        alarm.set()
    assert rings == [100.0 + n * AFTER_FAILURE for n in range(4)]
    assert len(raised(caplog, "ZeroDivisionError")) == 4


def test_one_that_is_late_lets_what_came_in_be_read_first():
    """After a block of the loop it waits for a moment, and none of that time counts for leases."""
    loop = Loop()
    due = Due(loop, at=102.0)
    clock = LeaseClock(loop.time)
    alarm = Alarm(loop, clock, due.due_in, due.ring)
    alarm.set()
    loop.now = 103.0 + LATE  # blocked
    assert clock() == pytest.approx(102.0, abs=0.01)
    assert clock() < 102.0
    loop.advance(0.0)
    assert (due.rings, clock() < 102.0) == ([], True)
    alarm.set()
    loop.advance(LATE_DELAY)
    assert due.rings == [103.0 + LATE + LATE_DELAY]
    assert clock() == pytest.approx(102.0, abs=0.01)
    assert clock() < 102.0
    loop.advance(5.0)
    assert clock() == pytest.approx(107.0, abs=0.01)

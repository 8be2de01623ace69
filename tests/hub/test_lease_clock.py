"""The clock of leases: it goes with the timer, and stands still while the alarm is overdue."""

import pytest

from sfere_tornado.hub.lease_clock import LATE, LeaseClock
from sfere_tornado.testing import FakeClock


def clocks():
    """Return the clock of leases, its timer and the loop's clock."""
    timer, loop = FakeClock(), FakeClock(5.0)
    return LeaseClock(timer), timer, loop


def test_it_goes_with_its_timer():
    """While the alarm is not overdue it is the timer."""
    clock, timer, loop = clocks()
    for _ in range(10):
        clock.set_due(loop, loop() + 5.0)
        timer.advance(4.9)
        loop.advance(4.9)
        assert clock() == timer()
        clock.ring(late=False)
    assert repr(clock) == "<LeaseClock: stood still for 0 s>"


def test_time_in_which_the_process_stood_still_does_not_count():
    """After a minute's stop it shows just less than the time for which the alarm was set."""
    clock, timer, loop = clocks()
    clock.set_due(loop, loop() + 5.0)
    before = clock()
    timer.advance(60)
    loop.advance(60)
    # What ends at that very time has not ended for any reader.
    assert before + 5 - 1e-2 < clock() < before + 5
    assert clock() == clock()
    stands = clock()
    clock.ring(late=True)
    assert clock() == stands
    clock.set_due(loop, loop() + 5.0)
    timer.advance(3)
    loop.advance(3)
    assert clock() == stands + 3
    assert clock.stood_still == pytest.approx(55, abs=0.01)


def test_an_alarm_that_is_a_little_late_costs_nothing():
    """A busy loop rings some milliseconds late: time goes on as it did."""
    clock, timer, loop = clocks()
    clock.set_due(loop, loop() + 5.0)
    timer.advance(5.01)
    loop.advance(5.01)
    clock.ring(late=False)
    assert (clock(), clock.stood_still) == (timer(), 0.0)


def test_a_timer_of_its_own_is_the_applications():
    """A timer that jumps while the loop's clock does not, as in tests, is believed."""
    clock, timer, loop = clocks()
    clock.set_due(loop, loop() + 5.0)
    timer.advance(3600)
    assert clock() == timer()


def test_without_an_alarm_nothing_is_left_out():
    """Before a hub has started, and after it has stopped, no alarm is set."""
    clock, timer, loop = clocks()
    timer.advance(3600)
    assert clock() == timer()
    clock.set_due(loop, loop() + 5.0)
    clock.rest()
    timer.advance(3600)
    loop.advance(3600)
    assert clock() == timer()


def test_what_begins_while_the_alarm_is_a_little_overdue_does_not_end_early():
    """A short delay is counted when the alarm rings; it must not shorten a grace that has just begun."""
    clock, timer, loop = clocks()
    clock.set_due(loop, loop() + 5.0)
    for each in (timer, loop):
        each.advance(5.2)
    assert clock() < timer() - 0.2
    assert clock.starts() == timer()
    clock.ring(late=False)
    assert clock() == clock.starts() == timer()


def test_what_begins_when_the_process_stood_still_begins_where_the_clock_stands():
    """A long delay is never counted; a grace that begins in it is as long as any other."""
    clock, timer, loop = clocks()
    clock.set_due(loop, loop() + 5.0)
    for each in (timer, loop):
        each.advance(5.0 + 2 * LATE)
    began = clock.starts()
    assert began == clock()
    clock.ring(late=True)
    assert clock.starts() == began

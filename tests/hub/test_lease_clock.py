"""The clock of leases: it goes with the timer, and stands still while the process does."""

from sfere_tornado.hub.lease_clock import LeaseClock
from sfere_tornado.testing import FakeClock


def test_it_goes_with_its_timer():
    """Read often enough, it is the timer."""
    timer, loop = FakeClock(), FakeClock(5.0)
    clock = LeaseClock(timer)
    clock.watch(loop, 5.0)
    for _ in range(10):
        timer.advance(9.9)
        loop.advance(9.9)
        assert clock() == timer()
    assert repr(clock) == "<LeaseClock: stood still for 0 s>"


def test_time_in_which_nobody_could_read_it_does_not_count():
    """After a minute's stop one tick has passed, and from then on it goes as before; it never goes backwards."""
    timer, loop = FakeClock(), FakeClock(5.0)
    clock = LeaseClock(timer)
    clock.watch(loop, 5.0)
    before = clock()
    timer.advance(60)
    loop.advance(60)
    assert clock() == before + 5
    assert clock() == before + 5
    timer.advance(3)
    loop.advance(3)
    assert clock() == before + 8
    assert clock.stood_still == 55


def test_a_timer_of_its_own_is_the_applications():
    """A timer that jumps while the loop's clock does not, as in tests, is believed."""
    timer, loop = FakeClock(), FakeClock()
    clock = LeaseClock(timer)
    clock.watch(loop, 5.0)
    timer.advance(3600)
    assert clock() == timer()


def test_without_a_loop_nothing_is_left_out():
    """Before a hub has started, and after it has stopped, nobody promises to read the clock."""
    timer, loop = FakeClock(), FakeClock()
    clock = LeaseClock(timer)
    timer.advance(3600)
    assert clock() == timer()
    clock.watch(loop, 5.0)
    clock.rest()
    timer.advance(3600)
    loop.advance(3600)
    assert clock() == timer()

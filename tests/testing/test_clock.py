"""The clock for tests."""

import pytest

from sfere_tornado.testing import FakeClock


def test_time_stands_still_until_it_is_told_to_go_on():
    """The clock says the same time until it is advanced, and then exactly that much more."""
    clock = FakeClock()
    assert (clock(), clock()) == (1000.0, 1000.0)
    clock.advance(0.25)
    clock.advance(0)
    assert clock() == 1000.25
    assert FakeClock(start=5.0)() == 5.0


@pytest.mark.parametrize("seconds", [-0.001, float("-inf"), float("nan")])
def test_time_does_not_go_backwards(seconds):
    """A monotonic clock refuses to go back, and keeps its time."""
    clock = FakeClock()
    with pytest.raises(ValueError, match="goes forward"):
        clock.advance(seconds)
    assert clock() == 1000.0


def test_the_clock_says_its_time():
    """The repr has the time."""
    assert repr(FakeClock(12.5)) == "<FakeClock at 12.5>"


def test_the_tools_need_no_pytest():
    """An application may use the tools, and run the contracts, with any test runner."""
    import subprocess
    import sys

    code = "import sys, sfere_tornado.testing; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

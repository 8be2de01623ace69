"""The thread that ends a process which nothing else ends."""

import os
import time

import pytest

from sfere_tornado.hub.watchdog import Watchdog, end_process


@pytest.fixture
def exits(monkeypatch):
    """The exit codes with which the process would have been ended."""
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    return codes


def test_it_ends_the_process_when_its_time_is_over(exits):
    """The time counts from when it was let loose, and the exit code is 0, for the end was asked for."""
    watchdog = Watchdog(0.1)
    time.sleep(0.2)  # its thread goes by the real clock; twice its time
    assert exits == []
    watchdog.let_loose()
    began = time.monotonic()
    while not exits:
        time.sleep(0.001)
    assert time.monotonic() - began >= 0.09
    assert exits == [0]


def test_it_can_be_called_off(exits):
    """Whatever takes its time afterwards is left alone; that it was loose is not forgotten."""
    watchdog = Watchdog(0.1)
    watchdog.let_loose()
    watchdog.call_off()
    time.sleep(0.2)  # twice its time
    assert (exits, watchdog.loose) == ([], True)


def test_it_says_whether_it_is_loose(exits):
    """What is looked at in a debugger is told in words."""
    watchdog = Watchdog(60.0)
    assert repr(watchdog) == "<Watchdog on its leash>"
    watchdog.let_loose()
    assert repr(watchdog) == "<Watchdog loose>"
    watchdog.call_off()


def test_the_end_does_not_depend_on_the_output(exits, monkeypatch):
    """A pipe that nobody reads any more keeps no process alive."""

    class Broken:
        def flush(self):
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Broken())
    end_process()
    assert exits == [0]

"""The thread that ends a process which nothing else ends."""

import os
import subprocess
import sys
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
    """The time counts from the start, and the exit code is 0, because the end was asked for."""
    watchdog = Watchdog(0.1)
    time.sleep(0.2)  # its thread goes by the real clock; twice its time
    assert exits == []
    watchdog.start()
    began = time.monotonic()
    while not exits:
        time.sleep(0.001)
    assert time.monotonic() - began >= 0.09
    assert exits == [0]


def test_one_that_was_not_started_is_dismissed(exits):
    """Its thread ends, and no process with it."""
    watchdog = Watchdog(0.1)
    watchdog.dismiss()
    time.sleep(0.2)  # twice its time
    assert (exits, watchdog.started) == ([], False)


def test_what_the_application_does_after_the_drain_has_its_own_time(exits):
    """While it is at work the process lives; when it is done, what is left gets half a second."""
    at_work, reports = [True], []
    watchdog = Watchdog(0.05, at_work=lambda: bool(at_work), report=lambda: reports.append(1))
    watchdog.start()
    time.sleep(0.2)  # four times its time
    assert exits == []
    at_work.clear()
    began = time.monotonic()
    while not exits:
        time.sleep(0.001)
    assert 0.4 <= time.monotonic() - began < 2
    assert reports == [1]


def test_a_program_that_goes_on_without_its_loop_lives(exits):
    """After the end of the loop only the end of the main thread counts."""
    Watchdog(0.05, is_over=lambda: True).start()
    time.sleep(0.7)  # its time, and the half second after it
    assert exits == []


@pytest.mark.parametrize("left", ["thread", "task", "executor", "nothing"])
def test_what_ignores_the_end_keeps_no_process_alive(left):
    """SIGTERM: the process is gone a second after the time-out, with exit code 0, and says what was left."""
    program = f"""
import asyncio, os, signal, threading, time
from sfere_tornado import Hub

async def stubborn():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

async def main():
    hub = Hub()
    loop = asyncio.get_running_loop()
    loop.call_later(0.1, os.kill, os.getpid(), signal.SIGTERM)
    left = {left!r}
    if left == "thread":
        threading.Thread(target=time.sleep, args=(60,), name="sleeper").start()
    elif left == "task":
        task = asyncio.ensure_future(stubborn())
    elif left == "executor":
        loop.run_in_executor(None, time.sleep, 60)
    await hub.run_until_signal(window=0, timeout=0.5)

asyncio.run(main())
"""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, time.monotonic() - began < 4) == (0, True)
    assert ("time is over" in done.stderr) == (left != "nothing"), done.stderr


def test_it_says_whether_it_was_started(exits):
    """What is looked at in a debugger is told in words."""
    watchdog = Watchdog(60.0)
    assert repr(watchdog) == "<Watchdog not started>"
    watchdog.start()
    assert repr(watchdog) == "<Watchdog started>"
    # Its thread would end this process after the test.
    watchdog._cancelled.release()


def test_the_end_does_not_depend_on_the_output(exits, monkeypatch):
    """A pipe that nobody reads any more keeps no process alive."""

    class Broken:
        def flush(self):
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Broken())
    end_process()
    assert exits == [0]
